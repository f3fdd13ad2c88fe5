"""Coding of a change before it is sent, and what a device remembers of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from learners.networks.state import Layout, Part, Row, State, gather
from learners.training.compression import CompressorChoice, Lossy
from netsim.core.streams import derive_seed

if TYPE_CHECKING:
    from learners.training.compression import Compressor

NOWHERE = torch.empty(0, dtype=torch.int64)
"""Places of a part that is sent as a whole."""

CACHED = 2**19
"""Numbers of a part that are compressed at once: they fit the processor's caches, and are read from memory once."""

NOTHING: Mapping[Any, Any] = {}


class Memory(NamedTuple):
    """A device's memory of messages that it has sent and heard.

    Attributes:
        releases: Noisy sums so far.
        error: What its last message left out, by part, or a future.
        public: x̂, its model as its neighbours know it, or a future; None for the first model.
        number: Messages so far.
        copies: What it knows of its neighbours' models, or a future.
        numbers: Number of the last message from each.
    """

    releases: int = 0
    error: Any = NOTHING
    public: Any = None
    number: int = 0
    copies: Any = NOTHING
    numbers: Mapping[int, int] = NOTHING


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
    local: Mapping[str, Tensor]
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

    trained: Any
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
