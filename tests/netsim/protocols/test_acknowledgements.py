"""What a sender learns of its messages, and what that costs. The radio moves 1e6 bits a second at 1 W."""

import math

import pytest
from test_decentralized import RADIO, by, conserve, line, world
from test_server_rounds import COUNT, rate_bps, star  # noqa: F401 (a fixture)

from learners.algorithms.stub import Stub


class Hears(Stub):
    """Notes what it is told."""

    def __init__(self, setup):
        super().__init__(setup)
        self.heard = {}

    def acknowledged(self, device, round, delivered):
        assert (device, round) not in self.heard
        self.heard[device, round] = delivered


def hearing(answer_bits=0.0, **more):
    blocks = world(3, **more)
    blocks["learner"]["name"] = "test_acknowledgements:Hears"
    blocks["radio"] = {**RADIO, "acknowledgement_bits": answer_bits}
    return blocks


@pytest.mark.parametrize("power", [{}, {"battery": {"capacity_j": 1e3}}])
def test_acknowledgements_are_free_and_sure_unless_the_scenario_says_otherwise(simulate, power):
    """Transfers foreseen and transfers that are processes; nothing but the hook is different."""
    simulation, log = simulate(**hearing(**power))
    _, plain = simulate(**world(3, **power))
    assert (log.rounds, log.transfers) == (plain.rounds, plain.transfers)
    assert simulation.learner.heard == {
        (k, t): dict.fromkeys([n for n in (k - 1, k + 1) if 0 <= n < 3], True)
        for k in range(3)
        for t in (1, 2)
    }


@pytest.mark.parametrize("power", [{}, {"battery": {"capacity_j": 1e3}}])
def test_an_acknowledgement_is_a_transfer_that_the_receiver_pays(simulate, power):
    """10 s of computing, 2 s of sending, and an answer of 1e5 bits: 0.1 s, 0.1 J for each message received."""
    simulation, log = simulate(**hearing(1e5, rx_power_w=0.5, **power))
    answers = by(log.transfers, kind="acknowledgement")
    assert sorted((t.sender, t.receiver, t.round) for t in answers) == sorted(
        (t.receiver, t.sender, t.round) for t in by(log.transfers, kind="model")
    )
    assert {(t.size_bits, t.outcome) for t in answers} == {(1e5, "delivered")}
    assert [t.airtime_s for t in answers] == pytest.approx([0.1] * 8)
    for t, end_s in ((1, 12.1), (2, 24.2)):
        rows = {r.device: r for r in by(log.rounds, round=t)}
        assert [rows[k].end_s for k in range(3)] == pytest.approx([end_s] * 3)
        assert [rows[k].sending_j for k in range(3)] == pytest.approx([2.1, 4.2, 2.1])
        assert [rows[k].receiving_j for k in range(3)] == pytest.approx([0.5 * 2.1] * 3)
        assert [(rows[k].sent, rows[k].received) for k in range(3)] == [(1, 1), (2, 2), (1, 1)]
    assert all(all(delivered.values()) for delivered in simulation.learner.heard.values())
    conserve(simulation, log)


def test_a_message_can_arrive_and_its_acknowledgement_not(simulate):
    """Device 1 sends with a tenth of the power, below the threshold; what is sent to it gets through."""
    blocks = hearing(1e5, rounds=1, overrides=[{"devices": [1], "tx_power_w": 0.1}])
    blocks["radio"]["outage_snr_db"] = 25.0
    simulation, log = simulate(**blocks)
    assert {t.outcome for t in by(log.transfers, kind="acknowledgement")} == {"outage"}
    assert simulation.learner.heard == {(0, 1): {1: False}, (1, 1): {0: False, 2: False}, (2, 1): {1: False}}
    assert [(r.sent, r.received) for r in sorted(log.rounds, key=lambda r: r.device)] == [
        (1, 0),
        (0, 2),
        (1, 0),
    ]
    conserve(simulation, log)


def test_who_is_cut_off_hears_that_it_was_not_heard(simulate):
    simulation, _ = simulate(**hearing(rounds=1, protocol={"deadline_s": 11.0}))
    assert simulation.learner.heard == {(0, 1): {1: False}, (1, 1): {0: False, 2: False}, (2, 1): {1: False}}


