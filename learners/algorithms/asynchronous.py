"""Servers that do not wait: FedAsync (Xie et al. 2019) and FedBuff (Nguyen et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from learners.algorithms.fedavg import DROPPED, EVALUATION, LOSSES, WITH_SERVER, FedAvg
from learners.training.late_fusion.aggregate import aggregate, buffered, moving
from learners.training.late_fusion.averaging import Averaging, Combined
from learners.training.late_fusion.options import FedAsyncOptions, FedBuffOptions, LateOptions
from netsim.learner import Metric

if TYPE_CHECKING:
    from learners.training.late_fusion.exchange import Model, Upload
    from netsim.core.options import Options

STALENESS = {
    "staleness": "versions that the server had made while its clients trained, mean over the uploads"
}


@dataclass(frozen=True)
class Aging(Averaging):
    """The base of both: the age of an upload, and how much less it counts for it.

    A client's upload says which version it began with; its staleness is how many the server has made since.

    Attributes:
        options: How much less a late upload counts.
    """

    options: LateOptions

    def factor(self, before: Model, upload: Upload) -> float:
        """Return s(t − τ)."""
        return self.options.factor(before.number - upload.number)

    @staticmethod
    def staleness(before: Model, uploads: Mapping[int, Upload]) -> Metric:
        """Return t − τ, mean over the ``uploads``."""
        late = sum(before.number - upload.number for upload in uploads.values())
        return Metric("staleness", late / len(uploads))


@dataclass(frozen=True)
class Moving(Aging):
    """FedAsync: w ← (1 − α_t) w + α_t w_k with α_t = α s(t − τ), for each upload that arrives.

    Uploads of the same moment are mixed one after the other, in the order of device numbers. Running statistics are
    mixed like weights: a client's alone are not those of the server's model.
    """

    def blend(self, round: int, before: Model, uploads: Mapping[int, Upload]) -> Combined:
        """Return the server's next model; see :meth:`Averaging.blend`."""
        assert isinstance(self.options, FedAsyncOptions)
        parts = before.parts
        for k, upload in uploads.items():
            weights = {k: self.options.mixing * self.factor(before, upload)}

            def weigh(holders: Sequence[int], weights: Mapping[int, float] = weights) -> Mapping[int, float]:
                return weights

            parts = aggregate(parts, {k: upload.update}, moving(weigh), weigh)
        return Combined(parts, before.head_weights, [self.staleness(before, uploads)])


@dataclass(frozen=True)
class Buffered(Aging):
    """FedBuff: w ← w + η_g Σ s(t − τ_k) Δ_k/K over the buffer, Δ_k being what client k changed of what it received.

    Running statistics move by (1/K) Σ s(t − τ_k) towards the clients': η_g times a change of a variance could make it
    negative.
    """

    def blend(self, round: int, before: Model, uploads: Mapping[int, Upload]) -> Combined:
        """Return the server's next model; see :meth:`Averaging.blend`."""
        assert isinstance(self.options, FedBuffOptions)
        factors = {k: self.factor(before, upload) for k, upload in uploads.items()}

        def weigh(holders: Sequence[int]) -> Mapping[int, float]:
            return {k: factors[k] / len(holders) for k in holders}

        updates = {k: upload.update for k, upload in uploads.items()}
        rule = buffered(weigh, self.options.server_learning_rate)
        parts = aggregate(before.parts, updates, rule, weigh)
        return Combined(parts, before.head_weights, [self.staleness(before, uploads)])


class Asynchronous(FedAvg):
    """Base of both."""

    METRICS: ClassVar[Mapping[str, str]] = {**LOSSES, **STALENESS, **DROPPED, **EVALUATION}
    SUITS = WITH_SERVER
    METHOD: ClassVar[type[Aging]]

    def _method(self) -> Averaging:
        plain, options = super()._method(), self._options
        assert isinstance(options, LateOptions)
        return self.METHOD(plain.amounts, plain.drops, options)


class FedAsync(Asynchronous):
    """The server moves towards each upload as it comes, less the later it is; see :class:`Moving`."""

    Options: ClassVar[type[Options]] = FedAsyncOptions
    METHOD = Moving


class FedBuff(Asynchronous):
    """The server adds up a bufferful of changes, late ones for less; see :class:`Buffered`."""

    Options: ClassVar[type[Options]] = FedBuffOptions
    METHOD = Buffered
