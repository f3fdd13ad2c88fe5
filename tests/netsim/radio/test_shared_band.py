"""Uploads that share a band, computed together: the same numbers as with an event for each change of each of them."""

from __future__ import annotations

import math

import pytest
import simpy

from netsim.world.radio.access import UplinkBand
from netsim.world.radio.air import Air
from netsim.world.radio.shared_band import SharedTransfers

BLOCKS = {
    "rounds": 4,
    "protocol": {"name": "server_rounds"},
    "topology": {"placement": {"name": "disc", "diameter_m": 300}},
    "learner": {"name": "stub", "bits": 3e6, "download_bits": 1e6, "flops": 4e7},
    "server": {"uplink": {"bandwidth_hz": 1e6}, "downlink": {"bandwidth_hz": 1e7}},
}
ENDLESS = {"capacity_j": 1e12}


def worlds(simulate, **changes):
    """The transfers where nobody can die, and where everybody could; both with the same numbers otherwise."""
    for power in ({}, {"battery": ENDLESS}):
        speeds = [{"devices": [k], "processor": {"frequency_hz": 1e9 * (1 + k % 4)}} for k in range(9)]
        log = simulate(**{**BLOCKS, "devices": {"count": 9, **power, "overrides": speeds}, **changes})[1]
        log.transfers.sort(
            key=lambda row: (row.end_s, row.sender, row.receiver)
        )  # several may end in one moment
        yield log


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"protocol": {"name": "server_rounds", "deadline_s": 4.0}},
        {"protocol": {"name": "server_rounds", "participants": 6, "first": 3}},
        {"protocol": {"name": "asynchronous_server", "concurrency": 5, "buffer": 2}, "rounds": 9},
        {"radio": {"channel": "none"}},
    ],
)
def test_the_same_as_with_an_event_for_each_change(simulate, changes):
    together, one_by_one = worlds(simulate, **changes)
    assert len(together.transfers) == len(one_by_one.transfers) > 20
    for a, b in zip(together.transfers, one_by_one.transfers, strict=True):
        assert a._replace(energy_j=0) == b._replace(energy_j=0)
        assert a.energy_j == pytest.approx(b.energy_j, rel=1e-12)


def test_some_are_cut_off_in_these_worlds(simulate):
    together, _ = worlds(simulate, protocol={"name": "server_rounds", "deadline_s": 4.0})
    outcomes = {row.outcome for row in together.transfers if row.kind == "upload"}
    assert outcomes == {"delivered", "cut_off"}


def test_a_battery_among_unlimited_power_is_heard_by_the_others(simulate):
    """Device 0 has a battery and is simulated event by event; the others share the band with it all the same."""
    mixed = [{"devices": [0], "battery": ENDLESS}]
    _, log = simulate(**{**BLOCKS, "devices": {"count": 9, "overrides": mixed}})
    _, none = simulate(**{**BLOCKS, "devices": {"count": 9}})
    for a, b in zip(log.transfers, none.transfers, strict=True):
        assert a._replace(energy_j=0) == b._replace(energy_j=0)


def test_two_that_begin_together_share_and_the_longer_has_the_whole_band_then():
    """B = 1 Hz, snr so that log2(1 + snr n) = 1 alone and log2(3) of two: 3 and 6 bits."""
    env = simpy.Environment()
    band = UplinkBand(env)
    transfers = SharedTransfers(env, band, Air(1.0, 1.0))
    band.watchers.append(transfers.update)
    ends = {}

    def send(name, bits):
        with band.join():
            yield transfers.start(1.0, bits)
        ends[name] = env.now

    env.process(send("short", 3.0))
    env.process(send("long", 6.0))
    env.run()
    both = math.log2(3) / 2
    assert ends["short"] == pytest.approx(3 / both, rel=1e-12)
    assert ends["long"] == pytest.approx(3 / both + 3.0, rel=1e-12)
