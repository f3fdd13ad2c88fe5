"""Transfers between an edge server and its devices that nothing can disturb: computed without events.

The operations are those of :func:`netsim.world.radio.broadcast.broadcast` and
:meth:`netsim.world.radio.radio.Radio.send`, in the same order, so the numbers agree to the last bit.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from netsim.events import TransferBatch
from netsim.world.devices.device import Device
from netsim.world.devices.unlimited import UnlimitedMeter
from netsim.world.edge_server import EdgeServer
from netsim.world.radio.access import Band, Uplink
from netsim.world.radio.air import Air
from netsim.world.radio.sharing import Sharing
from netsim.world.radio.units import powers_to_db


@dataclass(eq=False, slots=True)
class Upload:
    """A transfer from a device to the server.

    Attributes:
        sender: The device.
        meter: Its power meter.
        size_bits: Size [bit].
        snr: Signal-to-noise ratio with all power spread over the whole band.
        gain: Amplitude gain of its link.
        following: The upload that the device begins when this one ends; None for none.
        begin_s: Time at which it begins [s]; that of a following one is found.
        density: Power density when it begins, relative to all power over the whole band.
        end_s: Time at which it ends [s].
        airtime_s: Time on the air [s].
        duration_s: Time for which it draws power [s]: the same, but for rounding.
    """

    sender: Device
    meter: UnlimitedMeter
    size_bits: float
    snr: float
    gain: float
    following: Upload | None = None
    begin_s: float = math.nan
    density: float = 1.0
    end_s: float = math.nan
    airtime_s: float = math.nan
    duration_s: float = math.nan

    @property
    def energy_j(self) -> float:
        """Return the energy that the device sends with [J]."""
        return self.sender.tx_power_w * self.duration_s


class StarLinks:
    """The links between a server and some devices with unlimited power.

    Args:
        server: The server.
        devices: The devices.
    """

    def __init__(self, server: EdgeServer, devices: Sequence[Device]) -> None:
        self.server = server
        self.devices = devices
        self.numbers = np.array([device.number for device in devices], dtype=np.int64)
        self.meters = [device.unlimited for device in devices if device.unlimited is not None]
        self._unreported: list[TransferBatch] = []
        node, powers_w = server.node, np.array([device.tx_power_w for device in devices])
        itself = np.full_like(self.numbers, node.number)
        self._down = server.downlink.steady_links(
            itself, self.numbers, np.full_like(powers_w, node.tx_power_w)
        )
        self._up = server.uplink.steady_links(self.numbers, itself, powers_w)

    def undisturbed(self, round: int) -> bool:
        """Return whether nothing can disturb transfers of ``round`` over these links if nothing cuts them off."""
        radios = (self.server.downlink, self.server.uplink)
        return (
            self.server.broadcasts
            and isinstance(self.server.division, Uplink)
            and len(self.meters) == len(self.devices)
            and all(
                radio.channel.steady
                and not radio.air.rate.lossy
                and radio.moving is None
                and not radio.air.outage_snr
                and not radio.air.acknowledgement_bits
                for radio in radios
            )
            and all(float(links.gains(round).snr.min()) > 0 for links in (self._down, self._up))
        )

    def broadcast(self, size_bits: float, round: int, begin_s: float) -> float:
        """Send ``size_bits`` to all devices in one transmission from ``begin_s`` [s] on; return its end [s]."""
        downlink, node, found = self.server.downlink, self.server.node, self._down.gains(round)
        downlink.note_use(self._down, found.power_gain.tolist())
        rate_bps = downlink.air.rate.rates_bps(downlink.air.bandwidth_hz, found.snr.tolist()).min()
        duration_s = float(size_bits / rate_bps)
        end_s = begin_s + duration_s
        assert node.unlimited is not None
        node.unlimited.add("sending", node.tx_power_w, begin_s, end_s, duration_s)
        for meter in self.meters:
            meter.add("receiving", 0.0, begin_s, end_s)
        count = len(self.devices)
        self._unreported.append(
            TransferBatch(
                round=round,
                kind="download",
                sender=np.full(count, node.number),
                receiver=self.numbers,
                size_bits=size_bits,
                sent_bits=size_bits,
                start_s=np.full(count, begin_s),
                end_s=np.full(count, end_s),
                airtime_s=np.full(count, duration_s),
                energy_j=np.full(count, node.tx_power_w * duration_s / count),
                gain=found.gain,
                snr_db=powers_to_db(found.snr.tolist()),
                outcome="delivered",
            )
        )
        return end_s

    def upload(
        self, sizes_bits: Sequence[Sequence[float]], round: int, begins_s: Sequence[float]
    ) -> list[Upload]:
        """Send each device's messages, one after the other, from ``begins_s`` [s] on.

        Args:
            sizes_bits: Sizes of each device's messages [bit].
            round: The round.
            begins_s: Time at which each device begins with the first [s].

        Returns:
            The uploads, in the order of their ends.
        """
        self._up.tx_power_w = np.array(
            [device.tx_power_w for device in self.devices]
        )  # a policy may change it
        found = self._up.gains(round)
        self.server.uplink.note_use(self._up, found.power_gain.tolist())
        first = []
        columns = zip(
            self.devices,
            self.meters,
            sizes_bits,
            found.snr.tolist(),
            found.gain.tolist(),
            begins_s,
            strict=True,
        )
        for device, meter, sizes, ratio, gain, begin_s in columns:
            chain: Upload | None = None
            for size_bits in reversed(sizes):
                chain = Upload(device, meter, size_bits, ratio, gain, chain)
            if chain is not None:
                chain.begin_s = begin_s
                first.append(chain)
        first.sort(key=attrgetter("begin_s"))
        uplink, band = self.server.uplink, self.server.division.band(-1, self.server.number)
        ended = (_sharing if band.shared else _apart)(first, band, uplink.air)
        for upload in ended:
            upload.meter.add(
                "sending", upload.sender.tx_power_w, upload.begin_s, upload.end_s, upload.duration_s
            )
        self._listen(ended)
        if recorded := [upload for upload in ended if upload.size_bits > 0]:
            self._unreported.append(self._rows(recorded, round))
        return ended

    def report(self) -> None:
        """Pass the transfers so far on to the observers, now that the last of them has ended."""
        for batch in self._unreported:
            self.server.uplink.record(batch)
        self._unreported = []

    def _listen(self, uploads: Sequence[Upload]) -> None:
        """Let the server receive while anybody sends."""
        meter = self.server.node.unlimited
        assert meter is not None
        last: Upload | None = None
        for upload in sorted(uploads, key=attrgetter("begin_s")):
            if last is None:
                since_s, last = upload.begin_s, upload
            elif upload.begin_s > last.end_s or last.following is upload:
                meter.add("receiving", 0.0, since_s, last.end_s)
                since_s, last = upload.begin_s, upload
            elif upload.end_s > last.end_s:
                last = upload
        if last is not None:
            meter.add("receiving", 0.0, since_s, last.end_s)

    def _rows(self, uploads: Sequence[Upload], round: int) -> TransferBatch:
        sizes_bits = np.array([upload.size_bits for upload in uploads])
        return TransferBatch(
            round=round,
            kind="upload",
            sender=np.array([upload.sender.number for upload in uploads]),
            receiver=np.full(len(uploads), self.server.number),
            size_bits=sizes_bits,
            sent_bits=sizes_bits,
            start_s=np.array([upload.begin_s for upload in uploads]),
            end_s=np.array([upload.end_s for upload in uploads]),
            airtime_s=np.array([upload.airtime_s for upload in uploads]),
            energy_j=np.array([upload.energy_j for upload in uploads]),
            gain=np.array([upload.gain for upload in uploads]),
            snr_db=powers_to_db([upload.snr * upload.density for upload in uploads]),
            outcome="delivered",
        )


def _sharing(uploads: Sequence[Upload], band: Band, air: Air) -> list[Upload]:
    """Find the ends of uploads among which the band is redivided whenever one begins or ends; return all by ends."""
    coming, ended = deque(uploads), []
    sharing: Sharing[Upload] = Sharing(air, 0.0)
    next_end_s = math.inf

    def join(upload: Upload, now_s: float) -> None:
        upload.begin_s, upload.density = now_s, len(sharing) + 1.0
        sharing.add(upload, upload.snr, upload.size_bits)

    while coming or len(sharing):
        now_s = min(coming[0].begin_s if coming else math.inf, next_end_s)
        sharing.advance(now_s)
        while coming and coming[0].begin_s == now_s:
            join(coming.popleft(), now_s)
        over = sharing.ended() if now_s == next_end_s else ()
        for upload, airtime_s in over:
            upload.end_s, upload.airtime_s, upload.duration_s = now_s, airtime_s, now_s - upload.begin_s
            ended.append(upload)
        for upload, _ in over:
            if upload.following is not None:
                join(upload.following, now_s)
        count = len(sharing)
        next_end_s = sharing.plan(1.0 / count, float(count)) if count else math.inf
    return ended


def _apart(uploads: Sequence[Upload], band: Band, air: Air) -> list[Upload]:
    """Find the ends of uploads that each have an equal part of the band; return all by ends."""
    ended = []
    for first in uploads:
        upload: Upload | None = first
        while upload is not None:
            upload.density = band.density
            rate_bps = air.rate.rate_bps(air.bandwidth_hz * band.share, upload.snr * band.density)
            upload.airtime_s = upload.duration_s = upload.size_bits / rate_bps
            upload.end_s = upload.begin_s + upload.duration_s
            ended.append(upload)
            if upload.following is not None:
                upload.following.begin_s = upload.end_s
            upload = upload.following
    return sorted(ended, key=attrgetter("end_s"))
