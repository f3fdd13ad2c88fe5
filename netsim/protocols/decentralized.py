"""Decentralized rounds: every device waits for its neighbours, and for nobody else."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any

import simpy
from pydantic import Field

from netsim.devices.device import Device, first_of
from netsim.learning import Message, Metric
from netsim.options import Options
from netsim.protocols.coordination import Coordination
from netsim.protocols.mailbox import LOST, NOTHING, Mailbox
from netsim.protocols.protocol import Protocol
from netsim.records.tables import MetricRow, RoundRow

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
        self._evaluations: dict[int, list[tuple[int, float, int]]] = {}
        self._coordination = Coordination(self.network, self.learner, self.observer)
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
        begin_s, before = env.now, device.meter.account()
        deadline_s = self.options.deadline_s
        stop = env.timeout(deadline_s) if deadline_s is not None else None
        neighbours = self.network.living_neighbours(device)

        # Local update: the job's inputs are fixed now, its result is due when the simulated computation ends.
        workload = learner.workload(k, t, self.network.budget(device))
        job = learner.training_job(k, t, workload)
        ticket = self.executor.submit(job) if job else None
        slowdown = self.network.stragglers.factor(k, t)
        trained = yield from device.compute(workload.total_flops, slowdown, stop)
        compute_end_s = env.now if trained else math.nan
        if trained:
            self._measure(
                k, t, learner.apply(k, t, self.executor.result(ticket) if ticket is not None else None)
            )
        elif ticket is not None:
            self.executor.discard(ticket)

        # Exchange.
        messages = learner.messages(k, t, self.network.living_neighbours(device)) if trained else ()
        sends = self._send_all(device, t, messages, neighbours, trained, stop)
        if sends:
            yield env.all_of(sends)
        outcomes = [send.value for send in sends]
        yield from self._gather(device, t, neighbours, stop)

        # Combine.
        heard = dict(self._mailboxes[k].heard(t))
        arrived = self._mailboxes[k].close(t)
        if device.alive:
            self._measure(k, t, learner.combine(k, t, arrived))
            self._submit_evaluation(k, t)
            if learner.coordinated and t < self.rounds:
                yield from self._coordination.take_part(device, t)

        after = device.meter.account()
        cut_off = not trained or "cut_off" in outcomes
        self.observer.on_round_end(
            RoundRow(
                round=t,
                device=k,
                outcome="died" if not device.alive else "cut_off" if cut_off else "finished",
                start_s=begin_s,
                end_s=env.now,
                compute_end_s=compute_end_s,
                **{f"{c}_s": after.time_s[c] - before.time_s[c] for c in after.time_s},
                **{f"{c}_j": after.energy_j[c] - before.energy_j[c] for c in after.energy_j},
                battery_j=device.battery.remaining_j,
                flops=workload.total_flops,
                slowdown=slowdown,
                sent=outcomes.count("delivered"),
                received=len(arrived),
                missed=sum(1 for n in neighbours if n not in arrived and heard.get(n) is not NOTHING),
            ),
            dict(workload.iterations),
        )

    def _send_all(
        self,
        device: Device,
        t: int,
        messages: Sequence[Message],
        neighbours: Sequence[int],
        trained: bool,
        stop: simpy.Event | None,
    ) -> list[simpy.Process]:
        """Start all transfers at once, and leave word with the neighbours that get none."""
        receivers = {message.receiver for message in messages}
        for n in neighbours:
            if n not in receivers:
                self._mailboxes[n].put(t, device.number, NOTHING if trained else LOST)
        return [self.network.env.process(self._send(device, t, message, stop)) for message in messages]

    def _send(self, device: Device, t: int, message: Message, stop: simpy.Event | None) -> Process:
        """Process: one message to one neighbour; returns what became of it."""
        receiver = self.network.devices[message.receiver]
        row = yield from self.network.radio.send(device, receiver, message.size_bits, t, "model", stop)
        payload = message.payload if row.outcome == "delivered" else LOST
        self._mailboxes[receiver.number].put(t, device.number, payload)
        return row.outcome

    def _gather(self, device: Device, t: int, neighbours: Sequence[int], stop: simpy.Event | None) -> Process:
        """Process: wait until every neighbour was heard or has died, or until the deadline."""
        mailbox, devices = self._mailboxes[device.number], self.network.devices
        while device.alive and not (stop and stop.processed):
            heard = mailbox.heard(t)
            if all(n in heard or not devices[n].alive for n in neighbours):
                return
            yield first_of(mailbox.news, *device.endings(stop))

    def _mourn(self, device: Device) -> None:
        """A device has died: whoever waits for it looks again."""
        self.observer.on_death(device.number, self.network.env.now)
        for n in sorted(self.network.graph[device.number]):
            self._mailboxes[n].poke()
        self._coordination.look_again(device)

    def _measure(self, device: int, t: int, metrics: Sequence[Metric], time_s: float | None = None) -> None:
        now_s = self.network.env.now if time_s is None else time_s
        for metric in metrics:
            self.observer.on_metric(MetricRow(t, device, now_s, metric.name, metric.modality, metric.value))

    def _submit_evaluation(self, device: int, t: int) -> None:
        """Judging is a job too; its result is due when the round closes, so that all devices' run together."""
        job = self.learner.evaluation_job(device, t)
        if job is not None:
            ticket = self.executor.submit(job)
            self._evaluations.setdefault(t, []).append((device, self.network.env.now, ticket))

    def _leave(self, t: int) -> None:
        """One device fewer is in round ``t``; the last one out closes it, if anybody lived to see its end."""
        self._open[t] -= 1
        if self._open[t] > 0 or t > self._reached:
            return
        evaluations = sorted(self._evaluations.pop(t, []))
        for device, time_s, ticket in evaluations:
            self._measure(device, t, self.learner.judge(device, t, self.executor.result(ticket)), time_s)
        self.observer.on_round_closed(t, self.network.env.now)
