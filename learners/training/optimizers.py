"""PyTorch's optimizers for one device, and the same update rules for many devices at once, one row each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn, optim

from learners.networks.state import Layout, Row, State, gather
from learners.training.stack import ALL, Devices, Gradients

if TYPE_CHECKING:
    from learners.training.options import Optimizer, OptimizerOptions


def _eager(kind: type[optim.Optimizer]) -> Any:
    """Return ``kind`` for code that is never compiled.

    PyTorch keeps its compiler away from these methods, and imports it for that: 0.9 s at the first optimizer.
    """
    names = ("step", "zero_grad", "add_param_group")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), {**plain, "step": torch.no_grad()(plain["step"])})


SGD, Adam, AdamW = _eager(optim.SGD), _eager(optim.Adam), _eager(optim.AdamW)


@dataclass(frozen=True)
class Rule:
    """The choice of an optimizer with its settings; the others are PyTorch's defaults.

    Attributes:
        name: ``sgd``, ``adam`` (Kingma & Ba 2015) or ``adamw`` (Loshchilov & Hutter 2019).
        learning_rate: Step size.
        momentum: Momentum of ``sgd``.
        weight_decay: This factor times the weights is added to the gradient, or with ``adamw`` to the step itself.
        proximal: μ of FedProx's term (μ/2)‖w − w⁰‖²; w⁰ are the weights at the beginning of training.
        clip_norm: Longest gradient of all a device's weights together; None for any length.
    """

    name: Optimizer
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    proximal: float = 0.0
    clip_norm: float | None = None

    @classmethod
    def of(cls, options: OptimizerOptions, proximal: float = 0.0) -> Rule:
        """Return what a scenario's ``options`` say, before any schedule."""
        return cls(
            options.optimizer,
            options.learning_rate,
            options.momentum if options.optimizer == "sgd" else 0.0,
            options.weight_decay,
            proximal,
            options.clip_norm,
        )

    def at(self, pace: float) -> Rule:
        """Return the rule with ``pace`` times its step size."""
        return replace(self, learning_rate=pace * self.learning_rate)

    @property
    def memories(self) -> tuple[str, ...]:
        """Return PyTorch's names of the optimizer state that is kept for each weight."""
        if self.name != "sgd":
            return ("exp_avg", "exp_avg_sq")
        return ("momentum_buffer",) if self.momentum else ()


