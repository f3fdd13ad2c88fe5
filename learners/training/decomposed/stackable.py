"""A trial of networks: whether several devices' can be done as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from learners.training.stackable import SAMPLES, networks_obstacle, some_of

if TYPE_CHECKING:
    from learners.networks.architecture import Architecture
    from learners.training.task import Store


def training_obstacle(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Return what keeps local updates from being stacked, as the end of a sentence; empty if nothing does.

    Args:
        jobs: Inputs of two of them; see :func:`learners.training.decomposed.local_update.local_update`.
    """
    store: Store = jobs[0]["store"]
    rows = some_of([store.rows(job["device"]) for job in jobs], jobs[0]["plan"].batch_size)
    return _obstacle(jobs, rows, True)


def evaluation_obstacle(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Return what keeps evaluations from being stacked, as the end of a sentence; empty if nothing does.

    Args:
        jobs: Inputs of two of them; see :func:`learners.training.decomposed.evaluation.evaluate`.
    """
    rows: Tensor = jobs[0]["rows"][: min(jobs[0]["batch_size"], SAMPLES)]
    return _obstacle(jobs, rows.expand(len(jobs), -1), False)


def _obstacle(jobs: Sequence[Mapping[str, Any]], rows: Tensor, trains: bool) -> str:
    """Return the obstacle of any modality's network, on samples ``rows`` [K, batch]."""
    architecture: Architecture = jobs[0]["architecture"]
    store: Store = jobs[0]["store"]
    net = architecture.model(jobs[0]["torch_device"]).net
    states = [job["state"] for job in jobs]
    dtype = next(iter(states[0].values())).row.bank.dtype
    return networks_obstacle(
        net.trunks,  # type: ignore[arg-type]
        architecture.networks,
        states,
        lambda m: store.trial(m, rows, dtype),
        trains,
    )
