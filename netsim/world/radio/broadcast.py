"""Broadcast: one transmission to many receivers."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import simpy

from netsim.events import TransferBatch, TransferRow
from netsim.world.devices.device import Device, first_of
from netsim.world.radio.radio import Radio
from netsim.world.radio.units import power_to_db


@dataclass
class _Reception:
    """The state of one receiver of a broadcast."""

    number: int
    device: Device
    listening: ExitStack
    sent_bits: float = 0.0
    airtime_s: float = 0.0
    energy_j: float = 0.0
    gain: float = math.nan
    snr: float = math.nan
    snr_now: float = math.nan
    lost_bits: float = 0.0
    outcome: str = ""
    end_s: float = field(default=math.nan)
    lost_s: float = math.inf


def broadcast(
    radio: Radio,
    sender: Device,
    receivers: Sequence[Device],
    size_bits: float,
    round: int,
    kind: str,
    stop: simpy.Event | None = None,
) -> Generator[simpy.Event, Any, dict[int, str]]:
    """Send ``size_bits`` to all ``receivers`` in one transmission (a SimPy process); return outcomes by number.

    The rate is that of the worst link, so that every receiver can decode it; it follows the gains when they change. A
    block that any receiver misses is sent again, to all that still lack something.
    The sender draws its power once. A receiver that is in outage for the round is left out; one that dies is left out
    from then on. In the records each receiver has a row; the energy of a moment is divided equally among the
    receivers at that moment.
    """
    env, air = radio.env, radio.air
    if size_bits <= 0 or not receivers:
        return {device.number: "delivered" for device in receivers}
    band = radio.access.band(sender.number, -1)
    parties = [_Reception(number, device, ExitStack()) for number, device in enumerate(receivers)]
    listening = list(parties)
    blocks = air.rate.blocks(size_bits, len(parties), kind, sender.number, -1, round)
    for party in parties:
        party.listening.enter_context(party.device.listening())

    def leave(party: _Reception, outcome: str) -> None:
        party.outcome, party.end_s = outcome, env.now
        if blocks is not None:
            party.lost_bits = blocks.lost_bits(party.number)
        party.listening.close()
        listening.remove(party)

    start_s, left_bits = env.now, size_bits
    draw = sender.meter.start("sending", 0.0)
    duration_s: float | None = None
    with band.join():
        while listening and left_bits > 0:
            rate_bps, until_s = math.inf, math.inf
            for party in list(listening):
                if not party.device.alive:
                    leave(party, "receiver_died")
                    continue
                ratio, gain, link_until_s = radio.look(sender, party.device.number, round)
                ratio *= band.density
                party.snr_now = ratio
                if math.isnan(party.gain):
                    party.gain, party.snr = gain, ratio
                on_air = ratio > 0 and ratio >= air.outage_snr
                party.lost_s = math.inf if on_air else min(party.lost_s, env.now)
                if (
                    not on_air
                    and radio.gives_up(sender, party.device.number, link_until_s, band.density)
                    and radio.loses_patience(party.lost_s)
                ):
                    leave(party, "outage")
                    continue
                rate_bps = min(
                    rate_bps, air.rate.rate_bps(air.bandwidth_hz * band.share, ratio) if on_air else 0.0
                )
                until_s = min(until_s, radio.until_s(link_until_s))
            if not listening:
                break
            since_s, hold_s = env.now, until_s - env.now
            need_s = left_bits / rate_bps if rate_bps > 0 else math.inf
            piece_s = min(need_s, hold_s)
            power_w = sender.tx_power_w * band.power if rate_bps > 0 else 0.0
            sender.meter.change(draw, power_w, piece_s if need_s <= hold_s else math.inf)
            piece = env.timeout(piece_s)
            deaths = [event for party in listening for event in party.device.endings(None)]
            changed = [band.changed] if band.shared else []
            yield first_of(piece, *sender.endings(stop), *deaths, *changed)
            duration_s = piece_s if piece.processed else None
            spent_s = piece_s if piece.processed else env.now - since_s
            through = piece.processed and need_s <= hold_s
            for party in listening:
                party.airtime_s += spent_s if rate_bps > 0 else 0.0
                party.energy_j += power_w * spent_s / len(listening)
                party.sent_bits = (
                    size_bits if through else min(party.sent_bits + rate_bps * spent_s, size_bits)
                )
            left_bits = 0.0 if through else max(left_bits - rate_bps * spent_s, 0.0)
            if blocks is not None:
                worst = min(party.snr_now for party in listening)
                loss = {party.number: air.rate.loss(party.snr_now, worst) for party in listening}
                left_bits = blocks.sent(left_bits, loss, {party.number: party.snr_now for party in listening})
                for party in list(listening):
                    party.sent_bits = blocks.arrived_bits(party.number)
                    if party.sent_bits == size_bits:
                        leave(party, "delivered")
                if listening and blocks.repeats and air.rate.answer_s:
                    sender.meter.change(draw, 0.0, air.rate.answer_s)
                    yield first_of(env.timeout(air.rate.answer_s), *sender.endings(stop))
                    duration_s = None
            if left_bits > 0 and (not sender.alive or (stop is not None and stop.processed)):
                for party in list(listening):
                    leave(party, "cut_off" if sender.alive else "sender_died")
    sender.meter.stop(draw, duration_s)
    for party in list(listening):
        leave(party, "delivered" if blocks is None else "lost")
    for party in parties:
        radio.record(
            TransferBatch.of(
                TransferRow(
                    round=round,
                    kind=kind,
                    sender=sender.number,
                    receiver=party.device.number,
                    size_bits=size_bits,
                    sent_bits=party.sent_bits,
                    start_s=start_s,
                    end_s=party.end_s,
                    airtime_s=party.airtime_s,
                    energy_j=party.energy_j,
                    gain=party.gain,
                    snr_db=power_to_db(party.snr) if not math.isnan(party.snr) else math.nan,
                    outcome=party.outcome,
                    lost_bits=party.lost_bits,
                )
            )
        )
    return {party.device.number: party.outcome for party in parties}
