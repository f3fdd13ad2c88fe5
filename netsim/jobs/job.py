"""Real work that a device's simulated computation stands for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingJob:
    """A piece of real work whose inputs are fixed when it is submitted.

    Attributes:
        function: A module-level function, so that a worker process can find it by name; called as
            ``function(**inputs)``. It must not change its inputs.
        inputs: Everything that the work depends on: a state, data, a seed. Nothing else may matter.
        batch_key: Jobs with the same key have the same shape and may be run as one batch; None for never.
    """

    function: Callable[..., Any]
    inputs: Mapping[str, Any]
    batch_key: Hashable | None = None
