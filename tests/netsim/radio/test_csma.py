"""Contention against Bianchi's paper, closed forms, and a simulation of slots."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_access import send

from netsim.core.errors import ScenarioError
from netsim.world.radio.bianchi import Contention, attempt_probability, throughput
from netsim.world.radio.csma import CSMA

US = 1e-6
PAPER = Contention()
PAYLOAD_S = 8184 * US  # at 1 Mbit/s
T_SUCCESS_S, T_COLLISION_S = 8982 * US, 8713 * US
"""Of basic access in the paper: H + P + SIFS + δ + ACK + DIFS + δ and H + P + DIFS + δ."""
RTS_SUCCESS_S, RTS_COLLISION_S = 9568 * US, 417 * US


def normalized(stations, **options):
    """The paper's S: the part of the time in which the channel carries payload."""
    found = throughput([PAYLOAD_S] * stations, Contention(**options))
    return stations * found.rate_bps / 1e6


def formula_13(stations, tau, success_s, collision_s):
    """The paper's eq. 13 with eqs. 10 and 11."""
    some = 1 - (1 - tau) ** stations
    success = stations * tau * (1 - tau) ** (stations - 1) / some
    mean_s = (1 - some) * 50 * US + some * success * success_s + some * (1 - success) * collision_s
    return success * some * PAYLOAD_S / mean_s


@pytest.mark.parametrize("stations", [1, 2, 5, 10, 20, 50])
@pytest.mark.parametrize(("window", "stages"), [(32, 3), (32, 5), (128, 3)])
def test_the_paper_s_formulas(stations, window, stages):
    """Its figures' W and m. Equation 7 as printed, and 13 with the paper's times of successes and collisions."""
    tau = attempt_probability(stations, window, stages)
    p = 1 - (1 - tau) ** (stations - 1)
    if abs(p - 0.5) > 1e-6:
        above = 2 * (1 - 2 * p)
        below = (1 - 2 * p) * (window + 1) + p * window * (1 - (2 * p) ** stages)
        assert tau == pytest.approx(above / below, rel=1e-9)
    options = {"window": window, "stages": stages}
    assert normalized(stations, **options) == pytest.approx(
        formula_13(stations, tau, T_SUCCESS_S, T_COLLISION_S), rel=1e-12
    )
    assert normalized(stations, handshake=True, **options) == pytest.approx(
        formula_13(stations, tau, RTS_SUCCESS_S, RTS_COLLISION_S), rel=1e-12
    )


def test_without_doubling_the_attempt_probability_is_2_over_w_plus_1():
    """The paper's eq. 8: it does not depend on n."""
    for stations in (1, 7, 50):
        assert attempt_probability(stations, 32, 0) == pytest.approx(2 / 33, rel=1e-12)


def test_a_station_alone_counts_half_a_window_between_packets():
    assert normalized(1) == pytest.approx(8184 / (8982 + 50 * 31 / 2), rel=1e-12)


@pytest.mark.parametrize(("handshake", "k"), [(False, 9.334), (True, 2.042)])
def test_the_largest_throughput_of_many(handshake, k):
    """The paper's K = sqrt(T_c / 2σ) is 9.334 and 2.042; then S → P / (T_s + σK + T_c (K (e^{1/K} - 1) - 1))."""
    success_s = RTS_SUCCESS_S if handshake else T_SUCCESS_S
    collision_s = RTS_COLLISION_S if handshake else T_COLLISION_S
    assert math.sqrt(collision_s / (2 * 50 * US)) == pytest.approx(k, abs=5e-4)
    limit = PAYLOAD_S / (success_s + 50 * US * k + collision_s * (k * (math.exp(1 / k) - 1) - 1))
    best = max(normalized(200, window=w, stages=0, handshake=handshake) for w in range(100, 6000, 20))
    assert best == pytest.approx(limit, rel=3e-3)


