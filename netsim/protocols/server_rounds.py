"""Rounds of an edge server: choose devices, send the model, collect the uploads, aggregate."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import simpy
from pydantic import Field, model_validator

from netsim.core.clock import deadline, succeed_at
from netsim.core.options import Options
from netsim.learner import Message
from netsim.protocols.node import order_update
from netsim.protocols.server_protocol import Errand, ServerProtocol, ending
from netsim.protocols.star import LOST
from netsim.world.devices.device import Device, first_of
from netsim.world.undisturbed import StarLinks

Process = Generator[simpy.Event, Any, Any]


class ServerRounds(ServerProtocol):
    """A server chooses K of C devices, sends them the model, and aggregates what they upload.

    It waits for all chosen devices, or until ``deadline_s``, or until ``first`` uploads have arrived. A device that is
    not done then is cut off: its work is discarded, but its energy stays spent. An upload that ends exactly at the
    deadline is in time. If no upload arrives, the model stays as it is.

    A device that dies or leaves is out of the round; one that returns can be chosen for the next. If nobody is there,
    the next round begins when somebody returns.
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
    _links: StarLinks | None = None  # of the participants of the last round

    def _life(self) -> Process:
        """Simulate all rounds (a SimPy process)."""
        for t in range(1, self.rounds + 1):
            if self.is_over:
                return
            while not any(device.alive for device in self.star.members.values()):
                away = [device.back for device in self.star.members.values() if device.may_return]
                if not away:
                    return
                yield first_of(*away)
            yield from self._round(t)
            self.work.close(t, self.network.env.now)

    def _round(self, t: int) -> Process:
        """Simulate round ``t`` (a SimPy process)."""
        env = self.network.env
        begin_s = env.now
        living = [device for device in self._present() if device.alive]
        for node in (*living, self.server.node):
            self.ledger.catch_up(node)
        free = [device.number for device in living if device.number in self.star.members]
        chosen = self._choose(free, min(self.options.participants or len(free), len(free)), t)
        self.server.division.divide(len(chosen))
        messages = self.learner.messages(self.server.number, t, chosen, together=self.server.broadcasts)
        simulate = self._at_once if self._undisturbed(t, chosen, messages) else self._by_events
        errands: dict[int, Errand] = yield from simulate(t, chosen, messages)

        arrived = {k: errand.update.step.outbox for k, errand in errands.items() if errand.arrived}
        flops = yield from self._aggregate(t, chosen, arrived)
        self._tell_devices(living, t, begin_s, errands)
        self._tell_server(t, begin_s, len(chosen), len(arrived), flops)
        self._last |= {k: errand.times_s for k, errand in errands.items()}

    def _present(self) -> Sequence[Device]:
        """Return the devices that the server can choose from, and those that hold no samples."""
        return self.network.devices

    def _undisturbed(self, t: int, chosen: Sequence[int], messages: Sequence[Message]) -> bool:
        """Return whether nothing can disturb round ``t``, so that it can be computed at once."""
        if self.options.deadline_s is not None or self.options.first is not None or not chosen:
            return False
        if self._links is None or self._links.numbers.tolist() != chosen:
            self._links = StarLinks(self.server, [self.star.members[k] for k in chosen])
        return len(messages) == 1 and messages[0].size_bits > 0 and self._links.undisturbed(t)

    def _at_once(self, t: int, chosen: Sequence[int], messages: Sequence[Message]) -> Process:
        """Compute round ``t`` up to its last upload, with one event at the end (a SimPy process)."""
        env, learner, server, links = self.network.env, self.learner, self.server.number, self._links
        assert links is not None
        arrival_s = links.broadcast(messages[0].size_bits, t, env.now)
        errands: dict[int, Errand] = {}
        for device, meter in zip(links.devices, links.meters, strict=True):
            k, slowdown = device.number, self.network.stragglers.factor(device.number, t)
            update = order_update(
                learner,
                self.work,
                k,
                t,
                self.states[k],
                peers=(server,),
                budget=self.star.budget(device),
                arrived={server: self._outbox},
            )
            duration_s, power_w = device.computing(update.cost.total_flops, slowdown)
            update.done, update.end_s = True, arrival_s + duration_s
            update.compute_s = update.end_s - arrival_s
            meter.add("compute", power_w, arrival_s, update.end_s, duration_s)
            errands[k] = Errand("finished", received=True, slowdown=slowdown, update=update)
        sizes_bits = {}
        for k, errand in sorted(errands.items(), key=lambda item: item[1].update.end_s):
            self.states[k] = errand.update.step.state
            self._trained(self.star.members[k], t, errand.update)
            sizes_bits[k] = [message.size_bits for message in learner.messages(k, t, [server])]
        ends_s = [errand.update.end_s for errand in errands.values()]
        for upload in links.upload([sizes_bits[k] for k in chosen], t, ends_s):
            k = upload.sender.number
            errands[k].upload_s, errands[k].arrived = upload.end_s - upload.begin_s, True
            if learner.hears_acknowledgements:
                learner.acknowledged(k, t, {server: True})
            ends_s.append(upload.end_s)
        end = env.event()
        succeed_at(end, max(ends_s))
        yield end
        links.report()
        return errands

    def _by_events(self, t: int, chosen: Sequence[int], messages: Sequence[Message]) -> Process:
        """Simulate round ``t`` up to its last upload, or until it is cut off (a SimPy process)."""
        env = self.network.env
        stop, enough = env.event(), env.event()
        limit_s = self.options.deadline_s
        limit = None if limit_s is None else deadline(env, env.now + limit_s)

        arrivals = 0

        def count() -> None:
            nonlocal arrivals
            arrivals += 1
            if arrivals == self.options.first:
                enough.succeed()

        errands = {k: Errand(on_arrival=count) for k in chosen}
        downloads = self._download(t, chosen, messages, stop)
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
        return errands

    def _download(
        self, t: int, chosen: Sequence[int], messages: Sequence[Message], stop: simpy.Event
    ) -> dict[int, simpy.Event]:
        """Send the model; return for each participant an event whose value is the model, or :data:`LOST`."""
        env = self.network.env
        events = {k: env.event() for k in chosen}
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
        device.sleep(False)
        yield first_of(download, *device.endings(stop))
        if download.processed and download.value is not LOST:
            yield from self._train_and_upload(device, t, download.value, errand, stop, deaf=limit)
        else:
            errand.outcome = ending(device, stop)
        device.sleep()