class Memory(Mapping[str, Tensor]):
    """Optimizer state of one part: ``step``, and vectors with one number for each weight of the part.

    ``step`` is the number of steps of the weight tensor that has taken most of them. A tensor without a gradient is
    left out of a step. If there are such tensors, ``missed`` [tensors] has the number of steps that each has missed, in
    the order of the layout.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self.rows = dict(rows)

    def __getitem__(self, name: str) -> Tensor:
        return self.rows[name].tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[type[Memory], tuple[dict[str, Row]]]:
        return Memory, (self.rows,)

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Memory:
        """Return the same with each tensor changed; see :func:`netsim.work.moving.with_tensors`."""
        rows = {name: row.with_tensors(change) for name, row in self.rows.items()}
        return self if all(rows[name] is self.rows[name] for name in rows) else Memory(rows)


Memories = Mapping[str, Memory]
"""Optimizer state by part; a part that has never taken a step has none."""


class Single:
    """PyTorch's optimizer for one device's modules, which continues with the optimizer state of earlier rounds."""

    def __init__(
        self,
        rule: Rule,
        modules: Mapping[str, nn.Module],
        layouts: Mapping[str, Layout],
        memories: Memories,
        correction: State | None = None,
    ) -> None:
        trained = {
            part: {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
            for part, module in modules.items()
        }
        weights = [weight for named in trained.values() for weight in named.values()]
        self._optimizer = _optimizer(rule, weights) if weights else None
        self._weights, self._strength, self._clip_norm = weights, rule.proximal, rule.clip_norm
        self._anchors = [weight.detach().clone() for weight in weights] if rule.proximal else []
        self._room = [torch.empty_like(anchor) for anchor in self._anchors]
        self._added = [
            (weight, correction[part][name])
            for part, named in trained.items()
            for name, weight in named.items()
            if correction
        ]
        self._flat: dict[str, dict[str, Tensor]] = {}
        for part, named in trained.items():
            if named and rule.memories:
                self._flat[part] = self._remember(rule, named, layouts[part], memories.get(part))

    def _remember(
        self, rule: Rule, named: Mapping[str, nn.Parameter], layout: Layout, memory: Memory | None
    ) -> dict[str, Tensor]:
        """Give the optimizer vectors for the state of one part, filled from ``memory`` or with zeros; return them.

        PyTorch's first step is the same from zeros as from no state.
        """
        assert self._optimizer is not None
        like = next(iter(named.values()))
        steps = torch.zeros(len(named), device=like.device)
        flat = {
            name: torch.zeros(layout.size, dtype=like.dtype, device=like.device) for name in rule.memories
        }
        if memory is not None:
            steps += memory["step"] - memory.get("missed", 0.0)
            for name in rule.memories:
                flat[name][: layout.weights] = memory[name]
        views = {name: layout.views(flat[name]) for name in rule.memories}
        for place, (name, weight) in enumerate(named.items()):
            state = {entry: views[entry][name] for entry in rule.memories}
            self._optimizer.state[weight] = {"step": steps[place], **state}
        return {"step": steps, **{name: vector[: layout.weights] for name, vector in flat.items()}}

    def step(self, learning_rate: float | None = None) -> None:
        """Take a step with the weights that have a gradient, and set all gradients to None.

        With gradients of zero, Adam's state would still move weights that are to be left out of the next step.

        Args:
            learning_rate: New step size, from now on; None keeps the old one.
        """
        if self._optimizer is not None:
            if learning_rate is not None:
                for group in self._optimizer.param_groups:
                    group["lr"] = learning_rate
            for weight, more in self._added:
                if weight.grad is not None:
                    weight.grad.add_(more)
            if self._strength:
                pull_back(self._weights, self._anchors, self._strength, self._room)
            if self._clip_norm is not None:
                nn.utils.clip_grad_norm_(self._weights, self._clip_norm)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)

    def memories(self) -> dict[str, Memory]:
        """Return the optimizer state of each part."""
        found = {}
        for part, flat in self._flat.items():
            steps, most = flat["step"], flat["step"].max()
            rows = {**flat, "step": most}
            if bool((steps < most).any()):
                rows["missed"] = most - steps
            found[part] = Memory({name: Row(tensor[None], 0) for name, tensor in rows.items()})
        return found


def _optimizer(rule: Rule, weights: list[nn.Parameter]) -> Any:
    # Fused kernels read and write each number once. That halves the time of a small network's step, and takes a quarter
    # of a large one's.
    if rule.name != "sgd":
        kind = Adam if rule.name == "adam" else AdamW
        return kind(weights, lr=rule.learning_rate, weight_decay=rule.weight_decay, fused=True)
    return SGD(weights, rule.learning_rate, rule.momentum, weight_decay=rule.weight_decay, fused=True)


class Rows:
    """The same rule for one part of many devices: weights [devices, weights], and optimizer state for each.

    Attributes:
        step: Number of steps that each device's part has taken, [devices].
    """

    BETAS, EPSILON = (0.9, 0.999), 1e-8

    def __init__(
        self,
        rule: Rule,
        weights: Tensor,
        memories: list[Memory | None],
        paces: Tensor | None = None,
        corrections: Tensor | None = None,
    ) -> None:
        self._rule = rule
        self._weights = weights
        self._rates = None if paces is None else rule.learning_rate * paces[:, None]
        self._anchors = weights.clone() if rule.proximal else None
        self._corrections = corrections
        self.step = torch.zeros(len(weights), device=weights.device)
        self._memory = {
            name: torch.zeros_like(weights, memory_format=torch.contiguous_format) for name in rule.memories
        }
        known = {index: memory.rows for index, memory in enumerate(memories) if memory is not None}
        if known and rule.memories:
            for name, bank in {"step": self.step, **self._memory}.items():
                bank[list(known)] = gather([rows[name] for rows in known.values()])

    def take_step(
        self,
        gradients: Gradients,
        taking: Tensor | None,
        devices: Devices = ALL,
        learning_rate: float | None = None,
    ) -> None:
        """Take a step with the rows that take part; the others keep their weights and optimizer state.

        Args:
            gradients: Of the weights that have one, zero in rows that do not take part; SGD lets the others rest.
            taking: Bool [some devices], or None if all take part.
            devices: The rows of these devices.
            learning_rate: The step size, where it is not the rule's.
        """
        rate: float | Tensor = self._rule.learning_rate if learning_rate is None else learning_rate
        if learning_rate is None and self._rates is not None:
            rate = self._rates[devices]
        if self._rule.name != "sgd":
            self._adam(gradients, taking, devices, rate)
        else:  # one after the other: to bring them together would take as long as the step
            for columns, gradient in gradients:
                self._sgd((devices, columns), gradient, taking, rate)

    def pulled_back(self, gradients: Gradients, taking: Tensor | None, devices: Devices) -> Gradients:
        """Return ``gradients`` with corrections and those of the proximal term (:func:`pull_back`), if there are any.

        Rows that do not take part have zeros.
        """
        if self._anchors is None and self._corrections is None:
            return gradients
        found = []
        for columns, gradient in gradients:
            place = devices, columns
            if self._corrections is not None:
                gradient = gradient + self._corrections[place]
            if self._anchors is not None:
                gradient = gradient.add(
                    self._weights[place] - self._anchors[place], alpha=self._rule.proximal
                )
            found.append((columns, _of_those(taking, gradient)))
        return found

    def _sgd(
        self, place: tuple[Devices, slice], gradient: Tensor, taking: Tensor | None, rate: float | Tensor
    ) -> None:
        rule, weights = self._rule, self._weights[place]
        if rule.weight_decay:
            gradient = _of_those(taking, gradient.add(weights, alpha=rule.weight_decay))
        changed = [(self._weights, weights)]
        if rule.momentum:
            bank = self._memory["momentum_buffer"]
            buffer = bank[place]
            changed.append((bank, buffer))
            if taking is None:
                gradient = torch.add(gradient, buffer, alpha=rule.momentum, out=buffer)
            else:
                buffer.mul_((1 - (1 - rule.momentum) * taking.to(buffer.dtype))[:, None]).add_(gradient)
                gradient = torch.where(taking[:, None], buffer, 0.0)
        if isinstance(rate, Tensor):
            weights.sub_(gradient * rate)
        else:
            weights.add_(gradient, alpha=-rate)
        if isinstance(place[0], Tensor):  # copies were changed
            for bank, own in changed:
                bank[place] = own

    def _adam(
        self, gradients: Gradients, taking: Tensor | None, devices: Devices, rate: float | Tensor
    ) -> None:
        decay, decoupled = self._rule.weight_decay, self._rule.name == "adamw"
        first, second = self.BETAS
        banks = {"weights": self._weights, "step": self.step, **self._memory}
        own = {name: bank[devices] for name, bank in banks.items()}
        weights, step, mean, square = (own[name] for name in ("weights", "step", "exp_avg", "exp_avg_sq"))
        if decay and not decoupled:
            gradients = [
                (columns, _of_those(taking, one.add(weights[:, columns], alpha=decay)))
                for columns, one in gradients
            ]
        gradient = _joined(gradients, weights)
        ones = weights.new_ones(len(step)) if taking is None else taking.to(weights.dtype)
        rates = rate[:, 0] * ones if isinstance(rate, Tensor) else rate * ones
        for columns, _ in gradients if decay and decoupled else ():
            weights[:, columns] *= (1 - decay * rates)[:, None]
        step.add_(ones)
        mean.lerp_(gradient, ((1 - first) * ones)[:, None])
        square.mul_((1 - (1 - second) * ones)[:, None]).addcmul_(gradient, gradient, value=1 - second)
        steps = step.to(ones.dtype).clamp(min=1)
        size = rates / (1 - first**steps)
        root = (square.sqrt() / (1 - second**steps).sqrt()[:, None]).add_(self.EPSILON)
        weights.sub_(mean / root * size[:, None])
        if isinstance(devices, Tensor):  # copies were changed
            for name, bank in banks.items():
                bank[devices] = own[name]

    def memories(self) -> list[Memory | None]:
        """Return the optimizer state of each device; None where there is none."""
        if not self._rule.memories or not self._weights.shape[1]:
            return [None] * len(self.step)
        banks = {"step": self.step, **self._memory}
        return [
            Memory({name: Row(bank, index) for name, bank in banks.items()})
            for index in range(len(self.step))
        ]


def _of_those(taking: Tensor | None, gradient: Tensor) -> Tensor:
    """Return ``gradient`` with zeros in rows that do not take part."""
    return gradient if taking is None else torch.where(taking[:, None], gradient, 0.0)


def shortened(by_part: Mapping[str, Gradients], longest: float) -> dict[str, Gradients]:
    """Shorten each device's gradient of all parts together to norm ``longest``, as ``clip_grad_norm_`` does."""
    squares = [gradient.square().sum(1) for own in by_part.values() for _, gradient in own]
    if not squares:
        return dict(by_part)
    factor = (longest / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1.0)[:, None]
    return {part: [(columns, own * factor) for columns, own in some] for part, some in by_part.items()}


def _joined(gradients: Gradients, weights: Tensor) -> Tensor:
    """Return the gradients of all ``weights`` [some devices, weights]; zero where there are none."""
    if sum(gradient.shape[1] for _, gradient in gradients) == weights.shape[1]:
        return torch.cat([gradient for _, gradient in gradients], dim=1)
    joined = torch.zeros_like(weights)
    for columns, gradient in gradients:
        joined[:, columns] = gradient
    return joined


def pull_back(
    weights: Sequence[Tensor], anchors: Sequence[Tensor], strength: float, room: Sequence[Tensor]
) -> None:
    """Add μ (w − w⁰), the gradient of (μ/2)‖w − w⁰‖², to the gradients of those weights that have one.

    Args:
        weights: w, with their gradients.
        anchors: w⁰.
        strength: μ.
        room: Memory for the differences, like the weights; to ask for it anew takes longer than the sums.
    """
    for weight, anchor, difference in zip(weights, anchors, room, strict=True):
        if weight.grad is not None:
            weight.grad.add_(torch.sub(weight.detach(), anchor, out=difference), alpha=strength)
