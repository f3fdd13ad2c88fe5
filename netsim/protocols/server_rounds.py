"""Rounds of an edge server: choose devices, send the model, collect the uploads, aggregate."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import simpy
from pydantic import Field, model_validator

from netsim.core.clock import deadline
from netsim.core.options import Options
from netsim.protocols.server_protocol import Errand, ServerProtocol, ending
from netsim.protocols.star import LOST
from netsim.world.devices.device import Device, first_of

Process = Generator[simpy.Event, Any, Any]


class ServerRounds(ServerProtocol):
    """A server chooses K of C devices, sends them the model, and aggregates what they upload.

    It waits for all chosen devices, or until ``deadline_s``, or until ``first`` uploads have arrived. A device that is
    not done then is cut off: its work is discarded, but its energy stays spent. An upload that ends exactly at the
    deadline is in time. If no upload arrives, the model stays as it is.
    """

    MEMBERS = ("participants", "first")

    class Options(Options):
        """Block ``protocol`` with name ``server_rounds``."""

        participants: int | None = Field(
            None, ge=1, description="devices chosen for a round, K; null: all of them"
        )
        deadline_s: float | None = Field(
            None,
            gt=0,
            description="longest time of a round up to aggregation [s]; null: wait for the slowest",
        )
        first: int | None = Field(
            None,
            ge=1,
            description="aggregate when this many uploads have arrived, and cut off the others; null: wait for all",
        )

        @model_validator(mode="after")
        def _first_of_participants(self) -> Any:
            if self.first is not None and self.participants is not None and self.first > self.participants:
                raise ValueError(
                    f"first: must be at most participants, {self.participants} (got {self.first}); "
                    "for over-selection, choose more participants than uploads to wait for"
                )
            return self

    options: ServerRounds.Options

    def _life(self) -> Process:
        """Simulate all rounds (a SimPy process)."""
        for t in range(1, self.rounds + 1):
            if not any(device.alive for device in self.star.members.values()):
                return
            yield from self._round(t)

    def _round(self, t: int) -> Process:
        """Simulate round ``t`` (a SimPy process)."""
        env = self.network.env
        begin_s = env.now
        living = [device for device in self.network.devices if device.alive]
        free = [k for k, device in self.star.members.items() if device.alive]
        chosen = self._choose(free, min(self.options.participants or len(free), len(free)), t)
        self.server.division.divide(len(chosen))
        stop, enough = env.event(), env.event()
        limit_s = self.options.deadline_s
        limit = None if limit_s is None else deadline(env, begin_s + limit_s)

        arrivals = 0

        def count() -> None:
            nonlocal arrivals
            arrivals += 1
            if arrivals == self.options.first:
                enough.succeed()

        errands = {k: Errand(on_arrival=count) for k in chosen}
        downloads = self._download(t, chosen, stop)
        clients = [
            env.process(self._client(self.star.members[k], t, errands[k], downloads[k], stop, limit))
            for k in chosen
        ]
        everybody = env.all_of(clients)
        yield first_of(everybody, enough, *([limit] if limit else []))
        if not everybody.processed:
            stop.succeed()
            yield env.all_of(
                clients
            )  # a new one: SimPy no longer updates a condition inside one that has happened

        arrived = {k: errand.update.step.outbox for k, errand in errands.items() if errand.arrived}
        flops = yield from self._aggregate(t, chosen, arrived)
        for device in living:
            self._tell_device(device, t, begin_s, errands.get(device.number))
        self._tell_server(t, begin_s, len(chosen), len(arrived), flops)
        self._last |= errands
        self.work.close(t, env.now)

    def _download(self, t: int, chosen: Sequence[int], stop: simpy.Event) -> dict[int, simpy.Event]:
        """Send the model; return for each participant an event whose value is the model, or :data:`LOST`."""
        env = self.network.env
        events = {k: env.event() for k in chosen}
        messages = self.learner.messages(self.server.number, t, chosen, together=self.server.broadcasts)
        for message in messages:

            def tell(k: int, delivered: bool, outbox: Any = self._outbox) -> None:
                events[k].succeed(outbox if delivered else LOST)

            env.process(self.star.send_down(message, t, stop, tell))
        return events

    def _client(
        self,
        device: Device,
        t: int,
        errand: Errand,
        download: simpy.Event,
        stop: simpy.Event,
        limit: simpy.Event | None,
    ) -> Process:
        """Simulate one participant's round, from the download to the upload (a SimPy process)."""
        yield first_of(download, *device.endings(stop))
        if not download.processed or download.value is LOST:
            errand.outcome = ending(device, stop)
            return
        yield from self._train_and_upload(device, t, download.value, errand, stop, deaf=limit)
