"""Transfers over links whose path loss changes as nodes move, computed without events.

The operations are those of :meth:`netsim.world.radio.radio.Radio.send`, in the same order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsim.core.arrays import Floats, Truths, Whole
from netsim.world.radio.radio import Radio
from netsim.world.radio.rate import snr
from netsim.world.radio.units import powers_to_db


class Flights(NamedTuple):
    """Transfers, each over its own link.

    Attributes:
        delivered: Whether all bits get through.
        sent_bits: Bits that do [bit].
        airtime_s: Time on the air [s].
        end_s: End [s].
        gain: Amplitude gain at the start.
        snr_db: Signal-to-noise ratio at the start [dB].
    """

    delivered: Truths
    sent_bits: Floats
    airtime_s: Floats
    end_s: Floats
    gain: Floats
    snr_db: Floats


def fly(
    radio: Radio,
    ends: Whole,
    tx_power_w: Floats,
    faded: Floats,
    size_bits: Floats,
    start_s: Floats,
) -> Flights:
    """Send messages over links with bands of their own, from each update of the positions to the next.

    Args:
        radio: A radio whose nodes move, whose fading holds for the round and whose rate loses nothing.
        ends: Ends of each link, the lower number first [transfers, 2].
        tx_power_w: Power of each sender [W].
        faded: Power gain of each link, relative to path loss.
        size_bits: Size of each message [bit].
        start_s: Start of each transfer [s].
    """
    assert radio.moving is not None
    air, motion = radio.air, radio.moving.motion
    count, now_s, left_bits = len(ends), start_s.copy(), size_bits.copy()
    airtime_s, lost_s = np.zeros(count), np.full(count, np.inf)
    first_gain, first_snr = np.full((2, count), np.nan)
    flying = np.arange(count)
    while len(flying):
        updates = motion.updates(now_s[flying])
        update = int(updates.min())
        some = flying[updates == update]
        gain = np.sqrt(radio.moving.powers(ends[some], update) * faded[some])
        ratio = snr(tx_power_w[some], gain, air.bandwidth_hz, air.noise_w_per_hz)
        new = np.isnan(first_gain[some])
        first_gain[some[new]], first_snr[some[new]] = gain[new], ratio[new]
        on_air = (ratio > 0) & (ratio >= air.outage_snr)
        lost_s[some] = np.where(on_air, np.inf, np.minimum(lost_s[some], now_s[some]))
        gives_up = ~on_air & (now_s[some] - lost_s[some] >= motion.patience_s)
        rate_bps = np.where(on_air, air.rate.rates_bps(air.bandwidth_hz, ratio.tolist()), 0.0)
        hold_s = (update + 1) * motion.every_s - now_s[some]
        need_s = np.divide(left_bits[some], rate_bps, out=np.full(len(some), np.inf), where=on_air)
        through, piece_s = need_s <= hold_s, np.where(gives_up, 0.0, np.minimum(need_s, hold_s))
        airtime_s[some] += np.where(on_air, piece_s, 0.0)
        now_s[some] += piece_s
        left_bits[some] = np.where(through, 0.0, np.maximum(left_bits[some] - rate_bps * piece_s, 0.0))
        ended = np.zeros(count, dtype=bool)
        ended[some] = gives_up | (left_bits[some] == 0)
        flying = flying[~ended[flying]]
    delivered = left_bits == 0
    return Flights(
        delivered, size_bits - left_bits, airtime_s, now_s, first_gain, powers_to_db(first_snr.tolist())
    )
