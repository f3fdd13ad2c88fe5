"""Costs of a device's round, and the iterations that its battery allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from learners.training.batches import batch_sizes, iterations_per_epoch
from learners.training.decomposed.energy import most_iterations, round_flops

if TYPE_CHECKING:
    from learners.data.dataset import Share
    from learners.training.costs import CostTable
    from learners.training.decomposed.model import SharedModel
    from learners.training.decomposed.options import TrainingOptions


class DeviceCosts:
    """Costs of local updates, by device.

    Args:
        model: Its parts and their costs.
        shares: The samples of each device.
        options: Batch size and local epochs.
        generator_iterations: N̂.
    """

    def __init__(
        self,
        model: SharedModel,
        shares: Mapping[int, Share],
        options: TrainingOptions,
        generator_iterations: int,
    ) -> None:
        self._model = model
        self._shares = shares
        self._options = options
        self._generator_iterations = generator_iterations

    def iteration_limit(self, device: int) -> int:
        """Return N_k: as stated, or as many mini-batches as the local epochs have."""
        if self._model.costs.iterations is not None:
            return self._model.costs.iterations
        options, samples = self._options, len(self._shares[device].samples)
        return options.local_epochs * iterations_per_epoch(samples, options.batch_size, options.last_batch)

    def of_a_mini_batch(self, device: int, total: int) -> CostTable:
        """Return the costs of a mini-batch of mean size, in a round of ``total``."""
        if not total:
            return self._model.costs
        options, samples = self._options, len(self._shares[device].samples)
        seen = sum(batch_sizes(samples, options.batch_size, total, options.last_batch))
        return self._model.costs_of(seen, total * options.batch_size)

    def flops(self, device: int, iterations: Mapping[str, int], total: int) -> dict[str, float]:
        """Return the FLOPs of a round by part; ``iterations`` by modality, N^m, and ``total``, N^max."""
        return round_flops(self.of_a_mini_batch(device, total), iterations, total, self._generator_iterations)

    def affordable(self, device: int, joules_per_flop: float, sending_j: float, remaining_j: float) -> int:
        """Return N^max of a coming round (Section IV-A).

        Args:
            device: The device.
            joules_per_flop: Energy of one FLOP on its processor [J].
            sending_j: Energy of its messages [J].
            remaining_j: What its battery holds [J].
        """
        modalities = self._shares[device].modalities

        def needed_j(total: int) -> float:
            flops = self.flops(device, dict.fromkeys(modalities, total), total)
            return joules_per_flop * sum(flops.values()) + sending_j

        return most_iterations(self.iteration_limit(device), needed_j, remaining_j)
