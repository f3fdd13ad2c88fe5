"""A server's model from its participants' models, part by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from learners.networks.state import Entry, Part, Row, State, identity
from learners.training.dual_form import Restored, late_sources
from learners.training.late_fusion.weights import attention_step
from learners.training.mixing import Mixing

Key = TypeVar("Key")


class Update(NamedTuple):
    """A model before and after a local update.

    Attributes:
        before: The model that the client was sent; at least the parts that it holds.
        after: The same parts after training.
    """

    before: State
    after: State


class Copy(NamedTuple):
    """One holder's part before and after training."""

    before: Part
    after: Part


Weighing = Callable[[Sequence[int]], Mapping[int, float]]
"""From the holders of a part to how much each counts."""

Rule = Callable[[Part, Mapping[int, Copy]], Tensor]
"""From the server's part and its holders' copies to the server's new trained numbers [weights], a tensor of its own."""


def aggregate(
    server: State,
    updates: Mapping[int, Update],
    rule: Rule,
    statistics: Weighing,
    local: Mapping[str, Tensor] | None = None,
) -> dict[str, Part]:
    """Return the server's next model.

    Each part is aggregated over those participants that hold it; one that nobody has sent stays as it is. Trained
    numbers go by the method's ``rule``. BatchNorm's running means and variances are a plain weighted mean, whatever the
    method: a variance that is scaled like a step can become negative. Integer counters are the server's own.

    Args:
        server: All parts.
        updates: By participant, in the order of device numbers.
        rule: What the method does.
        statistics: Weights of the holders' running statistics; what they lack to 1 is the weight of the server's own.
        local: Places of numbers that nobody sends, by part; they stay as they are.
    """
    new = {}
    for name, part in server.items():
        layout = part.layout
        holders = [k for k, update in updates.items() if name in update.after]
        if not holders or not layout.size:
            new[name] = part
            continue
        copies = {k: Copy(updates[k].before[name], updates[k].after[name]) for k in holders}
        row = part.row.tensor.clone()
        row[: layout.weights] = rule(part, copies)
        running = slice(layout.weights, layout.sent)
        if layout.weights < layout.sent:
            sent = {k: copy.after.row for k, copy in copies.items()}
            row[running] = mean_of_rows(sent, running, statistics(holders), row[running])
        if local and name in local:
            places = local[name].to(row.device)
            row[places] = part.row.tensor[places]
        new[name] = Part(Row(row[None], 0), layout)
    return new


def mean(rows: Mapping[Key, Tensor], weights: Mapping[Key, float], rest: Tensor | None = None) -> Tensor:
    """Σ p_k x_k, one after the other in the order of ``weights``, so that its rounding is the same every time.

    Args:
        rows: x_k by client.
        weights: p_k by client.
        rest: What takes the weight that they lack to 1; None where they sum to 1.
    """
    total = torch.zeros_like(next(iter(rows.values())))
    for k, weight in weights.items():
        total.add_(rows[k], alpha=weight)
    return _with_rest(total, weights, rest)


def mean_of_rows(
    rows: Mapping[int, Row], columns: slice, weights: Mapping[int, float], rest: Tensor | None = None
) -> Tensor:
    """Return the :func:`mean` of some ``columns`` of ``rows``: one product where clients trained together share a bank.

    In float32 on a CPU that product has the bytes of the sum one after the other, in float64 it has not. Clients that
    were trained in dual form have a product for each bank.
    """
    if late := late_sources(rows):
        terms = [
            source.mean({place: weights[k] for k, place in own.items()})[columns]
            for source, own in late.items()
        ]
        there = {k: rows[k].tensor[columns] for k in rows if not any(k in own for own in late.values())}
        if there:
            terms.append(mean(there, {k: weights[k] for k in there}))
        return _with_rest(reduce(torch.add, terms), weights, rest)
    bank = next(iter(rows.values())).bank
    shared = len(rows) > 1 and all(row.bank is bank for row in rows.values())
    if not shared or bank.dtype != torch.float32 or bank.device.type != "cpu":
        return mean({k: row.tensor[columns] for k, row in rows.items()}, weights, rest)
    mixing = Mixing([weights], {k: row.index for k, row in rows.items()})
    return _with_rest(mixing(bank)[0, columns], weights, rest)


def _with_rest(total: Tensor, weights: Mapping[Any, float], rest: Tensor | None) -> Tensor:
    own = 1.0 - sum(weights.values())
    if rest is not None and abs(own) > 1e-9:  # what rounding leaves of weights that sum to 1 is no weight
        total.add_(rest, alpha=own)
    return total


