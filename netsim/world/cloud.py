"""The cloud above several edge servers, and the backhaul that leads to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import simpy
from pydantic import Field

from netsim.core.options import Options
from netsim.events import TransferBatch, TransferRow
from netsim.world.devices.device import Device
from netsim.world.devices.processor import Processor


class BackhaulOptions(Options):
    """The backhaul: a link of its own between each edge server and the cloud, in both directions."""

    rate_bps: float = Field(
        1e9, gt=0, allow_inf_nan=True, description="rate of a link [bit/s]; .inf: sending takes no time"
    )
    latency_s: float = Field(0.0, ge=0, description="time from the last bit sent to its arrival [s]")
    power_w: float = Field(
        0.0, ge=0, description="power of the sender while it sends [W]; a bit costs power_w / rate_bps joules"
    )


class CloudProcessor(Processor):
    """The cloud's processor."""

    frequency_hz: float = Field(3e9, gt=0, description="clock frequency f [Hz]")
    flops_per_cycle: float = Field(32.0, gt=0, description="FLOPs per cycle e")


@dataclass(frozen=True)
class Cloud:
    """A server above the edge servers.

    Attributes:
        node: Processor and meter; its number follows those of the edge servers.
        backhaul: How messages get to it and back.
        on_transfers: Is told of transfers.
    """

    node: Device
    backhaul: BackhaulOptions
    on_transfers: Callable[[TransferBatch], None]

    def send(
        self, sender: Device, receiver: Device, size_bits: float, round: int
    ) -> Generator[simpy.Event, Any, None]:
        """Send ``size_bits`` over the backhaul (a SimPy process); it takes size/rate + latency, and always arrives."""
        env, options = self.node.env, self.backhaul
        start_s, sending_s = env.now, size_bits / options.rate_bps
        draw = sender.meter.start("sending", options.power_w, sending_s)
        yield env.timeout(sending_s)
        energy_j = sender.meter.stop(draw, sending_s)
        yield env.timeout(options.latency_s)
        if size_bits > 0:
            row = TransferRow(
                round=round,
                kind="backhaul",
                sender=sender.number,
                receiver=receiver.number,
                size_bits=size_bits,
                sent_bits=size_bits,
                start_s=start_s,
                end_s=env.now,
                airtime_s=sending_s,
                energy_j=energy_j,
                gain=math.nan,
                snr_db=math.nan,
                outcome="delivered",
            )
            self.on_transfers(TransferBatch.of(row))
