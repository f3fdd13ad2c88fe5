"""Python's cyclic garbage collector, made patient while a simulation is built and while it runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = (1_000_000, 50, 50)
"""Objects made before the youngest generation is looked through; its passes before an older one is."""


@contextmanager
def patient_collector() -> Iterator[None]:
    """Leave alone what is there already while the block runs, and look through what is new less often.

    A simulation makes many small objects and few cycles; with Python's own settings a fifth of a large one's time goes
    into looking for them in vain.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*PATIENCE)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
