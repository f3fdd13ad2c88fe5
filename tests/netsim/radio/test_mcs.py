"""Modulation and coding schemes: which is chosen, what it loses, what repetitions cost, and that bits add up."""

import math

import numpy as np
import pytest
from scipy import stats

from netsim.core.errors import ScenarioError
from netsim.core.registry import load
from netsim.world.radio.blocks import Blocks
from netsim.world.radio.mcs import LTE, MCS
from netsim.world.radio.rate import Rate, Shannon

TABLE = [{"efficiency_bps_per_hz": 1.0, "snr_db": 0.0}, {"efficiency_bps_per_hz": 3.0, "snr_db": 10.0}]


def mcs(seed=0, **options):
    return MCS(MCS.Options(**options), seed)


def ratio(value_db):
    return 10 ** (value_db / 10)


def test_shannon_with_gap_and_cap_by_hand():
    """SNR 15 and 3 over a gap of 3 (4.77 dB): log2(6) and 1; at most 2 bit/s/Hz."""
    gap_db = 10 * math.log10(3)
    gap, cap = (Shannon(Shannon.Options(gap_db=gap_db, cap_bps_per_hz=one), 0) for one in (None, 2.0))
    assert gap.rates_bps(5e5, [15.0, 3.0]) == pytest.approx([5e5 * math.log2(6), 5e5])
    assert cap.rates_bps(5e5, [15.0, 3.0]) == pytest.approx([1e6, 5e5])
    for rate in (gap, cap, mcs()):
        ratios = np.geomspace(1e-3, 1e5, 200).tolist()
        rates = rate.rates_bps(3e5, ratios)
        assert rates.tolist() == [rate.rate_bps(3e5, one) for one in ratios]
        assert (np.diff(rates) >= 0).all()


def test_a_scheme_is_chosen_from_the_snr_on_at_which_it_loses_as_much_as_allowed():
    """Default: a tenth, at the table's own SNR. A hundredth needs σ (2.326 - 1.282) dB more."""
    for target, further_db in ((0.1, 0.0), (0.01, 0.25 * (stats.norm.isf(0.01) - stats.norm.isf(0.1)))):
        rate = mcs(table=TABLE, target_bler=target)
        for efficiency, below, snr_db in ((1.0, 0.0, further_db), (3.0, 1.0, 10 + further_db)):
            assert rate.rate_bps(2.0, ratio(snr_db + 1e-9)) == 2 * efficiency
            assert rate.rate_bps(2.0, ratio(snr_db - 1e-9)) == 2 * below
            assert rate.loss(ratio(snr_db + 1e-9)) == pytest.approx(target, rel=1e-6)
        assert rate.least_snr == pytest.approx(ratio(further_db))
        assert rate.loss(ratio(further_db - 1)) == 1.0


def test_the_standard_table_is_as_printed_and_some_decibels_from_capacity():
    """TS 36.213 Table 7.2.3-1 has code rates in 1024ths of 2, 4 and 6 bits."""
    rates = [78, 120, 193, 308, 449, 602, 378, 490, 616, 466, 567, 666, 772, 873, 948]
    bits = [2] * 6 + [4] * 3 + [6] * 6
    printed = [rate * bit / 1024 for rate, bit in zip(rates, bits, strict=True)]
    assert [row[0] for row in LTE] == pytest.approx(printed, abs=6e-5)
    gaps_db = [snr_db - 10 * math.log10(2**efficiency - 1) for efficiency, snr_db, _ in LTE]
    assert min(gaps_db) > 1.7 and max(gaps_db) < 3.4


def test_a_faster_scheme_that_is_good_enough_earlier_is_taken():
    """The slow one falls so slowly that a hundredth is lost only at 23 dB."""
    slow = {"efficiency_bps_per_hz": 1.0, "snr_db": 0.0, "spread_db": 22.0}
    rate = mcs(table=[slow, TABLE[1]], target_bler=0.01)
    assert rate.rate_bps(1.0, ratio(11.0)) == 3.0 and rate.rate_bps(1.0, ratio(10.0)) == 0.0


class Worst:
    """Draws that lose everything."""

    def random(self, shape):
        return np.zeros(shape)


def test_a_block_is_sent_so_often_and_then_lost():
    """Ten blocks of 7 bits, sent three times."""
    blocks, left, sent = Blocks(70.0, 7.5, 2, 1, Worst()), 70.0, 0.0
    while left:
        sent += left
        left = blocks.sent(0.0, {0: 0.5})
    assert sent == blocks.lost_bits() == 210.0
    assert blocks.arrived_bits() == 0.0


