"""FLOPs of a round of FedZKT's server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from learners.training.costs import flops_of
from learners.training.distillation.costs import input_gradient_flops, network_costs
from learners.training.flops import count
from netsim.core.errors import ScenarioError

if TYPE_CHECKING:
    from learners.training.distillation.classifier import Classifier
    from learners.training.distillation.options import FedZKTOptions
    from learners.training.distillation.per_device import DeviceModels
    from learners.training.distillation.zkt_generator import GeneratorShape


class ServerCosts:
    """FLOPs of the game between generator and global model, and of the transfer back to the devices."""

    def __init__(
        self,
        own: Classifier,
        generator: GeneratorShape,
        devices: DeviceModels,
        options: FedZKTOptions,
        costs: Any,
    ) -> None:
        """Count the networks' passes.

        Args:
            own: The global network.
            generator: Its generator.
            devices: The devices' networks.
            options: Iterations and samples of the game.
            costs: The scenario's block.

        Raises:
            ScenarioError: The global network cannot be built for the data, or cannot be counted.
        """
        self._own, self._devices, self._options = own, devices, options
        try:
            self.network = network_costs(own, devices.sample, costs)
        except ScenarioError as error:
            raise ScenarioError(f"learner.global_network: {error}") from error
        with torch.random.fork_rng(devices=[]):
            passes = count(generator.build(), torch.zeros(2, options.noise_size))
        self.generator = flops_of(costs, passes)
        each = {one.text: one for one in (own, *devices.architectures.values())}
        self._through = {text: input_gradient_flops(one, devices.sample, costs) for text, one in each.items()}

    def flops(self, students: Sequence[int]) -> dict[str, float]:
        """Return the FLOPs of a round by part; ``students`` are the devices whose models learn from the global one.

        In a step of the generator, gradients pass through the frozen networks to their inputs.
        """
        options, devices = self._options, self._devices
        samples = options.distillation_iterations * options.server_batch_size
        generator, own = self.generator, self.network
        everybody = math.fsum(devices.costs(k).forward for k in devices.samples)
        frozen = (self._own, *(devices.architectures[k] for k in devices.samples))
        through = math.fsum(self._through[one.text] for one in frozen)
        return {
            "generator": samples * (generator.both + own.forward + everybody + through),
            "global": samples * options.student_steps * (generator.forward + own.step() + everybody),
            "transfer": samples
            * (generator.forward + own.forward + math.fsum(devices.costs(k).step() for k in students)),
        }
