"""Options that learners with mini-batches share."""

from __future__ import annotations

from typing import Literal

LastBatch = Literal["keep", "drop"]
"""Use of the samples that an epoch's full mini-batches leave over: a smaller mini-batch, or none."""

LAST_BATCH = (
    "what becomes of the samples that an epoch's full batches leave over: a smaller batch, or nothing"
)
"""Description of ``last_batch``."""