def test_parts_of_blocks_count_when_they_are_whole():
    """100 bits in blocks of 10: 25 bits are two blocks, 95 nine, whatever the pieces."""
    blocks = Blocks(100.0, 10.0, 0, 1, np.random.default_rng(0))
    arrived = []
    for left in (75.0, 71.0, 70.0, 5.0, 0.0):
        assert blocks.sent(left, {0: 0.0}) == left
        arrived.append(blocks.arrived_bits())
    assert arrived == [20.0, 20.0, 30.0, 90.0, 100.0] and blocks.lost_bits() == 0.0


def played(size_bits, loss, repeats, receivers=1, seed=0):
    blocks = Blocks(size_bits, 1.0, repeats, receivers, np.random.default_rng(seed))
    left = size_bits
    while left:
        left = blocks.sent(0.0, dict.fromkeys(range(receivers), loss))
    return blocks


def test_transmissions_of_a_message_are_as_many_as_geometric_blocks_need():
    """Without end: n + a negative binomial number. Mean n / (1 - p), variance n p / (1 - p)²."""
    n, p, runs = 40, 0.3, 4000
    extra = np.array([played(float(n), p, 1000, seed=k).lost_bits() for k in range(runs)])
    law = stats.nbinom(n, 1 - p)
    assert extra.mean() == pytest.approx(law.mean(), abs=4 * law.std() / math.sqrt(runs))
    assert extra.std() == pytest.approx(law.std(), rel=0.05)
    edges = np.arange(5, 30)
    found = np.searchsorted(np.sort(extra), edges, side="right") / runs
    assert np.abs(found - law.cdf(edges)).max() < 1.95 / math.sqrt(runs)


def test_a_message_is_lost_as_often_as_one_of_its_blocks_is():
    """1 - (1 - p^(r + 1))^n."""
    n, p, repeats, runs = 50, 0.3, 3, 3000
    lost = np.mean([played(float(n), p, repeats, seed=k).arrived_bits() < n for k in range(runs)])
    expected = 1 - (1 - p ** (repeats + 1)) ** n
    assert lost == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / runs))


def test_a_broadcast_repeats_what_anybody_misses():
    """A block is sent until all five have it: the largest of five geometric numbers, mean Σ 1 - (1 - p^k)^5."""
    n, p = 20_000, 0.3
    blocks = played(float(n), p, 1000, receivers=5)
    expected = sum(1 - (1 - p**k) ** 5 for k in range(100))
    assert (blocks.arrived_bits() + blocks.lost_bits()) / n == pytest.approx(expected, rel=0.02)
    assert {blocks.arrived_bits(k) for k in range(5)} == {n}


PAIR = {
    "rounds": 3,
    "topology": {"placement": {"name": "coordinates", "positions_m": [[0, 0], [30, 0], [0, 30], [30, 30]]}},
    "devices": {"count": 4},
    "learner": {"name": "stub", "flops": 1e8, "bits": 2e5},
}
STAR = {
    "protocol": {"name": "server_rounds"},
    "learner": {"name": "stub", "flops": 1e8, "bits": 2e5, "download_bits": 1e5},
}
WORLDS = {
    "peers": {},
    "peers, shared": {"radio": {"access": "shared"}},
    "uploads that share, broadcast": STAR,
    "equal parts, unicast": {
        **STAR,
        "server": {"uplink": {"division": "equal"}, "downlink": {"mode": "unicast"}},
    },
}


def world(name, snr_db, **rate):
    """All links at one SNR in the band that a transfer has when it begins."""
    blocks = {**PAIR, **WORLDS[name]}
    loss_db = -10 * math.log10(ratio(snr_db + 1e-6) * 5e5 * 1e-17 / 0.1)
    flat = {"name": "log_distance", "exponent": 1e-12, "reference_loss_db": loss_db}
    table = [{"efficiency_bps_per_hz": 2.0, "snr_db": 0.0}]
    radio = {"channel": "none", "path_loss": flat, "rate": {"name": "mcs", "table": table, **rate}}
    server = {"bandwidth_hz": 5e5, "path_loss": flat}
    return {
        **blocks,
        "radio": {**radio, **blocks.get("radio", {})},
        "server": {
            "tx_power_w": 0.1,
            **{side: {**server, **blocks.get("server", {}).get(side, {})} for side in ("uplink", "downlink")},
        },
    }


