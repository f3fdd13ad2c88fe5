"""A transfer that nothing can disturb is computed when it begins; the run must be the one that events would make.

The same world three times: with unlimited power (known at the start), on batteries of 1e30 J (which could die, so every
transfer is a process), and with every third device on such a battery (both ways side by side).
"""

import pytest

HUGE = {"battery": {"capacity_j": 1e30}}

ROUNDS = 70  # more than a chunk of fading draws


def world(**radio):
    edges = sorted(
        {(min(a, b), max(a, b)) for a in range(9) for b in ((a + 1) % 9, (a + 2) % 9, (a + 4) % 9)}
    )
    return {
        "rounds": ROUNDS,
        "devices": {
            "count": 9,
            "rx_power_w": 0.3,
            "idle_power_w": 0.05,
            "stragglers": {"name": "lognormal", "sigma": 1.0},
        },
        "topology": {
            "placement": {"name": "disc", "diameter_m": 150.0},
            "links": {"name": "edges", "edges": [list(edge) for edge in edges]},
        },
        "radio": {"outage_snr_db": 20.0, **radio},
        "learner": {"name": "stub", "flops": 4e10, "bits": 1e8},
    }


def powered(blocks, **devices):
    return {**blocks, "devices": {**blocks["devices"], **devices}}


@pytest.fixture
def runs(simulate):
    """Runs of a world with unlimited power, on huge batteries, and on both."""

    def run(**radio):
        blocks = world(**radio)
        mixed = {"overrides": [{"devices": [0, 3, 6], **HUGE}]}
        return [simulate(**powered(blocks, **power))[1] for power in ({}, HUGE, mixed)]

    return run


def ordered(transfers):
    return sorted(transfers, key=lambda row: (row.round, row.sender, row.receiver))


def test_the_same_transfers_to_the_last_bit(runs):
    unlimited, *others = runs()
    outcomes = [row.outcome for row in unlimited.transfers]
    assert 0 < outcomes.count("outage") < len(outcomes) and {*outcomes} == {"outage", "delivered"}
    for other in others:
        assert ordered(unlimited.transfers) == ordered(other.transfers)


@pytest.mark.parametrize("radio", [{}, {"channel": "none", "outage_snr_db": None}])
def test_the_same_rounds(runs, radio):
    """Each time to 1e-12 of the clock, each energy to 1e-12 of what the device had spent; counts and outcomes alike."""
    unlimited, *others = runs(**radio)
    key = lambda row: (row.device, row.round)  # noqa: E731
    end_s = max(row.end_s for row in unlimited.rounds)
    spent_j = (
        sum(row.compute_j + row.sending_j + row.receiving_j + row.idle_j for row in unlimited.rounds) / 9
    )
    assert (
        sum(row.idle_s for row in unlimited.rounds) > 0
        and sum(row.receiving_s for row in unlimited.rounds) > 0
    )
    for other in others:
        for a, b in zip(sorted(unlimited.rounds, key=key), sorted(other.rounds, key=key), strict=True):
            a, b = a._asdict(), b._asdict()
            for name in a.keys() - {"battery_j"}:
                if name.endswith(("_s", "_j")):
                    scale = end_s if name.endswith("_s") else spent_j
                    assert a[name] == pytest.approx(b[name], rel=0, abs=1e-12 * scale), name
                else:
                    assert a[name] == b[name], name
        assert unlimited.closed == other.closed


def test_nobody_is_woken_before_the_last_message_is_there(simulate):
    """Two messages of different lengths to device 1: its round ends with the later, and idling is what is between."""
    _, log = simulate(**powered(world(), idle_power_w=0.0))
    for row in log.rounds:
        heard = [t for t in log.transfers if t.round == row.round and t.receiver == row.device]
        own = [t for t in log.transfers if t.round == row.round and t.sender == row.device]
        assert row.end_s == max(t.end_s for t in heard + own)
        assert row.received == sum(t.outcome == "delivered" for t in heard)
