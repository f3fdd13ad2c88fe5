"""Decentralized rounds: every device waits for its neighbours only."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import simpy
from pydantic import Field

from netsim.core.clock import LAST, deadline, succeed_at
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.events import RoundRow
from netsim.learner import Learner, Message, because_of
from netsim.protocols.company import Company
from netsim.protocols.coordination import Coordination
from netsim.protocols.decentralized_at_once import RoundsAtOnce, undisturbed
from netsim.protocols.mailbox import LOST, NOTHING, Mailbox, put_all
from netsim.protocols.node import Update, local_update
from netsim.protocols.open_rounds import OpenRounds
from netsim.protocols.protocol import Protocol
from netsim.protocols.survival import Survival
from netsim.world.devices.device import Device, first_of

if TYPE_CHECKING:
    from netsim.world.radio.volley import Volley

Process = Generator[simpy.Event, Any, Any]


class DecentralizedRounds(Protocol):
    """Each device trains, sends to its neighbours, waits for their messages (or for a deadline), and combines.

    Without a deadline there is no common end of a round. A device starts its next round as soon as all its neighbours'
    messages have arrived and all its own are sent. So neighbours are at most one round apart.

    With ``deadline_s`` a round ends at a fixed time. Unfinished work is then discarded, and a device combines the
    messages that have arrived. On the ``shared`` schedule, round t of every device lasts from (t - 1) ``deadline_s`` to
    t ``deadline_s``; a device that is done early waits. On its ``own`` schedule, a device ends its round ``deadline_s``
    after it began it, or as soon as it is done; then devices may be in different rounds. Work that ends exactly at the
    deadline is done in time.

    Transfers are cut off at their sender's deadline, and a message that arrives when its round is over is dropped. With
    ``late: keep`` a transfer may go on for one more round, at the same time as the transfers of that round. A late
    message is combined in the round in which it arrives, unless a newer one of the same sender has arrived there.

    Where devices move, neighbours of a round are those that :class:`~netsim.protocols.company.Company` says. They stay
    so for the round; a message whose link has gone is lost, and nobody waits for it any longer.

    A policy may choose the links of each round, as the first device begins it. Devices that are not linked in a round
    do not wait for each other, so they may get more than a round apart.

    A device that dies or leaves ends its round then, and nobody waits for it. One that returns has its old state, and
    takes part from the next round on that nobody has begun, on a shared schedule as that round begins.
    """

    ends_early = True

    thins = True

    class Options(Options):
        """Block ``protocol`` with name ``decentralized_rounds``."""

        deadline_s: float | None = Field(
            None,
            gt=0,
            description="length of a round, after which unfinished work is discarded [s]; null: no limit, a device "
            "waits for its slowest neighbour",
        )
        schedule: Literal["shared", "own"] = Field(
            "shared",
            description="with a deadline: all devices begin round t at (t - 1) deadline_s (shared), or each begins its "
            "next round as soon as it has ended the last one (own)",
        )
        late: Literal["drop", "keep"] = Field(
            "drop",
            description="with a deadline: a message that has not arrived by then is cut off (drop), or may arrive in "
            "the next round and is used there (keep)",
        )

    options: DecentralizedRounds.Options

    @classmethod
    def check(cls, options: Any, learner: Learner | None, device_count: int) -> None:
        """Check that options about a deadline come with one, and that the learner can use late messages.

        Raises:
            ScenarioError: They do not, or it cannot; names the key.
        """
        for key, value in (("schedule", "own"), ("late", "keep")):
            if options.deadline_s is None and getattr(options, key) == value:
                raise ScenarioError(
                    f"protocol.{key}: {value!r} needs a deadline; set protocol.deadline_s, or leave protocol.{key} out"
                )
        if learner is not None and options.late == "keep" and not learner.takes_late:
            raise ScenarioError(
                "protocol.late: 'keep' cannot be used with this learner, which cannot use messages of earlier "
                f"rounds{because_of(learner)}; use drop"
            )

    def start(self) -> simpy.Event:
        """Start one process for each device, or one for all; return the event at which all have ended."""
        env = self.network.env
        for device in self.network.devices:
            self.states[device.number] = self.learner.first(self.work, device.number).state
        at_once = self.options.deadline_s is None and self.over is None and self.decisions is None
        if at_once and undisturbed(self.network, self.learner):
            rounds = RoundsAtOnce(
                self.network, self.learner, self.work, self.rounds, self.states, self.ledger, self.observer
            )
            return env.process(rounds.life())
        self._keeps_late = self.options.deadline_s is not None and self.options.late == "keep"
        self._mailboxes = [Mailbox(env, self._keeps_late) for _ in self.network.devices]
        self._last_begun = env.event()
        self._next: dict[int, int] = {}  # round in which a device that is back takes part, by device
        self._shared: dict[int, simpy.Event] = {}  # deadlines, by round
        count = len(self.network.devices)
        self._open = OpenRounds(env, self.work, self.rounds, count, self._forget, lambda: self.is_over)
        self._delivered = [0] * len(self.network.devices)  # messages, since the sender's round began
        self._company = Company(count)
        self._roster = self._company.roster
        self._coordination = Coordination(self.network, self.learner, self.work, self._roster, self.over)
        self._plans: dict[int, Any] = {}  # decisions of the cluster head
        self._survival = Survival(self.network)
        for device in self.network.devices:
            self.heed(device)
        return env.all_of([env.process(self._life(device)) for device in self.network.devices])

    def _life(self, device: Device) -> Process:
        """Simulate all rounds of one device (a SimPy process)."""
        sending: list[simpy.Process] = []
        t = 1
        while t <= self.rounds and not self.is_over:
            if self.decisions is not None:
                yield self._last_of_this_moment()
            if not device.alive:
                self._open.give_up(t)
                t = yield from self._absence(device)
                continue
            self._begin(t)
            before = self.states[device.number]
            last = yield from self._round(device, t)
            sending = [process for process in (*sending, last) if process is not None and process.is_alive]
            if self.is_over:
                self.states[device.number] = before
                break
            if device.alive:
                self._open.complete(t)
                t += 1
        device.sleep()
        if sending:
            yield self.network.env.all_of(sending)

    def _or_over(self, limit: simpy.Event | None) -> simpy.Event | None:
        """Return an event at ``limit``, or at the early end of the run if that is before.

        It is no condition of SimPy, which would no longer be updated once another one that it is in has happened.
        """
        if self.over is None or limit is None:
            return limit or self.over
        either = self.network.env.event()

        def happen(_: simpy.Event) -> None:
            if not either.triggered:
                either.succeed()

        for one in (limit, self.over):
            assert one.callbacks is not None, "neither is over as a round begins"
            one.callbacks.append(happen)
        return either

    def _begin(self, t: int) -> None:
        """Note that a device begins round ``t``; when the last round has begun, who is not there need not return."""
        self._roster.begun = max(self._roster.begun, t)
        if self._roster.begun == self.rounds and not self._last_begun.triggered:
            self._last_begun.succeed()

    def _absence(self, device: Device) -> Process:
        """Wait until ``device`` takes part again (a SimPy process); return the round, or one after the last."""
        k = device.number
        while not device.alive:
            if not device.may_return or self._last_begun.triggered or self.is_over:
                return self.rounds + 1
            yield first_of(device.back, self._last_begun, *([self.over] if self.over else []))
        t = self._next[k]
        self._open.join(t)
        if t <= self.rounds and self.options.schedule == "shared" and (start := self._deadline(t - 1)):
            yield first_of(start, *device.endings(self.over))
        if device.alive:
            self._mailboxes[k].close(t - 1)
            self.ledger.outside(device)
        return t

    def gone(self, device: Device) -> None:
        """Note that ``device`` goes, and wake those that wait for its messages."""
        super().gone(device)
        self._roster.gone(device)
        moves = self.network.motion is not None
        for n in range(len(self._mailboxes)) if moves else sorted(self.network.graph[device.number]):
            self._mailboxes[n].poke()
        self._coordination.look_again(device)

    def back(self, device: Device) -> None:
        """Note that ``device`` returns, and find the round in which it takes part again."""
        super().back(device)
        if device.alive:
            length_s = self.options.deadline_s if self.options.schedule == "shared" else None
            running = 0 if length_s is None else math.floor(self.network.env.now / length_s) + 1
            self._next[device.number] = self._roster.back(device, running + 1 if running else 1)

    def _linked(self, k: int, t: int) -> Sequence[int]:
        """Return whom device ``k`` can exchange messages with in round ``t``."""
        near: Sequence[int] = self.network.neighbours[k]
        return near if self.decisions is None else self.decisions.near(k, t, near)

    def _last_of_this_moment(self) -> simpy.Event:
        """Return an event after all else that happens now, so that policies know of all rounds that have ended."""
        event = self.network.env.event()
        succeed_at(event, self.network.env.now, priority=LAST)
        return event

    def _deadline(self, t: int, rounds: int = 1) -> simpy.Event | None:
        """Return the event at the deadline of round ``t``, which begins now; None without deadlines.

        With ``rounds`` it is the end of that many rounds from ``t`` on, but at most of the last round of the run.
        """
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
        """Simulate one round of one device (a SimPy process): DMML-KD's Algorithms 1 and 3, as the device sees them.

        Return the process of transfers that go on after the round; None if there is none.
        """
        env, learner, work, k = self.network.env, self.learner, self.work, device.number
        begin_s = env.now
        limit = self._deadline(t)
        stop = self._or_over(limit)
        sending_stop = self._or_over(self._deadline(t, 2)) if self._keeps_late else stop
        met = self._linked(k, t)
        neighbours = self._roster.taking_part(self.network.living(met), t)
        if self.network.motion is not None:
            met = self._company.begin(k, t, neighbours, begin_s)
            neighbours = self._roster.taking_part(self.network.living(met), t)
        if not met:
            self.network.alone.add(k)

        # Local update: its inputs are fixed now, its result is used when the simulated computation ends.
        slowdown = self.network.stragglers.factor(k, t)
        update: Update = yield from local_update(
            learner,
            work,
            device,
            t,
            self.states[k],
            peers=neighbours,
            budget=self.network.budget(device, neighbours=neighbours),
            plan=self._plans.pop(k, None),
            slowdown=slowdown,
            stop=stop,
        )
        if update.done:
            self.states[k] = update.step.state
            work.measure(k, t, env.now, update.step.metrics)

        # Exchange.
        there = self._roster.taking_part(self.network.living(neighbours), t)
        messages = learner.messages(k, t, there) if update.done else ()
        sending = self._send_all(device, t, messages, neighbours, update, sending_stop)
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
        if self.is_over:
            return going_on
        post = self._mailboxes[k].close(t)
        if device.alive:
            if self.network.motion is not None:
                learner.meets(k, t, self._company.around(k, t))
            elif self.decisions is not None and self.decisions.thins:
                learner.meets(k, t, {n: self._linked(n, t) for n in (k, *met)})
            step = learner.aggregate(work, k, t, self.states[k], post.arrived)
            self.states[k] = step.state
            work.measure(k, t, env.now, step.metrics)
            work.measure(k, t, env.now, learner.evaluate(work, k, t, step.state))
            if learner.coordinated and t < self.rounds:
                self._plans[k] = yield from self._coordination.take_part(device, t, step.state)
        if self.options.schedule == "shared" and limit is not None and not limit.processed and device.alive:
            device.sleep()
            yield first_of(limit, *device.endings(self.over))
            device.sleep(False)
        if self.is_over:
            return going_on

        delivered, self._delivered[k] = self._delivered[k], 0
        cut_off = not update.done or "cut_off" in outcomes
        self.observer.on_round_end(
            RoundRow(
                t,
                k,
                self.ledger.outcome(device, "cut_off" if cut_off else "finished"),
                begin_s,
                env.now,
                update.end_s,
                *self.ledger.take(device, t),
                battery_j=device.battery.remaining_j,
                flops=update.cost.total_flops,
                slowdown=slowdown,
                sent=delivered,
                received=len(post.arrived),
                missed=len(neighbours) - post.in_time - post.silent,
                late=post.late,
            ),
            update.cost.iterations,
        )
        return going_on

    def _send_all(
        self,
        device: Device,
        t: int,
        messages: Sequence[Message],
        neighbours: Sequence[int],
        update: Update,
        stop: simpy.Event | None,
    ) -> Process:
        """Send all messages at the same time (a SimPy process); return their outcomes.

        Neighbours that get no message are told so.
        """
        env, k, mailboxes = self.network.env, device.number, self._mailboxes
        if sum(len(message.receivers) for message in messages) < len(neighbours):
            receivers = {n for message in messages for n in message.receivers}
            for n in neighbours:
                if n not in receivers:
                    mailboxes[n].put(t, k, NOTHING if update.done else LOST, env.now)
        answers: dict[int, bool] | None = {} if self.learner.hears_acknowledgements else None

        def tell(receivers: Sequence[int], ends_s: Sequence[float], delivered: Sequence[bool]) -> None:
            outbox = update.step.outbox
            payloads = [outbox if arrives else LOST for arrives in delivered]
            put_all(map(mailboxes.__getitem__, receivers), t, k, payloads, ends_s)
            self._delivered[k] += delivered.count(True)

        def send(message: Message) -> Process:
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
        volley = self._foresee(device, t, messages, stop) if messages else None
        if volley is not None:
            outcomes = yield from volley.send("model", tell, answers)
        elif messages:
            processes = [env.process(send(message)) for message in messages[1:]]
            found = yield from send(messages[0])
            outcomes += found or []
            if processes:
                yield env.all_of(processes)
                outcomes += [outcome for process in processes for outcome in process.value or []]
        if answers and device.alive:
            self.learner.acknowledged(k, t, {n: answers[n] for n in sorted(answers)})
        return outcomes

    def _foresee(
        self, device: Device, t: int, messages: Sequence[Message], stop: simpy.Event | None
    ) -> Volley | None:
        """Compute what ``device`` sends in round ``t`` if nothing can disturb it.

        Until a neighbour has the message of round ``t``, it is in that round or in the one before.
        """
        if stop is not None or self.learner.coordinated:
            return None

        return self._survival.volley(device, messages, t)

    def _gather(self, device: Device, t: int, neighbours: Sequence[int], stop: simpy.Event | None) -> Process:
        """Wait until each neighbour is heard or gone, or until ``stop`` (a SimPy process)."""
        mailbox = self._mailboxes[device.number]
        while device.alive and not (stop and stop.processed):
            complete = mailbox.complete(t, self._roster.taking_part(self.network.living(neighbours), t))
            if complete is None:
                return
            yield first_of(complete, *device.endings(stop))
            if complete.processed and complete.value:
                return

    def _forget(self, t: int) -> None:
        """Forget a round that all devices have left."""
        self._shared.pop(t, None)
        self._company.close(t)
