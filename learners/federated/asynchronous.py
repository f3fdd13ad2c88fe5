"""Servers that do not wait: FedAsync (Xie et al. 2019) and FedBuff (Nguyen et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from learners.federated.aggregate import aggregate, buffered, moving
from learners.federated.fedavg import DROPPED, JUDGEMENTS, LOSSES, FedAvg
from learners.federated.options import FedAsyncOptions, FedBuffOptions, StalenessOptions
from learners.federated.promises import Upload, Version
from learners.federated.weights import staleness_factor
from learners.training.state import State
from netsim.core.options import Options
from netsim.learner import Metric

STALENESS = {
    "staleness": "versions that the server had made while its clients trained, mean over the uploads"
}


class Asynchronous(FedAvg):
    """What both have in common: how old an upload is, and what that costs it.

    A client's upload says which version it began with; its staleness is how many the server has made since.
    """

    METRICS: ClassVar[Mapping[str, str]] = {**LOSSES, **STALENESS, **DROPPED, **JUDGEMENTS}

    def _factor(self, before: Version, upload: Upload) -> float:
        """s(t − τ)."""
        options = self._options
        assert isinstance(options, StalenessOptions)
        return staleness_factor(
            options.staleness,
            before.number - upload.version.number,
            options.staleness_exponent,
            options.staleness_slope,
            options.staleness_delay,
        )

    @staticmethod
    def _staleness(before: Version, uploads: Mapping[int, Upload]) -> Metric:
        late = sum(before.number - upload.version.number for upload in uploads.values())
        return Metric("staleness", late / len(uploads))


class FedAsync(Asynchronous):
    """w ← (1 − α_t) w + α_t w_k with α_t = α s(t − τ), for each upload that arrives.

    Uploads of the same moment are mixed one after the other, in the order of device numbers. Running statistics are
    mixed like weights: a client's alone are not those of the server's model.
    """

    Options: ClassVar[type[Options]] = FedAsyncOptions

    def _aggregate(
        self, round: int, before: Version, uploads: Mapping[int, Upload]
    ) -> tuple[State, Mapping[str, float] | None, list[Metric]]:
        options, state = self._options, before.state
        assert isinstance(options, FedAsyncOptions) and state is not None
        for k, upload in uploads.items():
            weights = {k: options.mixing * self._factor(before, upload)}

            def weigh(holders: Sequence[int], weights: Mapping[int, float] = weights) -> Mapping[int, float]:
                return weights

            state = aggregate(state, {k: upload.update}, moving(weigh), weigh)
        return state, before.head_weights, [self._staleness(before, uploads)]


class FedBuff(Asynchronous):
    """w ← w + η_g Σ s(t − τ_k) Δ_k/K over what the buffer holds, Δ_k being what client k changed of what it received.

    Running statistics move by (1/K) Σ s(t − τ_k) towards the clients': η_g times a change of a variance could make it
    negative.
    """

    Options: ClassVar[type[Options]] = FedBuffOptions

    def _aggregate(
        self, round: int, before: Version, uploads: Mapping[int, Upload]
    ) -> tuple[State, Mapping[str, float] | None, list[Metric]]:
        options = self._options
        assert isinstance(options, FedBuffOptions) and before.state is not None
        factors = {k: self._factor(before, upload) for k, upload in uploads.items()}

        def weigh(holders: Sequence[int]) -> Mapping[int, float]:
            return {k: factors[k] / len(holders) for k in holders}

        updates = {k: upload.update for k, upload in uploads.items()}
        state = aggregate(before.state, updates, buffered(weigh, options.server_learning_rate), weigh)
        return state, before.head_weights, [self._staleness(before, uploads)]
