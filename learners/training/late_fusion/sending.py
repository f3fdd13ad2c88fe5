"""Changes of a trained model before it is sent: noise, then compression; and gossip of compressed models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from learners.networks.state import Layout, Part, Row, State, gather
from learners.training.batches import random_numbers
from learners.training.late_fusion.compression import CompressorChoice, Lossy
from learners.training.late_fusion.neighbours import mix
from learners.training.privacy import PrivacyOptions
from netsim.core.streams import derive_seed
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.training.late_fusion.compression import Compressor
    from learners.training.late_fusion.local_layers import Columns
    from learners.training.late_fusion.local_update import Trained


NOWHERE = torch.empty(0, dtype=torch.int64)
"""Places of a part that is sent as a whole."""

CACHED = 2**19
"""Numbers of a part that are compressed at once: they fit the processor's caches, and are read from memory once."""


@dataclass(frozen=True)
class Codec:
    """A compressor as a value that tasks are handed.

    Attributes:
        choice: It, by name.
        local: Places of numbers that are not sent, by part.
        seed: The run's, for what is random.
        gossips: Whether neighbours keep copies of each other's models (CHOCO), rather than a server adding up changes.
    """

    choice: CompressorChoice
    local: Columns
    seed: int
    gossips: bool

    @cached_property
    def compressor(self) -> Compressor:
        """Return the compressor."""
        return self.choice.make()

    @property
    def remembers(self) -> bool:
        """Return whether what a message leaves out is added to the next one."""
        return self.gossips or getattr(self.compressor.options, "error_feedback", False)

    @property
    def step(self) -> float:
        """Return γ of CHOCO; with whole models it is 1, which is D-PSGD."""
        options = self.compressor.options
        return options.gossip_step if isinstance(options, Lossy) else 1.0

    def sent_columns(self, name: str, layout: Layout) -> tuple[Tensor | None, list[slice]]:
        """Return the places of the weights that are sent, None for all, and where each tensor's are among them."""
        sizes = [layout.entries[tensor].size for tensor in layout.trained]
        kept = None
        if len(local := self.local.get(name, NOWHERE)):
            stays = torch.zeros(layout.size, dtype=torch.bool)
            stays[local] = True
            entries = [layout.entries[tensor] for tensor in layout.trained]
            sizes = [int((~stays[entry.columns]).sum()) for entry in entries]
            kept = (~stays[: layout.weights]).nonzero().squeeze(1)
        places, start = [], 0
        for size in filter(None, sizes):
            places.append(slice(start, start + size))
            start += size
        return kept, places

    def share(self, parts: State, value_bits: float) -> float:
        """Return the size of a message with ``parts`` over that of its numbers as they are; statistics are whole."""
        whole = encoded = 0.0
        for name, part in parts.items():
            _, places = self.sent_columns(name, part.layout)
            sizes = [place.stop - place.start for place in places]
            running = part.layout.sent - part.layout.weights
            if len(local := self.local.get(name, NOWHERE)):
                running -= int((local >= part.layout.weights).sum())
            whole += value_bits * (sum(sizes) + running)
            encoded += value_bits * running + (self.compressor.bits(sizes, value_bits) if sizes else 0.0)
        return encoded / whole if whole else 1.0


class Sent(NamedTuple):
    """A model as its receivers know it.

    Attributes:
        trained: With the state that they have.
        error: What the message left out, by part; empty where nobody remembers it.
    """

    trained: Trained
    error: Mapping[str, Row]


