"""Links on which nothing ever gets through: a run with them ends."""

import math

import pytest

from netsim.world.radio.fading import Rayleigh
from netsim.world.radio.path_loss import PathLoss

BLOCKS = {"name": "rayleigh", "coherence_time_s": 0.05}


class Wall(PathLoss):
    """Nothing passes x = 50 m."""

    def loss_db(self, link, carrier_hz):
        (ax, _), (bx, _) = link.positions_m
        return math.inf if (ax < 50) != (bx < 50) else 60.0


WALL = {"path_loss": f"{__name__}:Wall"}


def world(name, radio, **blocks):
    server = name != "decentralized_rounds"
    learner = {"name": "stub", "flops": 1e8, "bits": 1e4, "download_bits": 1e4}
    return {
        "rounds": 2,
        "devices": {"count": 3},
        "topology": {
            "placement": {"name": "coordinates", "positions_m": [[10, 0], [20, 0], [90, 0]]},
            "links": {"name": "edges", "edges": [[0, 1], [1, 2]]},
        },
        "radio": radio,
        "protocol": {"name": name},
        "server": {"position_m": [0, 0], "uplink": WALL, "downlink": WALL},
        "learner": learner if server else {"name": "stub", "flops": 1e8, "bits": 1e4},
        **blocks,
    }


def rayleigh(**options):
    return Rayleigh(Rayleigh.Options(**options), 0)


@pytest.mark.parametrize("normalisation", ["mean_amplitude", "unit_power"])
def test_a_rare_power_is_exceeded_in_one_of_a_million_draws(normalisation):
    """An exponential gain exceeds r times its mean with probability exp(-r)."""
    channel = rayleigh(normalisation=normalisation)
    assert math.exp(-channel.rare_power / channel.mean_power) == pytest.approx(1e-6)


@pytest.mark.parametrize("name", ["decentralized_rounds", "server_rounds", "asynchronous_server"])
@pytest.mark.parametrize("channel", ["none", "rayleigh", BLOCKS])
def test_what_is_behind_a_wall_is_in_outage_whatever_the_fading(simulate, name, channel):
    simulation, log = simulate(**world(name, {**WALL, "channel": channel}))
    far = [row for row in log.transfers if {row.sender, row.receiver} in ({1, 2}, {2, 3})]
    assert far and {(row.outcome, row.sent_bits, row.energy_j) for row in far} == {("outage", 0, 0)}
    near = [row for row in log.transfers if row not in far]
    assert near and {row.outcome for row in near} <= {"delivered", "cut_off"}  # cut off as the run ends
    assert {row.sent_bits for row in near if row.outcome == "delivered"} == {1e4}
    assert simulation.network.env.now < 10


@pytest.mark.parametrize("channel", ["none", BLOCKS])
@pytest.mark.parametrize("mode", ["broadcast", "unicast"])
@pytest.mark.parametrize("name", ["server_rounds", "asynchronous_server"])
def test_a_server_that_nobody_ever_hears_gives_up(simulate, name, mode, channel):
    """A threshold 20 dB above what the nearest link has."""
    blocks = world(name, {"channel": channel, "outage_snr_db": 100.0})
    blocks["server"]["downlink"] = {"mode": mode}
    _, log = simulate(**blocks)
    assert not any(row.arrived for row in log.server)
    assert not any(row.outcome == "finished" for row in log.rounds)


@pytest.mark.parametrize("channel", ["none", BLOCKS])
def test_a_buffer_that_can_get_no_fuller_is_used(simulate, channel):
    """Device 2 is behind the wall, so that a buffer of three gets two uploads."""
    blocks = world("asynchronous_server", {**WALL, "channel": channel})
    blocks["protocol"]["buffer"] = 3
    _, log = simulate(**blocks)
    assert [row.arrived for row in log.server] == [2, 2]


def test_a_link_that_is_on_the_air_now_and_then_is_waited_for(simulate):
    """Threshold 7 times the mean SNR: one block of exp(7), 1,097, on average; 0.05 s each."""
    ratio_db = 10 * math.log10(0.1 * 1e-6 * (4 / math.pi) / (5e5 * 1e-17))
    radio = {**WALL, "channel": BLOCKS, "outage_snr_db": ratio_db + 10 * math.log10(7)}
    blocks = world("decentralized_rounds", radio, rounds=1, devices={"count": 2})
    blocks["topology"] = {
        "placement": {"name": "coordinates", "positions_m": [[10, 0], [20, 0]]},
        "links": {"name": "edges", "edges": [[0, 1]]},
    }
    _, log = simulate(**blocks)
    assert {row.outcome for row in log.transfers} == {"delivered"}
    assert max(row.end_s for row in log.transfers) > 1.0
