"""Mini-batches of one client, or of several clients at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from learners.training.batched import Mask, Step, steps_together

if TYPE_CHECKING:
    from learners.training.late_fusion.samples import Samples
    from learners.training.stack import Devices
    from learners.training.task import Store

Generators = Sequence[Mapping[str, torch.Generator]]
"""Of each client, what its samples of each modality are augmented with."""


@dataclass(frozen=True)
class Batch:
    """A mini-batch of one client, or one of each of K clients.

    Attributes:
        inputs: By modality, [B_m, ...] or [K, B_m, ...]: of the samples that have it; a modality that none has is left
            out.
        labels: int64 [B] or [K, B].
        present: Places of those samples, int64 [B_m] or [K, B_m], B for padding; modalities that all samples have are
            left out.
        devices: Places of the clients among those that train together.
        real: What is no padding, bool [K, B]; None if nothing is.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    present: Mapping[str, Tensor]
    devices: Devices
    real: Tensor | None = None

    @property
    def size(self) -> int:
        """B."""
        return self.labels.shape[-1]

    def labels_of(self, head: str) -> Tensor:
        """Labels of the samples that ``head`` has logits for."""
        if head not in self.present:
            return self.labels
        if self.labels.dim() == 1:
            return self.labels[self.present[head]]
        return F.pad(self.labels, (0, 1)).gather(1, self.present[head])

    def real_of(self, head: str) -> Tensor | None:
        """Return which of those samples are no padding, bool [K, B_m]; None if all are."""
        if head in self.present and self.labels.dim() == 2:
            return self.present[head] < self.size
        return self.real

    def has(self, head: str) -> Mask:
        """Return which clients have a sample that ``head`` has logits for."""
        real = self.real_of(head) if head in self.present else None
        return True if real is None or bool((some := real.any(1)).all()) else some

    def count(self, head: str) -> int | Tensor:
        """Count each client's samples that ``head`` has logits for, [K]."""
        real = self.real_of(head)
        return self.labels_of(head).shape[-1] if real is None else real.sum(1)


def alone(
    samples: Samples,
    clients: Sequence[int],
    seen: Tensor,
    sizes: Sequence[Sequence[int]],
    modalities: Sequence[str],
    dtype: torch.dtype,
    generators: Generators | None = None,
) -> Iterator[Batch]:
    """Yield the mini-batches of the only one of ``clients``; see :func:`together`."""
    (device,), store = clients, samples.store
    at = store.labels.device
    for rows in seen[0, : sum(sizes[0])].split(list(sizes[0])):
        inputs, present = {}, {}
        for m in modalities:
            having = samples.having(device, m, rows)
            places = None if having is None else having.nonzero().squeeze(1)
            own = rows if places is None else rows[places]
            if not len(own):
                continue
            if generators is None:
                inputs[m] = store.seen(m, own.to(at), dtype)
            else:
                inputs[m] = store.augmented(m, own, generators[0].get(m), dtype)
            if places is not None:
                present[m] = places.to(at)
        yield Batch(inputs, store.labels[rows.to(at)], present, slice(0, 1))


def one_by_one(*of: Any, **others: Any) -> Iterator[Batch]:
    """Yield the mini-batches of :func:`alone`, B samples as those of B clients with a sample each."""
    for batch in alone(*of, **others):
        inputs, present = {}, {}
        for m, x in batch.inputs.items():
            places = batch.present.get(m)
            if places is not None:
                x = x.new_zeros(batch.size, *x.shape[1:]).index_copy(0, places, x)
                present[m] = places.new_ones(batch.size, 1).index_fill(0, places, 0)
            inputs[m] = x[:, None]
        yield Batch(inputs, batch.labels[:, None], present, slice(0, batch.size))