@pytest.mark.parametrize("name", WORLDS)
def test_bits_on_the_air_are_those_that_arrive_and_those_that_are_lost(simulate, name):
    """At the threshold a tenth is lost; B log-free: 1 Mbit/s for the whole band, in blocks of 1,000 bits."""
    _, log = simulate(**world(name, 0.0, block_bits=1000.0, retransmissions=1))
    assert {row.outcome for row in log.transfers} <= {"delivered", "lost"}
    assert sum(row.lost_bits for row in log.transfers) > 0
    for row in log.transfers:
        assert (row.sent_bits + row.lost_bits) % 1000 == 0
        assert row.sent_bits + row.lost_bits <= 2 * row.size_bits
        if name == "peers":  # each has the whole band
            assert row.airtime_s * 1e6 == pytest.approx(row.sent_bits + row.lost_bits, rel=1e-9)
            assert row.energy_j == pytest.approx(0.1 * row.airtime_s, rel=1e-9)
    peers = [row for row in log.transfers if row.kind in ("model", "download")]
    tenth = np.mean([row.lost_bits / (row.sent_bits + row.lost_bits) for row in peers])
    if name.startswith("peers"):
        sent = sum(row.sent_bits + row.lost_bits for row in peers) / 1000
        assert tenth == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / sent))


def test_a_lost_message_is_not_delivered(simulate):
    """No repetitions, 200 blocks of which a tenth is lost: nothing arrives whole, and nobody has heard anything."""
    _, log = simulate(**world("peers", 0.0, block_bits=1000.0, retransmissions=0))
    assert {row.outcome for row in log.transfers} == {"lost"}
    assert all(0 < row.sent_bits < row.size_bits == row.sent_bits + row.lost_bits for row in log.transfers)
    assert {(row.sent, row.received) for row in log.rounds} == {(0, 0)}


def test_below_the_first_scheme_a_link_is_in_outage_and_far_above_nothing_is_lost(simulate):
    assert {row.outcome for row in simulate(**world("peers", -0.1))[1].transfers} == {"outage"}
    good = simulate(**world("peers", 3.0))[1].transfers
    assert {(row.outcome, row.lost_bits) for row in good} == {("delivered", 0.0)}
    assert [row.airtime_s for row in good] == pytest.approx([0.2] * len(good))


def test_a_device_more_changes_nobodys_losses(simulate):
    def losses(*more):
        blocks = world("peers", 0.0)
        places = [*PAIR["topology"]["placement"]["positions_m"], *more]
        blocks["topology"] = {"placement": {"name": "coordinates", "positions_m": places}}
        _, log = simulate(**{**blocks, "devices": {"count": len(places)}})
        return {(row.round, row.sender, row.receiver): row.lost_bits for row in log.transfers}

    few, more = losses(), losses([15, 15])
    assert len(set(few.values())) > 3 and few.items() < more.items()


def test_a_transfer_over_changing_gains_adds_up(simulate):
    """Schemes, error rates and outages change from block to block of fading; what arrives and what is lost is sent."""
    blocks = world("peers", 3.0, block_bits=1000.0)
    blocks["radio"] |= {
        "channel": {"name": "jakes", "coherence_time_s": 0.01},
        "rate": {"name": "mcs", "block_bits": 1000.0},
    }
    _, log = simulate(**blocks)
    assert len({row.airtime_s for row in log.transfers}) > 5 and any(row.lost_bits for row in log.transfers)
    for row in log.transfers:
        assert row.outcome in ("delivered", "lost")
        assert (row.sent_bits + row.lost_bits) % 1000 == 0


def test_repeated_blocks_count_in_the_energy_that_a_device_expects(simulate):
    """At the threshold each bit is sent 1/0.9 times on average."""
    simulation, _ = simulate(**world("peers", 1e-9))
    device, radio = simulation.network.devices[0], simulation.network.radio
    assert radio.joules_per_bit(device, 1) == pytest.approx(0.1 / (1e6 * 0.9), rel=1e-6)


def test_antennas_and_receivers_are_part_of_the_link_budget(simulate):
    """Two antennas of 3 dBi and a figure of 5 dB: 1 dB more SNR between devices; a server of 10 dBi and 2 dB."""
    base = world("uploads that share, broadcast", 20.0)
    base["radio"].pop("rate")
    changed = {
        **base,
        "devices": {"count": 4, "antenna_gain_dbi": 3.0, "noise_figure_db": 5.0},
        "server": {**base["server"], "antenna_gain_dbi": 10.0, "noise_figure_db": 2.0},
    }
    before, after = (simulate(**blocks)[1].transfers for blocks in (base, changed))
    more = {kind: 0.0 for kind in ("download", "upload")}
    for old, new in zip(before, after, strict=True):
        if old.kind == "download":
            more["download"] = new.snr_db - old.snr_db
    uploads = [[row.snr_db for row in rows if row.kind == "upload"] for rows in (before, after)]
    assert more["download"] == pytest.approx(13 - 5)
    assert np.sort(uploads[1]) - np.sort(uploads[0]) == pytest.approx(13 - 2)
    peers = world("peers", 20.0)
    peers["radio"].pop("rate")
    _, log = simulate(**{**peers, "devices": {"count": 4, "antenna_gain_dbi": 3.0, "noise_figure_db": 5.0}})
    assert {round(row.snr_db, 5) for row in log.transfers} == {21.0}


