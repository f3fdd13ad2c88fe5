"""A scenario as a Gymnasium environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from netsim.app.agents.actions import AGENTS, Agent, Bandwidth, valid
from netsim.app.agents.desk import Desk
from netsim.app.agents.score import Score
from netsim.app.build import build
from netsim.app.simulation import Simulation
from netsim.core.entry import Entry
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions
from netsim.protocols.decisions import Decisions
from netsim.scenario.loading import Part, Plan, load_plan
from netsim.scenario.yaml_file import as_settings
from netsim.world.radio.ofdma import OFDMA
from netsim.world.radio.units import power_to_db

LARGEST = 1e9
"""Seconds and joules are observed up to this."""

Seen = dict[str, np.ndarray]


class Environment(gymnasium.Env[Seen, Any]):
    """Steps through a scenario's rounds; see :func:`netsim.gym.make`.

    An observation has, for each device, what a policy sees of it: the part of its battery that is left, the last known
    gain of its worst link, its last round's times and energy, and how many rounds ago that was; and the part of the run
    that is over. The action None lets the scenario's own policy decide.

    Attributes:
        simulation: The simulation of this episode.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's)

    def __init__(
        self,
        scenario: str | Path,
        decides: str,
        reward: Mapping[str, float],
        rounds: int | None,
        set: Mapping[str, Any],
        most_iterations: int,
        cache: str | Path | None,
    ) -> None:
        given = {"jobs.executor": "inline", "jobs.stacking": "off", **set}
        given |= {} if rounds is None else {"rounds": rounds}
        self._plan = load_plan(Path(scenario), as_settings(given, "set: "), said="set")
        self._cache = Path(cache or os.environ.get("NETSIM_CACHE", ".cache"))
        self._weights = dict(reward)
        self._key, kind = _place(self._plan, decides)
        self._agent = kind(self._ask, None, most_iterations)
        self._desk: Desk | None = None
        self._seed: int | None = None
        self.simulation = self._build()
        devices, known = self.simulation.network.devices, ("seconds", "joules", *self.simulation.metrics)
        for name in reward:
            if name not in known:
                raise ScenarioError(f"netsim.gym: reward: no {name!r} here; there are {', '.join(known)}")
        self.action_space = self._agent.space(devices)
        last, count = float(self._plan.scenario.rounds), len(devices)
        self._bounds = {
            "over": (0.0, 1.0),
            "left": (0.0, 1.0),
            "gain_db": (-1000.0, 1000.0),
            "age": (0.0, last),
        }
        self._bounds |= dict.fromkeys(("compute_s", "sending_s", "energy_j"), (0.0, LARGEST))
        self.observation_space = spaces.Dict(  # type: ignore[assignment]
            {
                name: spaces.Box(low, high, (1 if name == "over" else count,), np.float32)
                for name, (low, high) in self._bounds.items()
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Begin a run: with ``seed`` its own; without one the scenario's, and then the next numbers."""
        super().reset(seed=seed)
        self.close()
        if seed is not None:
            self._seed = seed
        elif self._seed is not None:
            self._seed += 1
        else:
            self._seed = self._plan.scenario.seed
        self.simulation = self._build()
        network = self.simulation.network
        self._decisions = Decisions({}, network, self._plan.scenario.rounds)
        self._score = Score(network.env, len(network.devices), self._weights)
        self.simulation.watch(self._decisions, self._score)
        self._desk = Desk(self.simulation.run)
        self._desk.begin()
        self._score.since()
        return self._look(), self._score.info()

    def step(self, action: Any) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Decide for the round that begins, and let the run go on to the next one, or to its end.

        Raises:
            ScenarioError: The run ends with an error, or ``action`` is none of ``action_space``.
            ResetNeeded: There was no ``reset``.
        """
        if self._desk is None:
            raise gymnasium.error.ResetNeeded("netsim.gym: step needs a run; call reset first")
        if not self._desk.ended:
            self._desk.act(None if action is None else valid(action, self.action_space))
        return self._look(), self._score.since(), self._desk.ended, False, self._score.info()

    def close(self) -> None:
        """End the run, wherever it is."""
        if self._desk is not None:
            self._desk.close()

    def _ask(self, round: int) -> Any:
        assert self._desk is not None
        return self._desk.ask(round or self._score.closed + 1)

    def _build(self) -> Simulation:
        seed = self._plan.scenario.seed if self._seed is None else self._seed
        scenario = self._plan.scenario.model_copy(update={"seed": seed})
        part = self._plan.parts.get(self._key)
        entry = part.entry if part and part.cls is OFDMA else Entry(type(self._agent), NoOptions, "")
        taken = _Taken("agent", entry, NoOptions(), self._agent, part)
        plan = replace(self._plan, scenario=scenario, parts={**self._plan.parts, self._key: taken})
        return build(plan, self._cache, lambda text: None)

    def _look(self) -> Seen:
        """Return what policies see as the next round begins."""
        network, desk = self.simulation.network, self._desk
        assert desk is not None
        rounds, round = self._plan.scenario.rounds, desk.round
        server = [network.server.number] if network.server else []
        found: dict[str, list[float]] = {name: [] for name in self._bounds}
        found["over"].append(1.0 if desk.ended else (round - 1) / rounds)
        for device in network.devices:
            peers = server or network.living_neighbours(device)
            sight, capacity_j = self._decisions.look(device.number, round, peers), device.battery.capacity_j
            last, worst = sight.last, min(sight.power_gains.values(), default=0.0)
            found["left"].append(sight.battery_j / capacity_j if np.isfinite(capacity_j) else 1.0)
            found["gain_db"].append(power_to_db(worst) if worst > 0 else -1000.0)
            found["compute_s"].append(last.compute_s if last else 0.0)
            found["sending_s"].append(last.sending_s if last else 0.0)
            found["energy_j"].append(last.energy_j if last else 0.0)
            found["age"].append(round - 1 - (last.round if last else 0))
        return {
            name: np.clip(np.array(values, np.float32), *self._bounds[name]) for name, values in found.items()
        }


@dataclass(frozen=True)
class _Taken(Part):
    """A component whose decisions an agent takes over."""

    agent: Any = None
    own: Part | None = None

    def make(self, *arguments: Any) -> Any:
        made = self.own.make(*arguments) if self.own else None
        if isinstance(made, OFDMA):
            self.agent.own, made.dealer = made.named(), self.agent
            return made
        self.agent.own = made
        return self.agent


def _place(plan: Plan, decides: str) -> tuple[str, type[Agent]]:
    """Return the key of the scenario that an agent decides in place of, and the kind of agent.

    Raises:
        ScenarioError: There is no such decision, or nothing to decide.
    """
    needs_server = plan.parts["protocol"].cls.needs_server
    if decides == "bandwidth":
        key = "server.uplink.access" if needs_server else "radio.access"
        if key not in plan.parts or plan.parts[key].cls is not OFDMA:
            raise ScenarioError(
                f"netsim.gym: decides: bandwidth needs {key}: ofdma, whose sub-carriers are dealt"
            )
        return key, Bandwidth
    if decides not in AGENTS:
        raise ScenarioError(
            f"netsim.gym: decides: no {decides!r}; there are {', '.join([*AGENTS, 'bandwidth'])}"
        )
    if decides == "participants" and not needs_server:
        raise ScenarioError(
            "netsim.gym: decides: participants are chosen by a server; use protocol: server_rounds"
        )
    if decides == "links" and not plan.parts["protocol"].cls.thins:
        raise ScenarioError("netsim.gym: decides: links are chosen in rounds of decentralized_rounds only")
    return AGENTS[decides]