def together(
    samples: Samples,
    clients: Sequence[int],
    seen: Tensor,
    sizes: Sequence[Sequence[int]],
    modalities: Sequence[str],
    dtype: torch.dtype,
    generators: Generators | None = None,
    mixed: Callable[[], bool] = lambda: False,
) -> Iterator[Batch]:
    """Yield mini-batches of several clients, the n-th of each with the n-th of the others.

    Args:
        samples: All samples, and which of them are whose.
        clients: The clients.
        seen: Rows of the data set, one mini-batch after the other, int64 [K, most], on the CPU; any of its own where a
            client has no more.
        sizes: Of each client, the samples of its mini-batches.
        modalities: Those that the clients own.
        dtype: Of the inputs.
        generators: What training samples are augmented with; None for samples as a test sees them.
        mixed: Whether samples of a batch meet in the network, in the mode that it is in as the first batch is taken.
            Then nothing is padded: only clients with equally many samples of each modality are taken together.
    """
    having = _having(samples, clients, seen, modalities)
    labels = samples.store.labels
    labels = labels.index_select(0, seen.flatten().to(labels.device)).view(seen.shape)
    for step in steps_together(sizes, _kinds(having, sizes) if mixed() else None):
        yield _batch(samples.store, seen, labels, step, having, modalities, dtype, generators)


def _having(
    samples: Samples, clients: Sequence[int], seen: Tensor, modalities: Sequence[str]
) -> dict[str, Tensor]:
    """Find the samples that have a modality, bool [K, most], for modalities that some sample lacks."""
    found: dict[str, Tensor] = {}
    for m in modalities:
        for place, device in enumerate(clients):
            if m not in samples.clients[device].absent:
                continue
            own = samples.having(device, m, seen[place])
            if own is not None:
                found.setdefault(m, torch.ones_like(seen, dtype=torch.bool))[place] = own
    return found


def _kinds(having: Mapping[str, Tensor], sizes: Sequence[Sequence[int]]) -> list[list[Hashable]]:
    """Count the samples of each mini-batch, and those of each modality."""
    return [
        list(
            zip(
                own,
                *(
                    [int(part.sum()) for part in has[place, : sum(own)].split(list(own))]
                    for has in having.values()
                ),
                strict=True,
            )
        )
        for place, own in enumerate(sizes)
    ]


def _batch(
    store: Store,
    seen: Tensor,
    labels: Tensor,
    step: Step,
    having: Mapping[str, Tensor],
    modalities: Sequence[str],
    dtype: torch.dtype,
    generators: Generators | None,
) -> Batch:
    at = labels.device
    rows, real = step.cut(seen), step.real
    flat = rows.reshape(-1).to(at)
    inputs, present = {}, {}
    for m in modalities:
        shape, own, counts = rows.shape, flat, step.counts
        here = step.cut(having[m]) if m in having else None
        if here is not None:
            here = here if real is None else here & real
        if here is not None and not bool(here.all()):
            if not bool(here.any()):
                continue
            own, places = _compact(rows, here)
            shape, own, counts = own.shape, own.reshape(-1).to(at), tuple(here.sum(1).tolist())
            present[m] = places.to(at)
        if generators is None:
            x = store.seen(m, own, dtype)
        elif m in generators[0]:
            some = torch.arange(len(generators))[step.devices].tolist()
            x = store.trained_on(m, own, store.drawn(m, counts, [generators[k][m] for k in some]), dtype)
        else:
            x = store.trained_on(m, own, None, dtype)
        inputs[m] = x.view(*shape, *x.shape[1:])
    return Batch(inputs, step.cut(labels), present, step.devices, None if real is None else real.to(at))


def _compact(rows: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
    """Return the samples ``here`` [K, B], in their order, and their places: [K, most], padded with any and with B."""
    counts = here.sum(1)
    most = int(counts.max())
    order = here.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    padding = torch.arange(most) >= counts[:, None]
    own = rows.gather(1, order).masked_fill_(padding, int(rows[here][0]))
    return own, order.masked_fill(padding, rows.shape[1])
