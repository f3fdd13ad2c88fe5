"""Agents in place of policies: the space of their actions, and what an action means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from gymnasium import spaces

from netsim.core.errors import ScenarioError
from netsim.world.devices.device import Device
from netsim.world.policies.policy import Link, Policy, Sight
from netsim.world.radio.schedulers import Bid, Scheduler, greedy
from netsim.world.selection import Candidate, Selection

LEAST = 0.01
"""The lowest part of a top frequency or of a transmit power that an agent can choose."""


def valid(action: Any, space: spaces.Space[Any]) -> np.ndarray:
    """Return ``action`` as an array of ``space``.

    Raises:
        ScenarioError: It is none; says what it must be.
    """
    try:
        given = np.asarray(action)
        found = given.astype(space.dtype)
        if space.contains(found) and (found.dtype.kind == "f" or np.array_equal(found, given)):
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    text = " ".join(repr(action).split())
    raise ScenarioError(
        f"netsim.gym: action: must be in {space}, or None for the scenario's own policy (got {text[:200]})"
    )


@dataclass
class Agent:
    """Decides what an agent says, or what the scenario's own policy does where the agent says nothing.

    Attributes:
        ask: Returns the agent's action for a round; None: it says nothing.
        own: The scenario's policy; None: what the scenario states is used.
        most: The most local steps that the agent can ask for.
    """

    ask: Callable[[int], Any]
    own: Any
    most: int

    def space(self, devices: Sequence[Device]) -> spaces.Space[Any]:
        """Return the space of actions: a part of something for each device."""
        return spaces.Box(0.0, 1.0, (len(devices),), np.float32)


class Frequency(Agent, Policy):
    """Clock frequencies: the place of one in each device's list, or a part of the top frequency if not all have one."""

    def space(self, devices: Sequence[Device]) -> spaces.Space[Any]:
        """Return the space of actions."""
        lists = [device.processor.frequencies_hz for device in devices]
        self._places = all(lists)
        return (
            spaces.MultiDiscrete([len(one or ()) for one in lists])
            if self._places
            else super().space(devices)
        )

    def cpu_frequency(self, sight: Sight) -> float:
        """Return the frequency [Hz]; of a list the one that is nearest to the part."""
        action, listed = self.ask(sight.round), sight.frequencies_hz
        if action is None:
            return self.own.cpu_frequency(sight) if self.own else sight.processor.frequency_hz
        if self._places and listed is not None:
            return listed[int(action[sight.device])]
        wanted_hz = max(float(action[sight.device]), LEAST) * sight.top_hz
        return min(listed or (wanted_hz,), key=lambda one: abs(one - wanted_hz))


class Power(Agent, Policy):
    """Transmit powers: a part of what each device has."""

    def tx_power(self, sight: Sight) -> float:
        """Return the power [W]."""
        action = self.ask(sight.round)
        if action is None:
            return self.own.tx_power(sight) if self.own else sight.tx_power_w
        return max(float(action[sight.device]), LEAST) * sight.tx_power_w


class Iterations(Agent, Policy):
    """Local steps: one fewer than the most of each device."""

    def space(self, devices: Sequence[Device]) -> spaces.Space[Any]:
        """Return the space of actions."""
        return spaces.MultiDiscrete([self.most] * len(devices))

    def iterations(self, sight: Sight) -> int | None:
        """Return the most steps."""
        action = self.ask(sight.round)
        if action is None:
            return self.own.iterations(sight) if self.own else None
        return int(action[sight.device]) + 1


class Links(Agent, Policy):
    """Links: whether each pair of devices uses its link, if it has one: pairs (0, 1), (0, 2) ... (1, 2) ..."""

    def space(self, devices: Sequence[Device]) -> spaces.Space[Any]:
        """Return the space of actions."""
        self._place = {pair: place for place, pair in enumerate(combinations(range(len(devices)), 2))}
        return spaces.MultiBinary(len(self._place))

    def links(self, links: Sequence[Link], round: int) -> Iterable[tuple[int, int]]:
        """Return those of ``links`` that are used."""
        action = self.ask(round)
        if action is None:
            return self.own.links(links, round) if self.own else [(a, b) for a, b, _ in links]
        return [(a, b) for a, b, _ in links if action[self._place[a, b]]]


class Participants(Agent, Selection):
    """Participants: a score for each device; those with the highest take part, of equal ones the first."""

    def choose(self, candidates: Sequence[Candidate], count: int, round: int) -> Sequence[int]:
        """Return the participants."""
        action = self.ask(round)
        if action is None:
            return self.own.choose(candidates, count, round)
        return sorted((one.device for one in candidates), key=lambda k: (-action[k], k))[:count]


class Bandwidth(Agent, Scheduler):
    """Sub-carriers of OFDMA: a weight for each device; its transfers get them in proportion to their weights."""

    def deal(self, bids: Sequence[Bid], subcarriers: int) -> Sequence[int]:
        """Deal one by one, each to the largest weight over one more than what it has (Jefferson's method)."""
        action = self.ask(0)
        if action is None:
            return self.own.deal(bids, subcarriers)
        weights = {bid.sender: max(float(action[bid.sender]), LEAST) for bid in bids}
        parts = np.cumsum([0.0, *(1 / np.arange(1, subcarriers + 2))]).tolist()
        return greedy(bids, subcarriers, lambda bid, count: weights[bid.sender] * parts[count])


AGENTS: dict[str, tuple[str, type[Agent]]] = {
    "cpu_frequency": ("policies.cpu_frequency", Frequency),
    "tx_power": ("policies.tx_power", Power),
    "iterations": ("policies.iterations", Iterations),
    "links": ("policies.links", Links),
    "participants": ("server.selection", Participants),
}
"""The key of the scenario that an agent decides in place of, and the agent, by decision."""
