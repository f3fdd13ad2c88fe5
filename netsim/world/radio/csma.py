"""Carrier sense multiple access: stations contend for one band."""

from __future__ import annotations

import simpy

from netsim.core.errors import ScenarioError
from netsim.world.radio.access import Grant
from netsim.world.radio.air import Air
from netsim.world.radio.bianchi import Contention, throughput
from netsim.world.radio.dealt import Dealing, DealtBand


class CSMABand(DealtBand):
    """A band for which senders contend; the transfers of one sender take turns, packet by packet."""

    FOLLOWS = "gains"

    def __init__(self, env: simpy.Environment, air: Air, contention: Contention) -> None:
        super().__init__(env, air)
        self._contention = contention

    def deal(self) -> None:
        """Give each transfer the part of its rate, and of the time, that contention leaves."""
        stations = []
        for seats in self.by_sender().values():
            if on_air := [seat for seat in seats if seat.on_air]:
                stations.append(on_air)
            for seat in seats:
                if not seat.on_air:
                    seat.give(
                        Grant(share=1.0, duty=0.0)
                    )  # it is silent, and looks again when its gain changes
        if not stations:
            return
        whole_bps = [
            [self.air.rate.rate_bps(self.air.bandwidth_hz, seat.snr) for seat in seats] for seats in stations
        ]
        bits = self._contention.payload_bits
        payload_s = [bits * sum(1 / rate_bps for rate_bps in own) / len(own) for own in whole_bps]
        rate_bps, duties = throughput(payload_s, self._contention)
        if not rate_bps:
            raise ScenarioError(
                f"radio.access: of {len(stations)} devices that contend none ever gets through; window or stages must "
                "be larger"
            )
        for seats, own, duty in zip(stations, whole_bps, duties, strict=True):
            for seat, seat_bps in zip(seats, own, strict=True):
                seat.give(Grant(share=rate_bps / len(seats) / seat_bps, duty=duty / len(seats)))


class CSMA(Dealing):
    """CSMA/CA in Bianchi's model: n senders of a cell share what contention leaves, as a mean over many packets.

    It is no simulation of packets: a transfer goes on at its mean rate and draws its mean power. All senders hear each
    other. A receiver's answers cost it its receiving power.
    """

    Options = Contention
    options: Contention

    def make(self) -> CSMABand:
        """Make the cell's band."""
        return CSMABand(self.env, self.air, self.options)
