"""An edge server that aggregates without waiting for all devices."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy
from pydantic import Field

from netsim.core.options import Options
from netsim.protocols.node import Update
from netsim.protocols.server_protocol import Errand, ServerProtocol, ending
from netsim.world.devices.device import Device

Process = Generator[simpy.Event, Any, Any]


RETRY_S = 1.0
"""Time after a lost transfer before the device can be chosen again [s]."""

FRUITLESS = 100
"""Turns of each device, on average, that may end one after the other by its going before the server gives up."""


class AsynchronousServer(ServerProtocol):
    """A server that keeps some devices training, and aggregates whenever ``buffer`` uploads have arrived.

    Each device trains at its own pace from the model that it received. When its upload arrives, the server's model may
    be some aggregations newer; their number is the upload's *staleness*. With a buffer of 1 this is FedAsync's server
    (Xie, Koyejo and Gupta 2019), with a larger one FedBuff's (Nguyen et al. 2022). One aggregation is one round. A
    device whose upload waits in the buffer is not chosen again until the upload is used. A device that dies or leaves
    ends its turn, and can be chosen again when it is back. The run ends early if turns end so again and again
    (:data:`FRUITLESS` for each device) and nothing arrives.
    """

    FAMILY = "asynchronous"
    MEMBERS = ("concurrency", "buffer")

    class Options(Options):
        """Block ``protocol`` with name ``asynchronous_server``."""

        concurrency: int | None = Field(
            None, ge=1, description="devices that train at the same time; null: all of them"
        )
        buffer: int = Field(1, ge=1, description="number of uploads in an aggregation")
        max_staleness: int | None = Field(
            None, ge=0, description="uploads with a larger staleness are thrown away; null: none"
        )

    options: AsynchronousServer.Options

    def start(self) -> simpy.Event:
        """Start the server; return the event at which all rounds are done or no device is left."""
        env = self.network.env
        self._version = 0
        self._away: set[int] = set()
        self._buffer: dict[int, Errand] = {}
        self._choices = self._fruitless = 0
        self._since_s = env.now
        self._news, self._stop = env.event(), env.event()
        life = super().start()
        at_once = self.options.concurrency or len(self.star.members)
        self.server.division.divide(at_once)
        self._within_reach = [d for d in self.star.members.values() if self.star.reaches(d, at_once)]
        return life

    def _life(self) -> Process:
        """Keep devices busy and aggregate until all rounds are done (a SimPy process)."""
        env = self.network.env
        while self._version < self.rounds and not self.is_over:
            self._send_off()
            if len(self._buffer) >= self.options.buffer or (self._buffer and not self._more_may_come()):
                yield from self._use_buffer()
                continue
            if not self._more_may_come():
                break  # all devices are gone for good or can never be reached
            if self._fruitless > FRUITLESS * len(self.star.members):
                break
            self._news = env.event()
            yield self._news
        self._stop.succeed()
        while self._away:
            self._news = env.event()
            yield self._news

    def _more_may_come(self) -> bool:
        """Return whether another upload can arrive before those in the buffer are used."""
        return any(
            device.number in self._away
            or ((device.alive or device.may_return) and device.number not in self._buffer)
            for device in self._within_reach
        )

    def _send_off(self) -> None:
        """Choose free devices until as many are training as are allowed."""
        members = self.star.members
        free = [k for k in members if k not in self._away and k not in self._buffer and members[k].alive]
        room = min((self.options.concurrency or len(members)) - len(self._away), len(free))
        if room <= 0:
            return
        self._choices += 1
        for k in self._choose(free, room, self._choices):
            self._away.add(k)
            self.network.env.process(self._send(members[k], self._chosen_times[k]))

    def _send(self, device: Device, n: int) -> Process:
        """Simulate a device's ``n``-th turn, from the download to the upload (a SimPy process)."""
        env, k, begin_s = self.network.env, device.number, self.network.env.now
        version, outbox, errand = self._version, self._outbox, Errand()
        self.ledger.outside(device)  # the device waited until it was chosen
        device.sleep(False)
        (message,) = self.learner.messages(self.server.number, version + 1, [k])
        row = yield from self.server.downlink.send(
            self.server.node, device, message.size_bits, n, "download", self._stop
        )
        if row.outcome == "delivered":
            yield from self._train_and_upload(device, n, outbox, errand, self._stop, deaf=self._stop)
        else:
            errand.outcome = ending(device, self._stop)
        self._fruitless = 0 if errand.arrived else self._fruitless + (errand.outcome in ("died", "away"))
        if errand.arrived:
            self._last[k] = errand.times_s
            limit = self.options.max_staleness
            if limit is None or self._version - version <= limit:
                self._buffer[k] = errand
        if k not in self._buffer:
            self.work.cancel(errand.update.tasks, self.states[k])
        if errand.outcome == "lost":
            yield env.any_of([env.timeout(RETRY_S), *device.endings(self._stop)])
        self._tell_devices([device], n, begin_s, {k: errand})
        device.sleep()
        self._away.discard(k)
        self._tell_news()

    def back(self, device: Device) -> None:
        """Note that ``device`` returns, or never will: it may be chosen again, or need no longer be waited for."""
        super().back(device)
        self._tell_news()

    def gone(self, device: Device) -> None:
        """Note that ``device`` goes, so that nobody waits for one that is gone for good."""
        super().gone(device)
        self._tell_news()

    def _tell_news(self) -> None:
        if not self._news.triggered:
            self._news.succeed()

    def _trained(self, device: Device, n: int, update: Update) -> None:
        """Record nothing yet, because an update counts in the round in which the server uses it."""

    def _use_buffer(self) -> Process:
        """Aggregate the uploads in the buffer to a new model (a SimPy process)."""
        t = self._version + 1
        errands, self._buffer = dict(sorted(self._buffer.items())), {}
        for k, errand in errands.items():
            self._measure_update(k, t, errand.update)
        arrived = {k: errand.update.step.outbox for k, errand in errands.items()}
        flops = yield from self._aggregate(t, list(errands), arrived)
        self._version = t
        self._tell_server(t, self._since_s, len(self._away) + len(errands), len(errands), flops)
        self._since_s = self.network.env.now
        self.work.close(t, self._since_s)