def _mean_after(
    part: Part, copies: Mapping[int, Copy], weights: Mapping[int, float], rest: Tensor | None = None
) -> Tensor:
    """Return the mean of the trained numbers after training."""
    rows = {k: copy.after.row for k, copy in copies.items()}
    return mean_of_rows(rows, slice(0, part.layout.weights), weights, rest)


def averaging(weigh: Weighing) -> Rule:
    """FedAvg and all that only weigh differently: w ← Σ p_k w_k."""

    def rule(part: Part, copies: Mapping[int, Copy]) -> Tensor:
        return _mean_after(part, copies, weigh(list(copies)))

    return rule


def normalised_averaging(
    weigh: Weighing, norms: Mapping[int, float], effective: Callable[[Mapping[int, float]], float]
) -> Rule:
    """FedNova: w ← w − τ_eff Σ p_i d_i with d_i = (what i received − what it made of it)/‖a_i‖₁.

    Args:
        weigh: p_i of the holders.
        norms: ‖a_i‖₁.
        effective: τ_eff from p_i.
    """

    def rule(part: Part, copies: Mapping[int, Copy]) -> Tensor:
        weights = weigh(list(copies))
        per_step = {k: weights[k] / norms[k] for k in copies}
        received: dict[tuple[int, int], tuple[Part, float]] = {}  # mostly one model
        for k, copy in copies.items():
            before, amount = received.get(key := identity(copy.before), (copy.before, 0.0))
            received[key] = before, amount + per_step[k]
        moved = mean(
            {key: before.weights for key, (before, _) in received.items()},
            {key: amount for key, (_, amount) in received.items()},
        ).sub_(_mean_after(part, copies, per_step))
        return part.weights - effective(weights) * moved

    return rule


def attention(step: float, noise: Callable[[Tensor], Tensor] | None = None) -> Rule:
    """FedAtt, each named tensor of a part as one layer.

    Args:
        step: ε.
        noise: What is added to the new numbers, from the new numbers; None for nothing.
    """

    def rule(part: Part, copies: Mapping[int, Copy]) -> Tensor:
        new, rows = part.weights.clone(), {k: copy.after.row for k, copy in copies.items()}
        late = late_sources(rows)
        for entry in part.layout.entries.values():
            if entry.columns.stop > part.layout.weights:
                continue
            if _began_at(part, entry, late, len(rows)):
                new[entry.columns] = _late_attention(new[entry.columns], late, entry, step)
            else:
                clients = [row.numbers(entry) for row in rows.values()]
                new[entry.columns], _ = attention_step(new[entry.columns], clients, step)
        return new if noise is None else new + noise(new)

    return rule


def _began_at(part: Part, entry: Entry, late: Mapping[Restored, Mapping[int, int]], count: int) -> bool:
    """Return whether ``entry`` of all ``count`` clients is in dual form, and began at the server's ``part``."""
    return sum(map(len, late.values())) == count and all(
        source.form.name == entry.name
        and all(identity(source.form.starts[place]) == identity(part) for place in own.values())
        for source, own in late.items()
    )


def _late_attention(
    server: Tensor, late: Mapping[Restored, Mapping[int, int]], entry: Entry, step: float
) -> Tensor:
    """FedAtt on a layer in dual form, no client's weights of which are made: w ← (1 − ε) w + ε Σ α_k w_k."""
    places = [(source, place) for source, own in late.items() for place in own.values()]
    distances = torch.stack([source.distance(place) for source, place in places])
    attention = dict(zip(places, distances.softmax(0).tolist(), strict=True))
    terms = [
        source.mean({place: attention[source, place] for place in own.values()})[entry.columns]
        for source, own in late.items()
    ]
    return torch.lerp(server, reduce(torch.add, terms), step)


def moving(weigh: Weighing) -> Rule:
    """FedAsync: w ← (1 − Σ α_k) w + Σ α_k w_k."""

    def rule(part: Part, copies: Mapping[int, Copy]) -> Tensor:
        return _mean_after(part, copies, weigh(list(copies)), part.weights)

    return rule


def buffered(weigh: Weighing, learning_rate: float) -> Rule:
    """FedBuff: w ← w + η_g Σ s_k (w_k − what k received)/K (Nguyen et al. 2022, Algorithm 1).

    Args:
        weigh: s_k/K of the holders.
        learning_rate: η_g.
    """

    def rule(part: Part, copies: Mapping[int, Copy]) -> Tensor:
        steps = {k: copy.after.weights - copy.before.weights for k, copy in copies.items()}
        return part.weights + learning_rate * mean(steps, weigh(list(copies)))

    return rule
