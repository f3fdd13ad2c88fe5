"""Protocols that use all of a task graph give the same bytes wherever the work is done."""

from __future__ import annotations

import pytest
from test_forked import Gossip, combined, no_gpu, told  # noqa: F401 (a fixture)

from netsim.learner import Metric, Step
from netsim.protocols import Protocol
from netsim.work.forked import trial
from netsim.work.forked.service import Service
from netsim.work.future import awaited

LEARNER = {"name": "test_forked:Gossip"}
ROUNDS = 9


class Relay(Protocol):
    """Device k hears what its predecessor sent a round earlier, whose round is closed by then.

    Every training begins with what the predecessor has combined, and now and then is cancelled; now and then the clock
    waits for what was learnt.
    """

    def start(self):
        return self.network.env.process(self.life())

    def life(self):
        env, devices, work, learner = self.network.env, self.network.devices, self.work, self.learner
        self.states = {device.number: learner.first(work, device.number).state for device in devices}
        posted, combined = {}, self.states[0]
        for t in range(1, self.rounds + 1):
            sent = {}
            for device in devices:
                k = device.number
                budget = self.network.budget(device)
                cost = learner.cost(k, t, self.network.living_neighbours(device), budget, None)
                made = work.trace()
                step = learner.train(work, k, t, combined, cost)
                yield env.timeout(1.0)
                if (t + k) % 4 == 2:
                    work.cancel(made)
                else:
                    work.measure(k, t, env.now, step.metrics)
                    next_one = (k + 1) % len(devices)
                    sent[next_one] = k, step.outbox
                    learner.acknowledged(k, t, {next_one: t % 2 == 0})
                    self.states[k] = step.state
                if k in posted:
                    sender, outbox = posted.pop(k)
                    step = learner.aggregate(work, k, t, self.states[k], {sender: outbox})
                    combined = self.states[k] = step.state
                    work.measure(k, t, env.now, step.metrics)
                    work.measure(k, t, env.now, learner.evaluate(work, k, t, combined))
                if (t, k) in ((3, 1), (8, 0)):
                    yield env.timeout(1e-6 * work.value(combined))
            posted = sent
            work.measure(-1, t, env.now, [Metric("trained", t)])
            work.close(t, env.now)


class Hearing(Gossip):
    """Has its next training, and its next message, depend on acknowledgements."""

    def __init__(self, setup):
        super().__init__(setup)
        self.arrived: dict[tuple[int, int], int] = {}

    def acknowledged(self, node, round, delivered):
        assert (node, round) not in self.arrived
        self.arrived[node, round] = sum(delivered.values())

    def train(self, work, node, round, state, cost):
        step = super().train(work, node, round, state, cost)
        heard = {"value": step.state, "arrived": {1000: self.arrived.get((node, round - 1), 5)}}
        changed = work.together(combined, heard, round)["state"]
        return Step(changed, changed, step.metrics)

    def messages(self, node, round, receivers, together=False):
        bits = 1e6 * (1 + self.arrived.get((node, round - 1), 5))
        return [message._replace(size_bits=bits) for message in super().messages(node, round, receivers)]


WORLDS: dict[str, dict] = {
    "relay": {"protocol": {"name": "test_protocols_of_ones_own:Relay"}},
    "relay, acknowledged": {
        "protocol": {"name": "test_protocols_of_ones_own:Relay"},
        "learner": {"name": "test_protocols_of_ones_own:Hearing"},
    },
    "deadlines, late kept": {
        "protocol": {"name": "decentralized_rounds", "deadline_s": 0.8, "late": "keep"},
        "learner": {"name": "test_protocols_of_ones_own:Late"},
    },
    "own schedules, late kept": {
        "protocol": {
            "name": "decentralized_rounds",
            "deadline_s": 0.9,
            "late": "keep",
            "schedule": "own",
        },
        "learner": {"name": "test_protocols_of_ones_own:Late"},
    },
    "gossip without waiting": {
        "devices": {"count": 3, "stragglers": {"name": "lognormal", "sigma": 1.0}},
        "protocol": {"name": "asynchronous_gossip", "peers": 1, "duration_s": 3.0},
    },
    "a hierarchy": {
        "devices": {"count": 3, "stragglers": {"name": "lognormal", "sigma": 1.0}},
        "protocol": {"name": "hierarchical_rounds", "edge_rounds": 2, "backhaul": {"rate_bps": 1e6}},
    },
    "acknowledgements": {
        "protocol": {"name": "decentralized_rounds", "deadline_s": 1.2},
        "radio": {"acknowledgement_bits": 1e5},
        "learner": {"name": "test_protocols_of_ones_own:Hearing"},
    },
}


class Late(Gossip):
    """Sends so much that some of it is late."""

    def messages(self, node, round, receivers, together=False):
        return [message._replace(size_bits=5e6) for message in super().messages(node, round, receivers)]


@pytest.fixture
def moves(monkeypatch):
    """Two processes always pay."""
    monkeypatch.setattr(trial, "WORTHWHILE_S", -1e9)
    monkeypatch.setattr(trial, "WORTHWHILE_SHARE", -1e9)


@pytest.mark.parametrize("executor", ["threads", "processes", "forked", "auto"])
@pytest.mark.parametrize("world", WORLDS)
def test_the_same_is_learnt_and_recorded_wherever_it_is_done(simulate, moves, world, executor):
    blocks = {"rounds": ROUNDS, "learner": LEARNER, **WORLDS[world]}
    here, log = simulate(**blocks, jobs={"executor": "inline"})
    there, same = simulate(**blocks, jobs={"executor": executor})
    assert told(same) == told(log)
    assert there.states == here.states
    if executor in ("forked", "auto"):
        assert there.execution["forked"]["after_round"] == (0 if executor == "forked" else 5)


def test_these_worlds_are_what_they_say(simulate):
    """Something is late and kept, something acknowledged and something not, something of an earlier round combined."""
    for world in ("deadlines, late kept", "own schedules, late kept"):
        _, log = simulate(rounds=ROUNDS, **WORLDS[world])
        assert sum(row.late for row in log.rounds) > 3
        assert sum(row.received for row in log.rounds) + sum(row.missed for row in log.rounds) > 6 * ROUNDS
    simulation, log = simulate(rounds=ROUNDS, **WORLDS["acknowledgements"])
    assert {row.kind for row in log.transfers} == {"model", "acknowledgement"}
    assert {0, 2} <= {*simulation.learner.arrived.values()}


@pytest.mark.parametrize("executor", ["forked", "auto"])
def test_results_that_nobody_can_ask_for_are_forgotten(simulate, moves, monkeypatch, executor, tmp_path):
    """Three devices are at most one round apart, and make five tasks each in a round."""
    most = tmp_path / "most"
    forget = Service.forget

    def counted(self, numbers):
        forget(self, numbers)
        before = int(most.read_text()) if most.exists() else 0
        most.write_text(str(max(before, len(self._tasks))))

    monkeypatch.setattr(Service, "forget", counted)
    simulate(rounds=40, learner=LEARNER, jobs={"executor": executor})
    assert 9 <= int(most.read_text()) <= 2 * 3 * 5


def test_futures_are_found_wherever_they_lie(simulate):
    """A state may be any arrangement of futures and values."""
    simulation, _ = simulate(rounds=1, learner=LEARNER, jobs={"executor": "inline"})
    assert all(isinstance(state, int) for state in simulation.states.values())
    assert awaited({"a": [1, (2, "x")], "b": {"c": None}}) == []
