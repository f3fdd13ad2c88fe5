"""Steps of a server towards the mean of its clients' models: found by name and without PyTorch.

The mean is a step Δ = Σ p_k w_k − w away from the server's own weights, a pseudo-gradient with the sign turned round.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

import netsim.core.options
from learners.choice import Choice
from netsim.core.options import NoOptions
from netsim.core.registry import load

if TYPE_CHECKING:
    from torch import Tensor

Memory = Mapping[str, "Tensor"]
"""What an optimizer remembers of one part, by name: vectors like its weights."""


class ServerOptimizer(ABC):
    """The server's step.

    Attributes:
        Options: The model of its block in the scenario.
        FLOPS: FLOPs of a step for each weight of the model, beside those of the mean.
    """

    Options: ClassVar[type[netsim.core.options.Options]] = NoOptions
    FLOPS: ClassVar[int] = 0

    def __init__(self, options: netsim.core.options.Options) -> None:
        self.options = options

    @abstractmethod
    def step(self, weights: Tensor, mean: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Return the server's new weights, a tensor of its own, and what it remembers.

        Args:
            weights: w, the server's weights of one part [weights].
            mean: What FedAvg, or another method, would put in their place [weights].
            memory: What it remembered; empty before the first step.
        """


class Mean(ServerOptimizer):
    """The mean itself, as FedAvg has it."""

    def step(self, weights: Tensor, mean: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Return ``mean``."""
        return mean, memory


class FedAvgM(ServerOptimizer):
    """Momentum on the server: v ← β v + Δ, w ← w + η v (Hsu, Qi & Brown 2019, Section 4.3)."""

    class Options(netsim.core.options.Options):
        """Block of server optimizer ``fedavgm``."""

        learning_rate: float = Field(default=1.0, gt=0, description="step size η of the server")
        momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum β of the server")

    options: FedAvgM.Options
    FLOPS = 5

    def step(self, weights: Tensor, mean: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Return w + η v, and v."""
        velocity = mean - weights
        if memory:
            velocity = velocity + self.options.momentum * memory["velocity"]
        return weights + self.options.learning_rate * velocity, {"velocity": velocity}


class Adaptive(ServerOptimizer):
    """Base of Reddi et al. 2021, Algorithm 2: m ← β₁ m + (1 − β₁) Δ, w ← w + η m/(√v + τ).

    v begins with τ², as the algorithm asks; methods differ in what it becomes (:meth:`_square`).
    """

    class Options(netsim.core.options.Options):
        """Block of an adaptive server optimizer."""

        learning_rate: float = Field(default=0.1, gt=0, description="step size η of the server")
        beta1: float = Field(default=0.9, ge=0, lt=1, description="β₁, how much of the mean step is kept")
        tau: float = Field(default=1e-3, gt=0, description="adaptivity τ: the smaller, the more is adapted")

    options: Adaptive.Options
    FLOPS = 13

    def step(self, weights: Tensor, mean: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Return w + η m/(√v + τ), and m and v."""
        options, delta = self.options, mean - weights
        first = (1 - options.beta1) * delta
        if memory:
            first = first + options.beta1 * memory["mean"]
        before = memory["square"] if memory else delta.new_full(delta.shape, options.tau**2)
        square = self._square(before, delta * delta)
        return weights + options.learning_rate * first / (square.sqrt() + options.tau), {
            "mean": first,
            "square": square,
        }

    @abstractmethod
    def _square(self, before: Tensor, square: Tensor) -> Tensor:
        """Return v of it ``before`` and of Δ²."""


class FedAdagrad(Adaptive):
    """Adagrad on the server: v ← v + Δ² (Reddi et al. 2021)."""

    class Options(Adaptive.Options):
        """Block of server optimizer ``fedadagrad``."""

        beta1: float = Field(default=0.0, ge=0, lt=1, description="β₁, how much of the mean step is kept")

    def _square(self, before: Tensor, square: Tensor) -> Tensor:
        return before + square


class Decaying(Adaptive.Options):
    """Options of server optimizers that forget."""

    beta2: float = Field(default=0.99, ge=0, lt=1, description="β₂, how much of the mean square is kept")


class FedAdam(Adaptive):
    """Adam on the server: v ← β₂ v + (1 − β₂) Δ² (Reddi et al. 2021)."""

    Options = Decaying
    options: Decaying

    def _square(self, before: Tensor, square: Tensor) -> Tensor:
        return self.options.beta2 * before + (1 - self.options.beta2) * square


class FedYogi(Adaptive):
    """Yogi on the server: v ← v − (1 − β₂) Δ² sign(v − Δ²) (Reddi et al. 2021)."""

    Options = Decaying
    options: Decaying

    def _square(self, before: Tensor, square: Tensor) -> Tensor:
        return before - (1 - self.options.beta2) * square * (before - square).sign()


class ServerOptimizerChoice(Choice):
    """A server optimizer by name, with its options beside it: ``{name: fedadam, tau: 1e-3}``."""

    KIND: ClassVar[str] = "server_optimizers"

    def make(self) -> ServerOptimizer:
        """Return the optimizer."""
        kind = load(self.KIND, self.name)
        found: ServerOptimizer = kind(kind.Options.model_validate(self.options))
        return found


NONE = ServerOptimizerChoice.model_construct(name="none")