def slots(stations, window, stages, packets, seed):
    """Simulate counters slot by slot; return the part of the time that carries payload."""
    draw = np.random.default_rng(seed)
    stage = np.zeros(stations, dtype=int)
    counter = draw.integers(0, window, size=stations)
    time_s, delivered = 0.0, 0
    while delivered < packets:
        idle = counter.min()
        time_s += idle * 50 * US
        counter -= idle
        sending = np.flatnonzero(counter == 0)
        counter[counter > 0] -= 1  # the busy period is a slot of the paper's chain, too
        alone = len(sending) == 1
        time_s += T_SUCCESS_S if alone else T_COLLISION_S
        delivered += alone
        stage[sending] = 0 if alone else np.minimum(stage[sending] + 1, stages)
        counter[sending] = draw.integers(0, window * 2 ** stage[sending])
    return delivered * PAYLOAD_S / time_s


@pytest.mark.parametrize("stations", [2, 10, 30])
def test_a_simulation_of_slots(stations):
    """8,000 packets; the paper finds its model exact to about a hundredth."""
    assert normalized(stations) == pytest.approx(slots(stations, 32, 3, 8000, stations), rel=0.012)


def csma(_, env):
    return CSMA(Contention(payload_bits=8184.0), env)


def test_transfers_share_what_contention_leaves(env, air):
    """1 MHz at SNR 1: 1 Mbit/s. One alone, then two stations for ever after; energy is that of the air it uses."""
    radio, (a, b, c), rows = air(csma, bandwidth_hz=1e6, tx_power_w=1e6)
    send(env, radio, a, c, 1e6)
    send(env, radio, b, c, 1e6, at_s=0.5)
    env.run(until=50)
    one, two = normalized(1), normalized(2) / 2
    left = 1 - 0.5 * one
    first_s = 0.5 + left / two
    second = 1 - left
    assert [row.end_s for row in rows] == pytest.approx([first_s, first_s + second / one], rel=1e-9)
    tau = attempt_probability(1, 32, 3)
    duty = tau * 8584 / ((1 - tau) * 50 + tau * 8982)  # header and payload in all
    shared = throughput([PAYLOAD_S] * 2, PAPER).duty[0]
    assert rows[0].airtime_s == pytest.approx(0.5 * duty + (first_s - 0.5) * shared, rel=1e-9)
    assert [row.energy_j for row in rows] == pytest.approx([1e6 * row.airtime_s for row in rows], rel=1e-9)


def test_messages_of_one_sender_are_one_station(env, air):
    radio, (a, b, c), rows = air(csma, bandwidth_hz=1e6, tx_power_w=1e6)
    for receiver in (b, c):
        send(env, radio, a, receiver, 1e6)
    env.run(until=50)
    assert [row.end_s for row in rows] == pytest.approx([2 / normalized(1)] * 2, rel=1e-9)


def test_the_slowest_sets_the_pace():
    """Heusse et al. 2003: stations win equally often, so a slow one takes throughput from all, and they stay equal."""
    equal, mixed = throughput([PAYLOAD_S] * 4, PAPER), throughput([PAYLOAD_S] * 3 + [10 * PAYLOAD_S], PAPER)
    assert mixed.rate_bps < 0.4 * equal.rate_bps
    assert mixed.duty[3] > 5 * mixed.duty[0]


def test_collisions_last_as_long_as_their_longest_packet():
    """Two stations, 1 and 2 s, by hand: E = (1-τ)² σ + τ(1-τ)(T1 + T2) + τ² T2."""
    plain = Contention(slot_s=1, sifs_s=0, difs_s=0, propagation_s=0, header_s=0, ack_s=0, window=4, stages=0)
    tau = 2 / 5
    mean_s = (1 - tau) ** 2 + tau * (1 - tau) * 3 + tau**2 * 2
    found = throughput([1.0, 2.0], plain)
    assert found.rate_bps == pytest.approx(tau * (1 - tau) * 8184 / mean_s)
    assert found.duty == pytest.approx([tau / mean_s, 2 * tau / mean_s])


def test_contention_that_nobody_wins_is_said(env, air):
    radio, devices, _ = air(lambda _, env: CSMA(Contention(window=2, stages=0), env), count=801)
    for sender in devices[1:]:
        send(env, radio, sender, devices[0], 1.0)
    with pytest.raises(ScenarioError, match="of 800 devices that contend none ever gets through"):
        env.run(until=1)