def test_what_is_kept_is_acknowledged_when_it_is_there(simulate):
    """1 s of computing, 2.5 s on the air, rounds of 2 s; the last message is cut off."""
    blocks = hearing(flops=1.0, bits=2.5e6, rounds=3, protocol={"deadline_s": 2.0, "late": "keep"})
    blocks["topology"] = line(3)
    simulation, _ = simulate(**blocks)
    assert {t: simulation.learner.heard[0, t] for t in (1, 2, 3)} == {
        1: {1: True},
        2: {1: True},
        3: {1: False},
    }


def test_uploads_are_acknowledged_over_the_downlink(star):  # noqa: F811
    """Four answers at once share the server's band and power: each takes four times as long as one alone."""
    learner = {"name": "test_acknowledgements:Hears"}
    free, plain = star(learner=learner)
    simulation, log = star(learner=learner, radio={"acknowledgement_bits": 1e5})
    assert free.learner.heard == simulation.learner.heard == {(k, 1): {COUNT: True} for k in range(COUNT)}
    answer_s = 4 * 1e5 / rate_bps(simulation, 1.0)
    answers = by(log.transfers, kind="acknowledgement")
    assert [t.airtime_s for t in answers] == pytest.approx([answer_s] * COUNT)
    assert sum(t.energy_j for t in answers) == pytest.approx(1.0 * answer_s)
    assert log.server[0].end_s == pytest.approx(plain.server[0].end_s + answer_s)
    assert {t.kind for t in plain.transfers} == {"download", "upload"}


def test_an_upload_that_does_not_get_through_is_not_acknowledged(star):  # noqa: F811
    free, _ = star()
    rate = rate_bps(free, 0.1)
    threshold_db = 10 * math.log10(2 ** (rate / 1e6) - 1) + 7.0
    simulation, log = star(
        learner={"name": "test_acknowledgements:Hears"},
        radio={"outage_snr_db": threshold_db, "acknowledgement_bits": 1e5},
    )
    assert {row.outcome for row in log.rounds} == {"lost"}
    assert simulation.learner.heard == {(k, 1): {COUNT: False} for k in range(COUNT)}


@pytest.mark.parametrize("answer_bits", [1e5, 1e7])
def test_the_first_uploads_are_counted_as_they_arrive_not_as_they_are_acknowledged(star, answer_bits):  # noqa: F811
    """Devices compute 1, 2, 3 and 4 s, and the second upload is the last: its answer, and the first's, still go out.

    Answers of 1e7 bits take seconds: without counting on arrival the third upload would arrive meanwhile.
    """
    slow = {"stragglers": {"name": "given", "factors": {1: 2.0, 2: 3.0, 3: 4.0}}}
    learner = {"name": "test_acknowledgements:Hears"}
    simulation, log = star(
        {"first": 2}, devices=slow, learner=learner, radio={"acknowledgement_bits": answer_bits}
    )
    assert [row.outcome for row in sorted(log.rounds, key=lambda row: row.device)] == [
        "finished",
        "finished",
        "cut_off",
        "cut_off",
    ]
    assert log.server[0].arrived == 2
    assert {t.outcome for t in by(log.transfers, kind="acknowledgement")} == {"delivered"}
    assert simulation.learner.heard == {(0, 1): {COUNT: True}, (1, 1): {COUNT: True}}
    uploads = by(log.transfers, kind="upload")
    answers = by(log.transfers, kind="acknowledgement")
    assert log.server[0].end_s == pytest.approx(max(t.end_s for t in answers))
    assert sum(t.energy_j for t in answers) == pytest.approx(
        log.server[0].sending_j - 1.0 * 2e6 / rate_bps(simulation, 1.0)
    )
    assert len(uploads) == 2


def test_a_deadline_ends_acknowledgements_too(star):  # noqa: F811
    """All uploads are there before it, no answer of an hour is."""
    learner = {"name": "test_acknowledgements:Hears"}
    simulation, log = star(
        {"deadline_s": 5.0, "first": 4}, learner=learner, radio={"acknowledgement_bits": 1e10}
    )
    assert {t.outcome for t in by(log.transfers, kind="acknowledgement")} == {"cut_off"}
    assert simulation.learner.heard == {(k, 1): {COUNT: False} for k in range(COUNT)}
    assert (log.server[0].arrived, log.server[0].end_s) == (COUNT, pytest.approx(5.0))
