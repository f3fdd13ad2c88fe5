"""Decentralized rounds: every device waits for its neighbours, and for nobody else."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any, Literal

import simpy
from pydantic import Field

from netsim.core.clock import deadline
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.events import RoundRow
from netsim.former.backlog import Training
from netsim.former.learning import Learner, Message
from netsim.former.protocols.coordination import Coordination
from netsim.former.protocols.mailbox import LOST, NOTHING, Mailbox, put_all
from netsim.former.protocols.protocol import Protocol
from netsim.world.devices.device import Device, first_of

Process = Generator[simpy.Event, Any, Any]


class DecentralizedRounds(Protocol):
    """Each device trains, sends to its neighbours, waits for theirs (or for a deadline), and combines.

    Without a deadline there is no barrier: a device that is done early sends early, and starts its next round as soon
    as all its neighbours' messages are in and all its own are out. Neighbours are therefore at most one round apart.

    With ``deadline_s`` rounds end by the clock: unfinished work is discarded, and a device combines what has arrived.
    On the ``shared`` schedule round t of every device lasts from (t - 1) ``deadline_s`` to t ``deadline_s``; a device
    that is done early waits. With a schedule of its ``own`` a device ends its round so long after it began it, or as
    soon as it is done; devices then drift apart. What ends in the very moment of a deadline is done.

    Transfers are cut off at their sender's deadline, and what comes when its round is over is dropped. With
    ``late: keep`` a transfer may go on for one round more, beside those of that round, and a message that comes late is
    combined in the round in which it arrives, if its sender has nothing newer there.
    """

    class Options(Options):
        """Block ``protocol`` with name ``decentralized_rounds``."""

        deadline_s: float | None = Field(
            None,
            gt=0,
            description="when a device's round ends, done or not, counted as schedule says [s]; null: wait for the "
            "slowest",
        )
        schedule: Literal["shared", "own"] = Field(
            "shared",
            description="with a deadline: all begin round t together, at (t - 1) deadline_s, or each begins its own "
            "as soon as it has ended the last",
        )
        late: Literal["drop", "keep"] = Field(
            "drop",
            description="with a deadline: what is not there by then is cut off and dropped, or has one round more and "
            "counts for that",
        )

    options: DecentralizedRounds.Options

    @classmethod
    def check(cls, options: Any, learner: Learner | None, device_count: int) -> None:
        """Whether there is a deadline for what the options say of it, and whether the learner can use late messages."""
        for key, value in (("schedule", "own"), ("late", "keep")):
            if options.deadline_s is None and getattr(options, key) == value:
                raise ScenarioError(
                    f"protocol.{key}: {value!r} is about a deadline, and there is none; set protocol.deadline_s, or "
                    f"leave protocol.{key} out"
                )
        if learner is not None and options.late == "keep" and not learner.takes_late:
            raise ScenarioError(
                "protocol.late: 'keep' cannot be used with this learner, which has no use for messages of earlier "
                "rounds; use drop"
            )

    def start(self) -> simpy.Event:
        """Every device lives its own life; the run ends when all lives have."""
        env = self.network.env
        self._keeps_late = self.options.deadline_s is not None and self.options.late == "keep"
        self._mailboxes = [Mailbox(env, self._keeps_late) for _ in self.network.devices]
        self._open = {t: len(self.network.devices) for t in range(1, self.rounds + 1)}
        self._reached = 0
        self._shared: dict[int, simpy.Event] = {}  # deadlines, by round
        self._delivered = [0] * len(self.network.devices)  # messages, since the sender's round began
        self._coordination = Coordination(self.network, self.learner, self.work)
        for device in self.network.devices:
            device.on_death.append(self._mourn)
        return env.all_of([env.process(self._life(device)) for device in self.network.devices])

    def _life(self, device: Device) -> Process:
        """Process: all rounds of one device."""
        sending: list[simpy.Process] = []
        for t in range(1, self.rounds + 1):
            last = yield from self._round(device, t)
            sending = [process for process in (*sending, last) if process is not None and process.is_alive]
            if not device.alive:
                for later in range(t, self.rounds + 1):
                    self._leave(later)
                break
            self._reached = max(self._reached, t)
            self._leave(t)
        if sending:
            yield self.network.env.all_of(sending)

    def _deadline(self, t: int, rounds: int = 1) -> simpy.Event | None:
        """The end of round ``t``, which begins now on its device; of so many ``rounds``, but not after the last."""
        env, length_s = self.network.env, self.options.deadline_s
        if length_s is None:
            return None
        last = min(t + rounds - 1, self.rounds)
        if self.options.schedule == "own":
            return deadline(env, env.now + (last - t + 1) * length_s)
        if last not in self._shared:
            self._shared[last] = deadline(env, last * length_s, sums=last)
        return self._shared[last]

    def _round(self, device: Device, t: int) -> Process:
        """Process: one round of one device, the paper's Algorithm 1 (and 3) from the inside.

        Returns the sending that goes on when it ends.
        """
        env, learner, k = self.network.env, self.learner, device.number
        begin_s = env.now
        stop = self._deadline(t)
        sending_stop = self._deadline(t, 2) if self._keeps_late else stop
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
        sending = self._send_all(device, t, messages, neighbours, training, trained, sending_stop)
        outcomes: Sequence[str]
        going_on: simpy.Process | None = None
        if self._keeps_late and stop is not None:
            going_on = env.process(sending)
            yield first_of(going_on, stop)
            outcomes = (going_on.value or ()) if going_on.processed else ()
        else:
            outcomes = yield from sending
        yield from self._gather(device, t, neighbours, stop)

        # Combine.
        post = self._mailboxes[k].close(t)
        if device.alive:
            combined = self.work.combine(k, t, env.now, post.arrived, after=post.made_by)
            if learner.coordinated and t < self.rounds:
                self.work.settle(combined)  # a report speaks of what was learnt
                yield from self._coordination.take_part(device, t)
        if self.options.schedule == "shared" and stop is not None and not stop.processed and device.alive:
            yield first_of(stop, *device.endings(None))

        delivered, self._delivered[k] = self._delivered[k], 0
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
                sent=delivered,
                received=len(post.arrived),
                missed=len(neighbours) - post.in_time - post.silent,
                late=post.late,
            ),
            workload.iterations,
        )
        return going_on

    def _send_all(
        self,
        device: Device,
        t: int,
        messages: Sequence[Message],
        neighbours: Sequence[int],
        training: Training,
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
        answers: dict[int, bool] | None = {} if self.learner.hears_acknowledgements else None

        def send(message: Message) -> Process:
            def tell(receivers: Sequence[int], ends_s: Sequence[float], delivered: Sequence[bool]) -> None:
                payload = message.payload
                payloads = [payload if arrives else LOST for arrives in delivered]
                put_all([mailboxes[n] for n in receivers], t, k, payloads, ends_s, training)
                self._delivered[k] += delivered.count(True)

            found: list[str] = yield from self.network.radio.send_all(
                device,
                message.receivers,
                self.network.devices,
                message.size_bits,
                t,
                "model",
                stop,
                tell,
                answers,
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
        if answers and device.alive:
            self.work.acknowledged(k, t, {n: answers[n] for n in sorted(answers)})
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
        if self._open[t] == 0:
            self._shared.pop(t, None)
        if self._open[t] > 0 or t > self._reached:
            return
        self.work.close(t, self.network.env.now)
