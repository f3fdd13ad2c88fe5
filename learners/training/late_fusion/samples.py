"""Samples that each client trains on and holds out, as tensors that jobs share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netsim.core.streams import stream

if TYPE_CHECKING:
    from learners.data.dataset import Share
    from learners.training.task import Store

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Client:
    """A device that takes part.

    Attributes:
        modalities: Those that it owns and has training samples of.
        train: Its training samples, rows of the data set.
        validation: Its held-out samples.
        absent: By modality, those of its samples that lack it, ascending; modalities that none lacks are left out.
    """

    modalities: tuple[str, ...]
    train: Rows
    validation: Rows
    absent: Mapping[str, Rows]

    def present(self, modality: str) -> float:
        """Return the part of the training samples that has ``modality``."""
        lacking = self.absent.get(modality)
        return 1.0 if lacking is None else 1.0 - float(np.isin(self.train, lacking).mean())


def hold_out(share: Share, validation_share: float, seed: int, device: int) -> Client | None:
    """Split a device's samples; which ones are held out only ``seed`` and ``device`` decide.

    Of two samples or more at least one is held out (unless the share is 0) and at least one is not. Samples that have
    none of the device's modalities are of no use. A modality that none of the training samples has is not the device's:
    it could only send back what it received.

    Returns:
        The client, or None if there is nothing that the device could train on.
    """
    if not share.modalities:
        return None
    useful = np.isin(share.samples, np.concatenate([share.having(m) for m in share.modalities]))
    samples = np.asarray(share.samples, dtype=np.int64)[useful]
    count = min(max(1, round(validation_share * len(samples))), len(samples) - 1) if validation_share else 0
    count = max(count, 0)
    order = stream(seed, "validation", device).permutation(len(samples))
    validation, train = np.sort(samples[order[:count]]), samples[np.sort(order[count:])]
    absent = {m: np.unique(np.asarray(rows, dtype=np.int64)) for m, rows in share.absent.items() if len(rows)}
    owned = tuple(m for m in share.modalities if m not in absent or not np.isin(train, absent[m]).all())
    if not len(train) or not owned:
        return None
    return Client(owned, train, validation, {m: rows for m, rows in absent.items() if m in owned})


@dataclass(frozen=True)
class Samples:
    """All samples, once, where the work is done, and who holds which.

    Attributes:
        store: The data set's tensors.
        clients: Rows of them, by device; they stay on the CPU, where batches are drawn.
    """

    store: Store
    clients: Mapping[int, Client]

    def having(self, device: int, modality: str, rows: Tensor) -> Tensor | None:
        """Return which of ``rows`` (on the CPU) have ``modality``, bool [len(rows)]; None where all of them have."""
        lacking = self.clients[device].absent.get(modality)
        if lacking is None:
            return None
        has = torch.from_numpy(~np.isin(rows.numpy(), lacking))
        return None if bool(has.all()) else has
