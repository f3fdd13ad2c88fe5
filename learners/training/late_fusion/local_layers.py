"""Layers that stay on their device: FedBN (Li et al. 2021) and FedPer (Arivazhagan et al. 2019)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from learners.networks.late_fusion import FUSION
from learners.networks.state import Part, Row, State
from netsim.core.errors import ScenarioError

Columns = Mapping[str, Tensor]
"""Places in the row of each part of numbers that are neither sent nor averaged, int64; only of parts that have some."""

BATCH_NORM, HEADS = "bn", "head"
"""Words for all batch normalisation, and for the fused head and modalities' own; other words are names."""


def local_columns(
    modules: Mapping[str, nn.Module], state: State, words: Collection[str]
) -> dict[str, Tensor]:
    """Find what ``words`` name: their weights and running statistics.

    Args:
        modules: The parts of the network.
        state: Their numbers.
        words: ``bn``, ``head``, or the beginning of the name of a tensor: its part, then its name there, such as
            ``trunk/image.layers.0``.

    Raises:
        ScenarioError: A word names nothing, or nothing would be left to send.
    """
    normalising = {
        f"{part}.{name}."
        for part, module in modules.items()
        for name, layer in module.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    }
    found: dict[str, list[int]] = {}
    used = set()
    for part, own in state.items():
        for name, entry in own.layout.entries.items():
            full = f"{part}.{name}"
            of_this = {
                word
                for word in words
                if _begins(full, word)
                or (word == BATCH_NORM and any(full.startswith(layer) for layer in normalising))
                or (word == HEADS and (part == FUSION or part.startswith("head/")))
            }
            used |= of_this
            if of_this and entry.columns.stop <= own.layout.sent:
                found.setdefault(part, []).extend(range(entry.start, entry.columns.stop))
    unknown = sorted(set(words) - used)
    if BATCH_NORM in unknown:
        raise ScenarioError(
            "learner.local: bn is batch normalisation, and these networks have none; leave it out, or choose others "
            "(learner.networks)"
        )
    if unknown:
        raise ScenarioError(
            f"learner.local: nothing is called {unknown[0]!r}; it is bn, head, or the beginning of a name: "
            f"{', '.join(state)}, or a part and what is in it, as in {next(_names(state))}"
        )
    if all(len(found.get(part, ())) == own.layout.sent for part, own in state.items()):
        raise ScenarioError("learner.local: nothing would be left to send; use learner isolated")
    return {part: torch.tensor(places) for part, places in found.items()}


def _begins(name: str, word: str) -> bool:
    return name == word or name.startswith((f"{word}.", f"{word}/"))


def _names(state: State) -> Any:
    return (f"{part}.{name}" for part, own in state.items() for name in own.layout.entries)


def with_own(inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Part]]:
    """Return what each device was ``sent``, with its ``own`` numbers in the local ``columns``."""
    found = []
    for one in inputs:
        parts = dict(one["sent"])
        for name in parts.keys() & one["columns"].keys():
            row, places = parts[name].row.tensor.clone(), one["columns"][name].to(parts[name].row.bank.device)
            row[places] = one["own"][name].row.tensor[places]
            parts[name] = Part(Row(row[None], 0), parts[name].layout)
        found.append(parts)
    return found