def compressed(inputs: Sequence[Mapping[str, Any]]) -> list[Sent]:
    """Compress the change of each device, w⁰ + C(w − w⁰ + e), all devices with a part in one call.

    Running statistics are sent as they are, counters and local numbers are the device's own. Who diverged says nothing.

    Args:
        inputs: Of each: ``codec``, the same for all, ``device``, ``round``, what was ``trained``, the parts that
            receivers have (``known``: w⁰), and e, the ``error`` of its last message.
    """
    codec: Codec = inputs[0]["codec"]
    states = [dict(one["trained"].state) for one in inputs]
    errors: list[dict[str, Row]] = [dict(one["error"]) for one in inputs]
    unbiased = not codec.remembers
    by_part: dict[str, list[int]] = {}
    for place, one in enumerate(inputs):
        for name in one["trained"].state if one["trained"].finite else ():
            by_part.setdefault(name, []).append(place)
    for name, places in by_part.items():
        layout = states[places[0]][name].layout
        columns, tensors = codec.sent_columns(name, layout)
        if not tensors:
            continue
        trained = [states[place][name].row for place in places]
        known = [inputs[place]["known"][name].row for place in places]
        seeds = [
            derive_seed(codec.seed, "compression", inputs[place]["device"], inputs[place]["round"], name)
            for place in places
        ]
        like = trained[0].bank
        bank, left = like.new_empty(len(places), layout.size), like.new_empty(len(places), tensors[-1].stop)
        at_once = max(1, CACHED // layout.size)
        for some in (slice(since, since + at_once) for since in range(0, len(places), at_once)):
            after, before, change = _rows(trained[some]), _rows(known[some]), left[some]
            if columns is None:
                sent, rest = bank[some, : layout.weights], slice(layout.weights, None)
                torch.sub(after[:, : layout.weights], before[:, : layout.weights], out=change)
                sent.copy_(before[:, : layout.weights])
                bank[some, rest] = after[:, rest]
            else:
                sent = before[:, columns]
                torch.sub(after[:, columns], sent, out=change)
                bank[some] = after
            owing = [row for row, place in enumerate(places[some]) if name in errors[place]]
            if owing:
                due = _rows([errors[places[some][row]][name] for row in owing])
                change[slice(None) if len(owing) == len(change) else owing] += due
            codec.compressor.move(change, sent, tensors, seeds[some], unbiased)
            if columns is not None:
                bank[some, columns] = sent
        for row, place in enumerate(places):
            states[place][name] = Part(Row(bank, row), layout)
            if codec.remembers and not codec.gossips:
                errors[place][name] = Row(left, row)
    return [
        Sent(replace(one["trained"], state=state), error)
        for one, state, error in zip(inputs, states, errors, strict=True)
    ]


def _rows(rows: Sequence[Row]) -> Tensor:
    """Return a tensor [rows, ...] that must not be changed; a view if they follow each other in their bank."""
    first, bank = rows[0].index, rows[0].bank
    if all(row.bank is bank and row.index == first + place for place, row in enumerate(rows)):
        return bank[first : first + len(rows)]
    return gather(rows)


class Gossiped(NamedTuple):
    """A device after a step of gossip.

    Attributes:
        parts: Its model.
        copies: What it knows of its neighbours' models, by neighbour.
        metrics: What was measured meanwhile.
    """

    parts: State
    copies: Mapping[int, State]
    metrics: list[Metric]


def gossip(inputs: Sequence[Mapping[str, Any]]) -> list[Gossiped]:
    """Do a step of consensus, x ← x + γ Σ ξ (x̂_n − x̂) (CHOCO: Koloskova et al. 2019, Algorithm 2, lines 7 to 9).

    A neighbour's copy is what has arrived of it: x̂_n ← x̂_n + q_n. Running statistics are a plain mix.

    Args:
        inputs: As for :func:`~learners.training.late_fusion.neighbours.mix`, but for ``own``, x, and ``public``, x̂;
            ``step``, γ; ``copies`` by neighbour; ``before``: of those who ``arrived`` and of whom something was missed
            before, what they had sent until then; and ``first``, the model that all copies began as.
    """
    heard = []
    for one in inputs:
        arrived = dict(one["arrived"])
        for k, was in one["before"].items():
            copy = one["copies"].get(k, one["first"])
            moved = {name: plus(copy[name], own, was[name]) for name, own in arrived[k].state.items()}
            arrived[k] = replace(arrived[k], state=moved)
        heard.append(arrived)
    mixed = mix(
        [
            {**one, "own": one["public"], "arrived": arrived}
            for one, arrived in zip(inputs, heard, strict=True)
        ]
    )
    found = []
    for one, arrived, together in zip(inputs, heard, mixed, strict=True):
        parts = {
            name: towards(own, together.parts[name], one["public"][name], one["step"])
            for name, own in one["own"].items()
        }
        copies = {**one["copies"], **{k: trained.state for k, trained in arrived.items()}}
        found.append(Gossiped(parts, copies, together.metrics))
    return found


def plus(copy: Part, new: Part, old: Part) -> Part:
    """Return a copy that has missed something, moved as its owner's has; statistics are the owner's."""
    row, weights = new.row.tensor.clone(), new.layout.weights
    row[:weights] = copy.weights + (new.weights - old.weights)
    return Part(Row(row[None], 0), new.layout)


def towards(own: Part, mixed: Part, public: Part, step: float) -> Part:
    """Return a device's part after a step towards what it knows of its neighbours'; statistics are mixed whole."""
    row, weights = own.row.tensor.clone(), own.layout.weights
    row[:weights] += step * (mixed.weights - public.weights)
    row[weights:] += mixed.row.tensor[weights:] - public.row.tensor[weights:]
    return Part(Row(row[None], 0), own.layout)


class Private(NamedTuple):
    """A training of which what may be known is known.

    Attributes:
        trained: It, with noise.
        metrics: Its losses, and ε so far.
    """

    trained: Trained
    metrics: list[Metric]


def privatised(inputs: Sequence[Mapping[str, Any]]) -> list[Private]:
    """Shorten each device's change to C and add noise N(0, z²C²) to each number, where updates are hidden.

    Args:
        inputs: Of each: ``privacy``, its options, ``local``, places of what is not sent, by part, ``seed``, what was
            ``trained``, from which parts (``before``), and ``epsilon``, ε after this round.
    """
    found = []
    for one in inputs:
        trained, privacy = one["trained"], one["privacy"]
        metrics = [*trained.metrics, Metric("epsilon", one["epsilon"])]
        if privacy.mode == "update":
            trained = replace(trained, state=_hidden(trained.state, **{
                name: one[name] for name in ("before", "privacy", "local", "seed")
            }))  # fmt: skip
        found.append(Private(trained, metrics))
    return found


def _hidden(after: State, before: State, privacy: PrivacyOptions, local: Columns, seed: int) -> State:
    """Return the state with a change of norm C at most, and noise; a training that diverged is noise alone."""
    generator = random_numbers(seed)
    changes = {name: part.weights - before[name].weights for name, part in after.items()}
    for name, change in changes.items():
        if len(stays := local.get(name, NOWHERE)):
            change[stays[stays < len(change)]] = 0.0
    squares = [torch.linalg.vector_norm(one, dtype=torch.float64) ** 2 for one in changes.values()]
    factor = min(1.0, privacy.clip / max(float(sum(squares)) ** 0.5, 1e-30))
    found = {}
    for name, part in after.items():
        row, weights = part.row.tensor.clone(), part.layout.weights
        noise = torch.randn(weights, generator=generator).to(row)
        row[:weights] = before[name].weights + factor * changes[name]
        row[:weights] += privacy.clip * privacy.noise_multiplier * noise
        if len(stays := local.get(name, NOWHERE)):
            row[stays] = part.row.tensor[stays]
        found[name] = Part(Row(row[None], 0), part.layout)
    return found
