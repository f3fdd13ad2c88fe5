"""A server's round that nothing can disturb is computed at once; the run must be the one that events would make."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netsim.protocols.server_rounds import ServerRounds

WORLDS = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TABLES = ("transfers", "rounds", "server", "outside", "metrics", "deaths", "closed", "iterations")

stragglers = st.sampled_from(
    [{"name": "none"}, {"name": "lognormal", "sigma": 1.0}, {"name": "constant", "factor": 3, "share": 0.5}]
)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """A world with a server: how many devices, how fast, how they share the uplink, how many take part."""
    count = draw(st.integers(2, 7))
    speeds = [
        {"devices": [k], "processor": {"frequency_hz": draw(st.sampled_from([1e9, 2e9, 3.3e9]))}}
        for k in range(count)
    ]
    power = draw(st.sampled_from([{}, {"rx_power_w": 0.3, "idle_power_w": 0.05}]))
    mortal = draw(st.lists(st.integers(0, count - 1), max_size=2))
    batteries = [{"devices": mortal, "battery": {"capacity_j": draw(st.sampled_from([0.3, 30.0, 1e9]))}}]
    channel = draw(
        st.sampled_from(
            [
                "none",
                "rayleigh",
                {"name": "rayleigh", "reciprocal": False},
                {"name": "rayleigh", "coherence_time_s": 0.5},
                {"name": "rician", "k_db": 3.0},
                "nakagami",
            ]
        )
    )
    rates = [
        "shannon",
        {"name": "shannon", "gap_db": 3.0, "cap_bps_per_hz": 4.4},
        {"name": "mcs", "block_bits": 2e4},
    ]
    return {
        "seed": draw(st.integers(0, 99)),
        "rounds": 3,
        "devices": {
            "count": count,
            "overrides": speeds + batteries * bool(mortal),
            "stragglers": draw(stragglers),
            **power,
        },
        "topology": {"placement": {"name": "disc", "diameter_m": 300}},
        "radio": {"channel": channel, "rate": draw(st.sampled_from(rates))},
        "protocol": {
            "name": "server_rounds",
            "participants": draw(st.sampled_from([None, 1, max(1, count - 1)])),
            "deadline_s": draw(st.sampled_from([None, None, None, 2.0])),
        },
        "server": {
            "uplink": {"bandwidth_hz": 1e6, "division": draw(st.sampled_from(["equal", "redivided"]))},
            "downlink": {"bandwidth_hz": 1e7, "mode": draw(st.sampled_from(["broadcast", "unicast"]))},
        },
        "learner": {
            "name": "stub",
            "bits": draw(st.sampled_from([0, 1e5, 3e6])),
            "download_bits": draw(st.sampled_from([0, 1e6])),
            "flops": draw(st.sampled_from([0, 4e7, 4e9])),
        },
    }  # fmt: skip


@contextmanager
def everything_by_events():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerRounds, "_undisturbed", lambda *_: False)
        yield


def in_order(name: str, rows: list[Any]) -> list[Any]:
    """Transfers that end in one moment may come in any order; NaN, which is not itself, becomes None."""
    if name == "transfers":
        rows = sorted(rows, key=lambda row: (row.end_s, row.kind, row.sender, row.receiver))
    return [tuple(None if value != value else value for value in row) for row in rows]


@WORLDS
@given(world=worlds())
def test_the_same_records_to_the_last_bit(simulate, world):
    at_once = simulate(**world)[1]
    with everything_by_events():
        by_events = simulate(**world)[1]
    for name in TABLES:
        assert in_order(name, getattr(at_once, name)) == in_order(name, getattr(by_events, name)), name


def test_such_rounds_are_computed_at_once_and_others_are_not(simulate, monkeypatch):
    """Two devices with unlimited power; then one of them has a battery; then uploads take turns."""
    blocks = {
        "rounds": 2,
        "topology": {"placement": {"name": "disc", "diameter_m": 300}},
        "protocol": {"name": "server_rounds"},
        "server": {"uplink": {"bandwidth_hz": 1e6}, "downlink": {"bandwidth_hz": 1e7}},
        "learner": {"name": "stub", "bits": 1e5, "download_bits": 1e6, "flops": 4e9},
    }
    found = []
    holds = ServerRounds._undisturbed
    monkeypatch.setattr(ServerRounds, "_undisturbed", lambda *words: found.append(holds(*words)) or found[-1])
    simulate(**blocks, devices={"count": 2})
    simulate(**blocks, devices={"count": 2, "overrides": [{"devices": [1], "battery": {"capacity_j": 1e9}}]})
    simulate(
        **blocks, devices={"count": 2}, radio={"channel": "rician", "rate": {"name": "shannon", "gap_db": 3}}
    )
    simulate(**blocks, devices={"count": 2}, radio={"rate": "mcs"})
    simulate(**blocks | {"server": {"uplink": {"access": "tdma"}}}, devices={"count": 2})
    assert found == [True, True, False, False, True, True, False, False, False, False]
