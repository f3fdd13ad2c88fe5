"""Carries out what policies decide, and stops what they may not decide before it takes effect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from netsim.core.asking import asked, is_number, is_whole
from netsim.core.budget import Budget
from netsim.events import Observer, RoundRow
from netsim.world.devices.processor import Processor
from netsim.world.network import Network
from netsim.world.policies.policy import Last, Link, Policy, Sight


class Decisions(Observer):
    """Asks policies as devices begin their rounds, and remembers how their last rounds were.

    Args:
        policies: By decision.
        network: Devices and radios; transmit powers and clocks are changed here.
        rounds: Number of rounds.
    """

    def __init__(self, policies: Mapping[str, Policy], network: Network, rounds: int) -> None:
        self._policies = policies
        self._network = network
        self._rounds = rounds
        self._processors = [device.processor for device in network.devices]
        self._tx_power_w = [device.tx_power_w for device in network.devices]
        self._last: dict[int, Last] = {}
        self._sights: dict[int, Sight] = {}
        self._links: dict[int, frozenset[tuple[int, int]]] = {}

    @property
    def thins(self) -> bool:
        """Return whether a policy decides which links are used."""
        return "links" in self._policies

    def begin(self, node: int, round: int, peers: Sequence[int], budget: Budget) -> Budget:
        """Decide power and steps of ``node``, which begins ``round``; return its budget with the most steps.

        Raises:
            ScenarioError: A policy decides what cannot be; so below.
        """
        if node >= len(self._network.devices):
            return budget
        sight = self._sights[node] = self.look(node, round, peers)
        if "tx_power" in self._policies:
            most_w = sight.tx_power_w
            allowed = f"a power above 0, at most the device's tx_power_w, {most_w:g} W"
            power_w = self._of(sight, "tx_power", allowed, lambda one: is_number(one) and 0 < one <= most_w)
            self._network.devices[node].tx_power_w = float(power_w)
        if "iterations" in self._policies:
            allowed = "a whole number of at least 1, or None"
            steps = self._of(
                sight, "iterations", allowed, lambda one: one is None or (is_whole(one) and one >= 1)
            )
            budget = budget._replace(iterations=None if steps is None else int(steps))
        return budget

    def computes(self, node: int, flops: float) -> None:
        """Decide the clock frequency of ``node``, which begins to compute ``flops`` FLOPs."""
        if "cpu_frequency" not in self._policies or node >= len(self._network.devices):
            return
        sight = replace(self._sights[node], flops=flops)
        listed, top_hz = sight.frequencies_hz, sight.top_hz
        allowed = f"a frequency above 0, at most {top_hz:g} Hz"
        if listed is not None:
            allowed = f"one of frequencies_hz, {', '.join(f'{one:g}' for one in listed)}"

        def fits(value: Any) -> bool:
            return is_number(value) and (0 < value <= top_hz if listed is None else value in listed)

        frequency_hz = float(self._of(sight, "cpu_frequency", allowed, fits))
        stated = sight.processor.model_dump()
        self._network.devices[node].processor = Processor(**{**stated, "frequency_hz": frequency_hz})

    def near(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[int]:
        """Return those of ``neighbours`` to which ``device`` has a link in ``round``: all without a policy of links."""
        if not self.thins:
            return neighbours
        if round not in self._links:
            self._links[round] = self._choose_links(round)
        used = self._links[round]
        return [n for n in neighbours if (min(device, n), max(device, n)) in used]

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Remember a round in which something was computed."""
        if row.flops:
            spent_j = row.compute_j + row.sending_j + row.receiving_j + row.idle_j
            times_s = row.compute_s, row.sending_s
            steps = max(iterations.values(), default=0)
            self._last[row.device] = Last(row.round, row.flops, steps, *times_s, row.compute_j, spent_j)

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Forget the links of a round that all have left."""
        self._links.pop(round, None)

    def _of(self, sight: Sight, decision: str, allowed: str, fits: Callable[[Any], bool]) -> Any:
        return self._ask(decision, f"device {sight.device}, round {sight.round}", allowed, fits, sight)

    def look(self, k: int, round: int, peers: Sequence[int]) -> Sight:
        """Return what can be known of device ``k``."""
        network = self._network
        device, radio = network.devices[k], network.radio
        if peers and peers[0] >= len(network.devices):
            radio = next(one.uplink for one in network.servers if one.number == peers[0])
        known = radio.power_gains(k)
        return Sight(
            k,
            round,
            self._rounds,
            device.battery.remaining_j,
            self._processors[k],
            None,
            self._tx_power_w[k],
            {n: known[n] if n in known else radio.mean_gain(k, n) for n in peers},
            radio.air.bandwidth_hz * radio.air.noise_w_per_hz,
            self._last.get(k),
        )

    def _choose_links(self, round: int) -> frozenset[tuple[int, int]]:
        """Ask for the links of ``round``, as its first device begins it."""
        network = self._network
        each_way: dict[tuple[int, int], float] = {}
        for device in network.devices:
            if device.alive:
                for n, joules in network.budget(device).joules_per_bit.items():
                    link = min(device.number, n), max(device.number, n)
                    each_way[link] = each_way.get(link, 0.0) + joules
        there = [Link(a, b, joules) for (a, b), joules in sorted(each_way.items())]
        allowed = "pairs of devices, each one of the links that it was given, and once"
        found = self._ask(
            "links", f"round {round}", allowed, lambda one: _are_some(one, each_way), there, round
        )
        return frozenset((int(a), int(b)) for a, b in found)

    def _ask(self, decision: str, where: str, allowed: str, fits: Callable[[Any], bool], *given: Any) -> Any:
        policy = self._policies[decision]
        when = f"policies.{decision}: {type(policy).__name__}.{decision} of {where}"
        return asked(when, getattr(policy, decision), allowed, fits, *given)


def _are_some(found: Any, links: Mapping[tuple[int, int], float]) -> bool:
    """Return whether ``found`` has only ``links``, each once."""
    try:
        pairs = [tuple(one) for one in found] if isinstance(found, Collection) else [()]
        return links.keys() >= set(pairs) and len(set(pairs)) == len(pairs)
    except TypeError:
        return False
