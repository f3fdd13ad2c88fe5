"""The dual form of a first linear layer: what SGD makes of it, as coefficients of a device's samples.

A step of SGD adds a multiple of Σ_i g_i x_iᵀ to the weights W [D, F] of a linear layer, with x_i its inputs. The
inputs of a first layer are the samples, and a device has few of them, X [n, F]. So after any number of steps

    W = a W⁰ + C X                    (the dual form: Irie, Csordás & Schmidhuber 2022, Section 2)

Momentum, weight decay and a proximal term are linear in W. So the same optimizer, on C [D, n] from 0 and on a [D] from
1, whose gradients are Σ_i g_i e_iᵀ and 0, takes the same steps up to rounding. Its outputs a (W⁰ x) + C (X x) take
W⁰ x and X x, which no step changes. So a step has D (n + 1) weights to read and to write, in place of D F.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from learners.networks.folded import DUAL
from learners.networks.network import Trunk
from learners.networks.state import Entry, Layout, Part, Row, gather, identity, stays_in_this_run
from learners.training.optimizers import Rule

Key = TypeVar("Key")


def has_dual_form(trunk: Trunk, layout: Layout, rule: Rule, samples: int) -> bool:
    """Return whether ``trunk`` can be trained in dual form, and whether that makes a step's work less.

    Args:
        trunk: The network.
        layout: Of its part.
        rule: Its optimizer.
        samples: n, training samples of the device that has most of them.
    """
    name = f"{trunk.first_linear}.weight"
    if rule.name != "sgd" or rule.clip_norm is not None or name not in layout.trained or layout.twins:
        return False
    units, inputs = layout.entries[name].shape
    return inputs > 2 * (2 * samples + units)


@dataclass(frozen=True)
class DualForm:
    """The trunks of K devices in dual form.

    Attributes:
        name: The weight of the first layer.
        starts: The trunks before their steps, K parts of one layout.
        x: All samples of the devices, one device's after the other's [all samples, F].
        places: Where each device's training samples are among them: at the beginning of its samples.
    """

    name: str
    starts: Sequence[Part]
    x: Tensor
    places: Sequence[slice]

    def __reduce__(self) -> Any:
        """Pickle it without what can be found anew."""
        return DualForm, (self.name, self.starts, self.x, self.places)

    @property
    def entry(self) -> Entry:
        """Return the place of W in a row."""
        return self.starts[0].layout.entries[self.name]

    @property
    def _most(self) -> int:
        """Return n of the device that has most training samples; the others have coefficients of 0 more."""
        return max(place.stop - place.start for place in self.places)

    def parts(self) -> list[Part]:
        """Return the trunks with C = 0 and a = 1 in place of W [D, n + 1], under a name that says so."""
        long, units = self.entry, self.entry.shape[0]
        layout = _replaced(self.starts[0].layout, self.name, (units, self._most + 1))
        short = layout.entries[dual_name(self.name)]
        bank = self.x.new_zeros(len(self.starts), layout.size)
        bank[:, short.columns].unflatten(1, short.shape)[:, :, -1] = 1.0
        for k, part in enumerate(self.starts):
            copy_others(part.row.tensor, long, bank[k], short)
        return [Part(Row(bank, k), layout) for k in range(len(self.starts))]

    @cached_property
    def inputs(self) -> Tensor:
        """Return what a trunk in dual form takes in place of each sample, [all samples, 2 n + D].

        It is e, X x and W⁰ x; e has a one at the sample's own place in X, if it is a training sample.
        """
        counts = [
            end - start for start, end in pairwise([place.start for place in self.places] + [len(self.x)])
        ]
        own, most, units = self.x.split(counts), self._most, self.entry.shape[0]
        found = self.x.new_zeros(len(self.x), 2 * most + units)
        start = 0
        for x, place, count in zip(own, self.places, counts, strict=True):
            rows, trained = slice(start, start + count), place.stop - place.start
            found[place, :trained].fill_diagonal_(1.0)
            found[rows, most : most + trained] = x @ self.x[place].T
            start += count
        start = 0
        for _, same in groupby(zip(self.starts, counts, strict=True), lambda one: identity(one[0])):
            alike = list(same)
            rows = slice(start, start + sum(count for _, count in alike))
            found[rows, 2 * most :] = self.x[rows] @ alike[0][0][self.name].T
            start = rows.stop
        return found

    def restored(self, trained: Sequence[Part]) -> list[Part]:
        """Return the trunks with their weights a W⁰ + C X; ``trained`` are :meth:`parts` after their steps."""
        after = Restored(self, gather([part.row for part in trained]), trained[0].layout)
        return [Part(LateRow(after, k), self.starts[0].layout) for k in range(len(trained))]


@dataclass(frozen=True, eq=False)
class Restored:
    """Trunks after their steps, whose weights nobody has asked for yet.

    Attributes:
        form: What they began from.
        numbers: Their numbers in dual form [K, all].
        short: The layout of these.
        _squares: ‖w⁰_d‖² [D, 1] of what they began from.
    """

    form: DualForm
    numbers: Tensor
    short: Layout
    _squares: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def __reduce__(self) -> Any:
        """Pickle it without what can be found anew."""
        return Restored, (self.form, self.numbers, self.short)

    @cached_property
    def bank(self) -> Tensor:
        """Return all their numbers [K, size]."""
        form, long = self.form, self.form.entry
        bank = self.numbers.new_empty(len(self.numbers), form.starts[0].layout.size)
        copy_others(self.numbers, self._coefficients, bank, long)
        for k, (start, place) in enumerate(zip(form.starts, form.places, strict=True)):
            own, scale = self._of(k)
            kept = start[form.name] if bool((scale == 1.0).all()) else scale * start[form.name]
            torch.addmm(kept, own, form.x[place], out=bank[k, long.columns].view(long.shape))
        return bank

    def mean(self, weights: Mapping[int, float]) -> Tensor:
        """Compute Σ p_k w_k [size] without the weights of each, by one product with all samples.

        Args:
            weights: p_k by the place of the trunk among the K.
        """
        form, long = self.form, self.form.entry
        total = self.numbers.new_empty(form.starts[0].layout.size)
        amounts = self.numbers.new_tensor(list(weights.values()))
        copy_others(amounts @ self.numbers[list(weights)], self._coefficients, total, long)
        mixed = []
        kept: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        for k, weight in weights.items():
            own, scale = self._of(k)
            mixed.append(weight * own)
            start = form.starts[k]
            before, amount = kept.get(identity(start), (start[form.name], torch.zeros_like(scale)))
            kept[identity(start)] = before, amount + weight * scale
        (first, amount), *others = kept.values()
        x = torch.cat(
            [form.x[form.places[k]] for k in weights]
        )  # nothing of who does not count, not even times 0
        own = torch.addmm(amount * first, torch.cat(mixed, 1), x, out=total[long.columns].view(long.shape))
        for before, amount in others:
            own.addcmul_(amount, before)
        return total

    def distance(self, k: int) -> Tensor:
        """Compute how far a trunk's weights went from where they began, ‖W − W⁰‖ [], float64.

        That is the norm of C X + (a − 1) W⁰, of whose square products of samples are enough:
        Σ_d c_dᵀ X Xᵀ c_d + 2 (a_d − 1) c_dᵀ X w⁰_d + (a_d − 1)² ‖w⁰_d‖² over the rows d.
        """
        form, (own, scale) = self.form, self._of(k)
        start, x = form.starts[k], form.x[form.places[k]].double()
        found, moved = own.double(), scale.double() - 1.0
        square = (found @ (x @ x.T) * found).sum()
        if bool(moved.any()):  # so little that the precision of the training is enough
            if identity(start) not in self._squares:
                self._squares[identity(start)] = start[form.name].square().sum(1, keepdim=True).double()
            products = form.inputs[form.places[k], -len(own) :].T.double()  # W⁰ x of each sample
            mixed = (found * products).sum(1, keepdim=True)
            square += (moved * (2.0 * mixed + moved * self._squares[identity(start)])).sum()
        return square.clamp(min=0.0).sqrt()

    def others(self, k: int, entry: Entry) -> Tensor:
        """Return the numbers of another tensor of a trunk [entry.size]."""
        return self.numbers[k, self.short.entries[entry.name].columns]

    @property
    def _coefficients(self) -> Entry:
        return self.short.entries[dual_name(self.form.name)]

    def _of(self, k: int) -> tuple[Tensor, Tensor]:
        """Return C [D, its samples] and a [D, 1] of one trunk."""
        entry, place = self._coefficients, self.form.places[k]
        own = self.numbers[k, entry.columns].view(entry.shape)
        return own[:, : place.stop - place.start], own[:, -1:]


class LateRow(Row):
    """A row of :class:`Restored`: its bank is made when somebody asks for it."""

    __slots__ = ("source",)

    def __init__(self, source: Restored, index: int) -> None:
        self.source, self.index = source, index

    @property
    def bank(self) -> Tensor:  # type: ignore[override]
        """Return the bank."""
        return self.source.bank

    def numbers(self, entry: Entry) -> Tensor:
        """Return the numbers of one tensor; weights are made only for those that are in dual form."""
        if entry.name == self.source.form.name:
            return super().numbers(entry)
        return self.source.others(self.index, entry)

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Row:
        """Return the same with its tensor changed; see :func:`netsim.work.moving.with_tensors`."""
        return self if change(self.source.numbers) is self.source.numbers else super().with_tensors(change)

    def __reduce__(self) -> Any:
        """Pickle the row in dual form with all results of a run, for sums to go on as they would; else as numbers."""
        return (LateRow, (self.source, self.index)) if stays_in_this_run() else super().__reduce__()


def with_weights(part: Part) -> Part:
    """Return ``part`` with its weights made, so that it no longer refers to what they are made of."""
    row = part.row
    return Part(Row(row.bank, row.index), part.layout) if isinstance(row, LateRow) else part


def late_sources(rows: Mapping[Key, Row]) -> dict[Restored, dict[Key, int]]:
    """Return those of ``rows`` whose weights nobody has asked for: by where they come from their places there."""
    found: dict[int, tuple[Restored, dict[Key, int]]] = {}
    for key, row in rows.items():
        if isinstance(row, LateRow):
            found.setdefault(id(row.source), (row.source, {}))[1][key] = row.index
    return dict(found.values())


def copy_others(source: Tensor, left_out: Entry, target: Tensor, instead: Entry) -> None:
    """Copy all columns but those of one entry, which stands where ``instead`` stands in the ``target``."""
    target[..., : instead.start] = source[..., : left_out.start]
    target[..., instead.columns.stop :] = source[..., left_out.columns.stop :]


def dual_name(weight: str) -> str:
    """Return the name of coefficients in place of ``weight``."""
    return f"{weight.removesuffix('weight')}{DUAL}"


def _replaced(layout: Layout, name: str, shape: tuple[int, ...]) -> Layout:
    """Return ``layout`` with numbers of another shape in the place of the weight ``name``."""
    size = shape[0] * shape[1]
    more = size - layout.entries[name].size
    entries: Mapping[str, Entry] = {
        one.name: one
        for one in (
            Entry(dual_name(name), old.start, size, shape)
            if old.name == name
            else replace(old, start=old.start + (more if old.start > layout.entries[name].start else 0))
            for old in layout.entries.values()
        )
    }
    return Layout(entries, layout.weights + more, layout.sent + more, layout.size + more)
