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
        kept: Names of inputs that are the very same objects in many jobs (data): a worker in another process may keep
            its copy of them instead of being sent one with every job.
        batch_key: Jobs with the same key have the same shape and may be run as one batch; None for never.
    """

    function: Callable[..., Any]
    inputs: Mapping[str, Any]
    kept: frozenset[str] = frozenset()
    batch_key: Hashable | None = None
