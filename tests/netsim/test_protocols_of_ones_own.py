"""Protocols that use all of a backlog give the same bytes wherever the learning is done."""

from __future__ import annotations

from typing import ClassVar

import pytest
from test_beside import Gossip, no_gpu, told  # noqa: F401 (a fixture)

from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.former.beside import trial
from netsim.former.beside.deposit import Deposit
from netsim.learner import Metric
from netsim.protocols import Protocol

LEARNER = {"name": "test_beside:Gossip"}
ROUNDS = 9


class Relay(Protocol):
    """Device k hears what its predecessor sent a round earlier, whose round is closed by then.

    Every training begins when the predecessor has combined, belongs to no round before it is adopted, and now and then
    is cancelled; now and then the clock waits for what was learnt.
    """

    class Options(Options):
        """From when on the learner is asked for messages, behind the backlog's back."""

        asks_the_learner_from: int = 1000

    options: Relay.Options

    def start(self):
        return self.network.env.process(self.life())

    def life(self):
        env, devices, work = self.network.env, self.network.devices, self.work
        posted, combined = {}, None
        for t in range(1, self.rounds + 1):
            asked = self.learner if t >= self.options.asks_the_learner_from else work
            sent = {}
            for device in devices:
                k = device.number
                workload = self.learner.workload(k, t, self.network.budget(device))
                training = work.train(k, t, workload, after=combined, closes=0, judged=k == 2)
                yield env.timeout(1.0)
                if (t + k) % 4 == 2:
                    work.cancel(training)
                else:
                    work.trained(training, env.now)
                    (message,) = asked.messages(k, t, [(k + 1) % len(devices)])
                    sent[(k + 1) % len(devices)] = k, message.payload, training
                    work.acknowledged(k, t, {(k + 1) % len(devices): t % 2 == 0})
                    work.adopt(training, t)
                if k in posted:
                    sender, payload, made_by = posted.pop(k)
                    combined = work.combine(k, t, env.now, {sender: payload}, after=[made_by], judged=k == 1)
                if (t, k) in ((3, 1), (8, 0)):
                    work.settle(combined)
            posted = sent
            work.measure(-1, t, env.now, [Metric("trained", t)])
            work.close(t, env.now)


class Hearing(Gossip):
    """Has its next training, and its next message, depend on acknowledgements."""

    def __init__(self, setup):
        super().__init__(setup)
        self.arrived: dict[tuple[int, int], int] = {}

    def acknowledged(self, device, round, delivered):
        assert (device, round) not in self.arrived
        self.arrived[device, round] = sum(delivered.values())

    def training_job(self, device, round, workload):
        job = super().training_job(device, round, workload)
        job.inputs["value"] += 1000 * self.arrived.get((device, round - 1), 5)
        return job

    def messages(self, device, round, neighbours):
        bits = 1e6 * (1 + self.arrived.get((device, round - 1), 5))
        return [message._replace(size_bits=bits) for message in super().messages(device, round, neighbours)]


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
    "acknowledgements": {
        "protocol": {"name": "decentralized_rounds", "deadline_s": 1.2},
        "radio": {"acknowledgement_bits": 1e5},
        "learner": {"name": "test_protocols_of_ones_own:Hearing"},
    },
}


class Late(Gossip):
    """Sends so much that some of it is late."""

    def messages(self, device, round, neighbours):
        return [message._replace(size_bits=5e6) for message in super().messages(device, round, neighbours)]


@pytest.fixture
def moves(monkeypatch):
    """Two processes always pay."""
    monkeypatch.setattr(trial, "WORTHWHILE_S", -1e9)
    monkeypatch.setattr(trial, "WORTHWHILE_SHARE", -1e9)


@pytest.mark.parametrize("executor", ["threads", "processes", "beside", "auto"])
@pytest.mark.parametrize("world", WORLDS)
def test_the_same_is_learnt_and_recorded_wherever_it_is_done(simulate, moves, world, executor):
    blocks = {"rounds": ROUNDS, "learner": LEARNER, **WORLDS[world]}
    here, log = simulate(**blocks, jobs={"executor": "inline"})
    there, same = simulate(**blocks, jobs={"executor": executor})
    assert told(same) == told(log)
    assert there.learner.values == here.learner.values
    if executor in ("beside", "auto"):
        assert there.execution["beside"]["after_round"] == (0 if executor == "beside" else 5)


def test_these_worlds_are_what_they_say(simulate):
    """Something is late and kept, something acknowledged and something not, something of an earlier round combined."""
    for world in ("deadlines, late kept", "own schedules, late kept"):
        _, log = simulate(rounds=ROUNDS, **WORLDS[world])
        assert sum(row.late for row in log.rounds) > 3
        assert sum(row.received for row in log.rounds) + sum(row.missed for row in log.rounds) > 6 * ROUNDS
    simulation, log = simulate(rounds=ROUNDS, **WORLDS["acknowledgements"])
    assert {row.kind for row in log.transfers} == {"model", "acknowledgement"}
    assert {0, 2} <= {*simulation.learner.arrived.values()}


def test_auto_stays_with_the_clock_where_payloads_go_round_the_backlog_and_says_why(simulate, moves):
    blocks = {"rounds": ROUNDS, "learner": LEARNER}
    relay = {**WORLDS["relay"]["protocol"], "asks_the_learner_from": 1}
    _, log = simulate(**blocks, protocol=relay, jobs={"executor": "inline"})
    simulation, same = simulate(**blocks, protocol=relay)
    assert told(same) == told(log)
    assert simulation.execution["beside"]["after_round"] is None
    assert "Backlog.messages" in simulation.execution["beside"]["obstacle"]


@pytest.mark.parametrize(("executor", "first"), [("beside", 1), ("auto", 7)])
def test_where_it_is_too_late_to_stay_that_is_one_line(simulate, moves, executor, first):
    relay = {**WORLDS["relay"]["protocol"], "asks_the_learner_from": first}
    with pytest.raises(ScenarioError, match=r"jobs\.executor: .*Backlog\.messages.*use inline or threads"):
        simulate(rounds=ROUNDS, learner=LEARNER, protocol=relay, jobs={"executor": executor})


class Counted(Deposit):
    """Knows how much there ever was in it."""

    most: ClassVar[int] = 0

    def keep(self, payload):
        number = super().keep(payload)
        Counted.most = max(Counted.most, len(self))
        return number


@pytest.mark.parametrize("executor", ["auto", "beside"])
def test_payloads_that_nobody_can_ask_for_are_forgotten(simulate, monkeypatch, executor):
    """Three devices send to two each in a round, and are at most one round apart."""
    monkeypatch.setattr("netsim.former.beside.backlog.Deposit", Counted)
    Counted.most = 0
    simulate(rounds=40, learner=LEARNER, jobs={"executor": executor})
    assert 6 <= Counted.most <= 12
