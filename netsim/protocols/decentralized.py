"""Decentralized rounds: every device waits for its neighbours, and for nobody else."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any

import simpy
from pydantic import Field

from netsim.devices.device import Device, first_of
from netsim.learning import Message
from netsim.options import Options
from netsim.protocols.coordination import Coordination
from netsim.protocols.mailbox import LOST, NOTHING, Mailbox, put_all
from netsim.protocols.protocol import Protocol
from netsim.records.tables import RoundRow

Process = Generator[simpy.Event, Any, Any]


class DecentralizedRounds(Protocol):
    """Each device trains, sends to its neighbours, waits for theirs (or for a deadline), and combines.

    There is no barrier: a device that is done early sends early, and starts its next round as soon as
    all its neighbours' messages are in and all its own are out. Neighbours are therefore at most one round apart.
    With ``deadline_s`` a device ends its round that long after it began it: its own unfinished work is
    discarded, and it combines what has arrived.
    """

    class Options(Options):
        """Block ``protocol`` with name ``decentralized_rounds``."""

        deadline_s: float | None = Field(
            None, gt=0, description="longest time of a device's round [s]; null: wait for the slowest"
        )

    options: DecentralizedRounds.Options

    def start(self) -> simpy.Event:
        """Every device lives its own life; the run ends when all lives have."""
        env = self.network.env
        self._mailboxes = [Mailbox(env) for _ in self.network.devices]
        self._open = {t: len(self.network.devices) for t in range(1, self.rounds + 1)}
        self._reached = 0
        self._coordination = Coordination(self.network, self.learner, self.work)
        for device in self.network.devices:
            device.on_death.append(self._mourn)
        return env.all_of([env.process(self._life(device)) for device in self.network.devices])

    def _life(self, device: Device) -> Process:
        """Process: all rounds of one device."""
        for t in range(1, self.rounds + 1):
            yield from self._round(device, t)
            if not device.alive:
                for later in range(t, self.rounds + 1):
                    self._leave(later)
                return
            self._reached = max(self._reached, t)
            self._leave(t)

    def _round(self, device: Device, t: int) -> Process:
        """Process: one round of one device, the paper's Algorithm 1 (and 3) from the inside."""
        env, learner, k = self.network.env, self.learner, device.number
        begin_s = env.now
        deadline_s = self.options.deadline_s
        stop = env.timeout(deadline_s) if deadline_s is not None else None
        neighbours = self.network.living_neighbours(device)

        # Local update: what it depends on is fixed now, its result is due when the simulated computation ends.
        workload = learner.workload(k, t, self.network.budget(device))
        training = self.work.train(k, t, workload)
        slowdown = self.network.stragglers.factor(k, t)
        trained = yield from device.compute(workload.total_flops, slowdown, stop)
        compute_end_s = env.now if trained else math.nan
        if trained:
            self.work.trained(training, env.now)
        else:
            self.work.cancel(training)

        # Exchange.
        messages = self.work.messages(k, t, self.network.living_neighbours(device)) if trained else ()
        outcomes = yield from self._send_all(device, t, messages, neighbours, trained, stop)
        yield from self._gather(device, t, neighbours, stop)

        # Combine.
        arrived, silent = self._mailboxes[k].close(t)
        if device.alive:
            combined = self.work.combine(k, t, env.now, arrived)
            if learner.coordinated and t < self.rounds:
                self.work.settle(combined)  # a report speaks of what was learnt
                yield from self._coordination.take_part(device, t)

        cut_off = not trained or "cut_off" in outcomes
        self.observer.on_round_end(
            RoundRow(
                t,
                k,
                "died" if not device.alive else "cut_off" if cut_off else "finished",
                begin_s,
                env.now,
                compute_end_s,
                *self.ledger.take(device, t),
                battery_j=device.battery.remaining_j,
                flops=workload.total_flops,
                slowdown=slowdown,
                sent=outcomes.count("delivered"),
                received=len(arrived),
                missed=len(neighbours) - len(arrived) - silent,
            ),
            workload.iterations,
        )

    def _send_all(
        self,
        device: Device,
        t: int,
        messages: Sequence[Message],
        neighbours: Sequence[int],
        trained: bool,
        stop: simpy.Event | None,
    ) -> Process:
        """Process: send everything at once, and leave word with the neighbours that get nothing; returns outcomes."""
        env, k, mailboxes = self.network.env, device.number, self._mailboxes
        if sum(len(message.receivers) for message in messages) < len(neighbours):
            receivers = {n for message in messages for n in message.receivers}
            for n in neighbours:
                if n not in receivers:
                    mailboxes[n].put(t, k, NOTHING if trained else LOST, env.now)

        def send(message: Message) -> Process:
            def tell(receivers: Sequence[int], ends_s: Sequence[float], delivered: Sequence[bool]) -> None:
                payload = message.payload
                payloads = [payload if arrives else LOST for arrives in delivered]
                put_all([mailboxes[n] for n in receivers], t, k, payloads, ends_s)

            found: list[str] = yield from self.network.radio.send_all(
                device, message.receivers, self.network.devices, message.size_bits, t, "model", stop, tell
            )
            return found

        outcomes: list[str] = []
        if messages:
            processes = [env.process(send(message)) for message in messages[1:]]
            found = yield from send(messages[0])
            outcomes += found or []
            if processes:
                yield env.all_of(processes)
                outcomes += [outcome for process in processes for outcome in process.value or []]
        return outcomes

    def _gather(self, device: Device, t: int, neighbours: Sequence[int], stop: simpy.Event | None) -> Process:
        """Process: wait until every neighbour was heard or has died, or until the deadline."""
        mailbox = self._mailboxes[device.number]
        while device.alive and not (stop and stop.processed):
            complete = mailbox.complete(t, self.network.living(neighbours))
            if complete is None:
                return
            yield first_of(complete, *device.endings(stop))
            if complete.processed and complete.value:
                return

    def _mourn(self, device: Device) -> None:
        """A device has died: whoever waits for it looks again."""
        self.observer.on_death(device.number, self.network.env.now)
        for n in sorted(self.network.graph[device.number]):
            self._mailboxes[n].poke()
        self._coordination.look_again(device)

    def _leave(self, t: int) -> None:
        """One device fewer is in round ``t``; the last one out closes it, if anybody lived to see its end."""
        self._open[t] -= 1
        if self._open[t] > 0 or t > self._reached:
            return
        self.work.close(t, self.network.env.now)
