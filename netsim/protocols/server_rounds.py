"""Rounds of an edge server: choose, send, let train, collect, aggregate."""

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

    It waits for everybody, or until ``deadline_s``, or until ``first`` uploads are in; whoever is not done
    then is cut off: what it spent is charged, its work is discarded. An upload that ends in the very moment of the
    deadline is in time. A round that nobody finishes leaves the model as it is.
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
            description="aggregate as soon as so many uploads are in, and cut off the others; null: wait for all",
        )

        @model_validator(mode="after")
        def _first_of_participants(self) -> Any:
            if self.first is not None and self.participants is not None and self.first > self.participants:
                raise ValueError(
                    f"first: must be at most participants, {self.participants} (got {self.first}); "
                    "to over-select, choose more participants than the uploads that are waited for"
                )
            return self

    options: ServerRounds.Options

    def _life(self) -> Process:
        """Process: all rounds."""
        for t in range(1, self.rounds + 1):
            if not any(device.alive for device in self.star.members.values()):
                return
            yield from self._round(t)

    def _round(self, t: int) -> Process:
        """Process: one round."""
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
            yield env.all_of(clients)  # anew: a condition inside another that was met is deaf from then on

        arrived = {k: errand.update.step.outbox for k, errand in errands.items() if errand.arrived}
        flops = yield from self._aggregate(t, chosen, arrived)
        for device in living:
            self._tell_device(device, t, begin_s, errands.get(device.number))
        self._tell_server(t, begin_s, len(chosen), len(arrived), flops)
        self._last |= errands
        self.work.close(t, env.now)

    def _download(self, t: int, chosen: Sequence[int], stop: simpy.Event) -> dict[int, simpy.Event]:
        """Send the model; for each participant the event that brings it, or word that it is lost."""
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
        """Process: one participant's round, from the download to the upload."""
        yield first_of(download, *device.endings(stop))
        if not download.processed or download.value is LOST:
            errand.outcome = ending(device, stop)
            return
        yield from self._train_and_upload(device, t, download.value, errand, stop, deaf=limit)