class Never(Rate):
    """Gives no rate, whatever the SNR."""

    def rate_bps(self, bandwidth_hz, snr):
        return 0.0


class Half(Rate):
    """Half of one bit a second and hertz, from 10 dB on."""

    least_snr = 10.0

    def rate_bps(self, bandwidth_hz, snr):
        return bandwidth_hz / 2 if snr >= 10 else 0.0


def test_a_rate_of_ones_own_is_used_and_one_that_is_never_positive_is_named(simulate):
    blocks = world("peers", 11.0)
    blocks["radio"]["rate"] = {"name": f"{__name__}:Half"}
    assert {row.airtime_s for row in simulate(**blocks)[1].transfers} == {2e5 / 2.5e5}
    blocks["radio"]["rate"] = {"name": f"{__name__}:Never"}
    with pytest.raises(
        ScenarioError, match=r"radio.rate: '.*:Never' gives 0.0 bit/s in 1 Hz at an SNR of -60.0 dB"
    ):
        simulate(**blocks)


def test_shannon_is_the_default():
    assert load("rates", "shannon") is Shannon


def test_what_is_combined_is_missing_with_the_error_rate_of_the_sum():
    """Chase combining: after k times at SNR s a block is missing with Q((k s [dB] - threshold) / spread + Q⁻¹(0.1))."""
    rate = mcs(
        table=[{"efficiency_bps_per_hz": 1.0, "snr_db": 10.0, "spread_db": 3.0}],
        target_bler=0.99,
        block_bits=40,
        retransmissions=3,
        combining="chase",
    )
    snr, count = ratio(5.0), 50_000
    blocks = rate.blocks(40.0 * count, 1, "model", 0, 1, 1)
    left, missing = 40.0 * count, []
    while left:
        left = blocks.sent(0.0, {0: rate.loss(snr)}, {0: snr})
        missing.append(count - blocks.arrived_bits() / 40)
    assert len(missing) == 4
    for k, number in enumerate(missing, start=1):
        summed_db = 5.0 + 10 * math.log10(k)
        expected = stats.norm.sf(stats.norm.isf(0.1) + (summed_db - 10.0) / 3.0)
        assert stats.binomtest(round(number), count, expected).pvalue > 1e-3, (k, number / count, expected)
    alone = mcs(table=[TABLE[0]], retransmissions=1, block_bits=40)
    assert alone.options.combining == "none" and alone.answer_s == 0


def test_a_sender_waits_in_silence_for_what_it_must_send_again(simulate):
    """Blocks of 1 kbit at 1 Mbit/s; each time that blocks are missing costs 0.25 s more, and no joule."""
    blocks = world("peers", 20.0)
    blocks["radio"]["rate"] = {
        "name": "mcs",
        "table": [{"efficiency_bps_per_hz": 1.0, "snr_db": 20.0}],
        "block_bits": 1000,
        "target_bler": 0.2,
        "retransmissions": 50,
    }
    at_once = simulate(**blocks)[1].transfers
    blocks["radio"]["rate"]["answer_s"] = 0.25
    waiting = simulate(**blocks)[1].transfers
    key = lambda row: (row.sender, row.receiver, row.round)  # noqa: E731
    waits = []
    for a, b in zip(sorted(at_once, key=key), sorted(waiting, key=key), strict=True):
        assert (a.lost_bits, a.sent_bits) == (b.lost_bits, b.sent_bits)
        assert (b.airtime_s, b.energy_j) == pytest.approx((a.airtime_s, a.energy_j))
        assert b.energy_j == pytest.approx(0.1 * b.airtime_s)
        waits.append(((b.end_s - b.start_s) - (a.end_s - a.start_s)) / 0.25)
    assert waits == pytest.approx([round(one) for one in waits], abs=1e-6) and max(waits) >= 1


def test_antennas_of_a_class_are_part_of_its_links(simulate):
    """Devices 0 and 1 have 3 dBi, 2 has -1, 3 the others' 1 dBi: both ends add up, as arrays and by events."""
    own = {"classes": {"mast": {"devices": [0, 1], "antenna_gain_dbi": 3.0}}}
    own["overrides"] = [{"devices": [2], "antenna_gain_dbi": -1.0}]
    gain_dbi = [3.0, 3.0, -1.0, 1.0]
    for radio in ({}, {"rate": "mcs"}):
        peers = world("peers", 20.0)
        peers["radio"] = {**peers["radio"], "rate": "shannon", **radio}
        _, log = simulate(**{**peers, "devices": {"count": 4, "antenna_gain_dbi": 1.0, **own}})
        assert len(log.transfers) >= 12
        for row in log.transfers:
            expected = 20.0 + gain_dbi[row.sender] + gain_dbi[row.receiver]
            assert row.snr_db == pytest.approx(expected, abs=1e-6)
