"""Gossip in which nobody waits: train, send, mix what has arrived, begin anew."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Generator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import simpy
from pydantic import Field

from netsim.core.clock import deadline
from netsim.core.errors import ScenarioError
from netsim.core.staleness import Staleness, StalenessOptions
from netsim.core.streams import stream
from netsim.events import RoundRow
from netsim.learner import Learner, Message, Metric, Step, because_of
from netsim.protocols.node import Update, local_update
from netsim.protocols.open_rounds import OpenRounds
from netsim.protocols.protocol import Protocol
from netsim.world.devices.device import Device, first_of

Process = Generator[simpy.Event, Any, Any]


class Letter(NamedTuple):
    """A message to a device.

    Attributes:
        since_s: Time at which its sender began to train it [s].
        at_s: Time of its arrival [s].
        outbox: Its content.
    """

    since_s: float
    at_s: float
    outbox: Any


class AsynchronousGossip(Protocol):
    """Each device trains, sends, mixes what has arrived since its last round, and begins anew; nobody waits.

    Training goes on while messages are on the air. A neighbour to whom the last message is still on its way is not sent
    another one in that round. Of several messages of one sender the newest is mixed. What arrives in the very moment of
    mixing is mixed the next time.

    A message says when its sender began to train it. Its *staleness* is how many rounds the receiver has ended since
    then, as in asynchronous SGD; the staler it is, the less it counts (AD-PSGD, Lian et al. 2018, mixes without such a
    factor; the factors are those of FedAsync, Xie et al. 2019, Section 5.2). So a message of an equally fast neighbour
    mostly has staleness 1, and one of a neighbour that is eight times slower 8.

    Where devices move, a device sends to those that are near when it has trained, and mixes with weights of those that
    are near then and of those whose messages it has.

    The run ends when each device has ended its rounds and its messages have arrived, or at ``duration_s``: what is not
    done then is cut off.
    """

    class Options(StalenessOptions):
        """Block ``protocol`` with name ``asynchronous_gossip``."""

        peers: int | None = Field(
            None,
            ge=1,
            description="neighbours that a device sends to after a round, drawn anew; null: all of them",
        )
        duration_s: float | None = Field(
            None,
            gt=0,
            description="end of the run, should rounds be left by then [s]; null: it ends after all rounds",
        )
        staleness: Staleness = Field(
            "constant",
            description="how much less a model counts for each round that its receiver has ended meanwhile",
        )

    METRICS: ClassVar[Mapping[str, str]] = {
        "staleness": "rounds that a device had ended since what it mixed began to be trained, mean over the messages"
    }
    options: AsynchronousGossip.Options

    @classmethod
    def check(cls, options: Any, learner: Learner | None, device_count: int) -> None:
        """Check that the learner can do without common rounds, and can weigh messages if that is asked for.

        Raises:
            ScenarioError: It cannot; names the key.
        """
        if learner is None:
            return
        if learner.coordinated or not learner.takes_late:
            head = "a cluster head coordinates it"
            late = f"it cannot use messages of other rounds{because_of(learner)}"
            raise ScenarioError(
                "protocol: asynchronous_gossip cannot be used with this learner, for "
                f"{head if learner.coordinated else late}; use decentralized_rounds"
            )
        if options.staleness != "constant" and not learner.weighs_messages:
            raise ScenarioError(
                f"protocol.staleness: {options.staleness!r} cannot be used with this learner, which does not weigh "
                "messages (Learner.aggregate_weighed); use constant"
            )

    def start(self) -> simpy.Event:
        """Start one process for each device; return the event at which all have ended."""
        env, devices = self.network.env, self.network.devices
        duration_s = self.options.duration_s
        self._stop = None if duration_s is None else deadline(env, duration_s)
        self._inbox: list[dict[int, list[Letter]]] = [{} for _ in devices]
        self._ended_s: list[list[float]] = [[] for _ in devices]  # rounds of a device
        self._arrives_s: list[dict[int, float]] = [
            {} for _ in devices
        ]  # of a device's last message, by receiver
        self._delivered_s: list[list[float]] = [[] for _ in devices]  # of a device's messages not counted yet
        self._open = OpenRounds(env, self.work, self.rounds, len(devices))
        for device in devices:
            self.heed(device)
            self.states[device.number] = self.learner.first(self.work, device.number).state
        return env.all_of([env.process(self._life(device)) for device in devices])

    def _life(self, device: Device) -> Process:
        """Simulate all rounds of one device, and wait for its last messages (a SimPy process)."""
        on_air: list[simpy.Process] = []
        stop, t = self._stop, 1
        while t <= self.rounds:
            if not device.alive and device.may_return and not (stop and stop.processed):
                yield first_of(device.back, *([stop] if stop else []))
                continue
            if not device.alive or (stop and stop.processed):
                self._open.give_up(t)
                break
            self.ledger.catch_up(device)
            on_air = [one for one in on_air if one.is_alive]
            if (yield from self._round(device, t, on_air)):
                self._open.complete(t)
            else:
                self._open.leave(t)
            t += 1
        if on_air:
            yield self.network.env.all_of(on_air)

    def _round(self, device: Device, t: int, on_air: list[simpy.Process]) -> Process:
        """Simulate one round of one device (a SimPy process); return whether it was completed."""
        env, learner, work, k = self.network.env, self.learner, self.work, device.number
        begin_s, slowdown = env.now, self.network.stragglers.factor(k, t)
        neighbours = self.network.living_neighbours(device)
        if not self.network.neighbours[k]:
            self.network.alone.add(k)
        update: Update = yield from local_update(
            learner,
            work,
            device,
            t,
            self.states[k],
            peers=neighbours,
            budget=self.network.budget(device, neighbours=neighbours),
            slowdown=slowdown,
            stop=self._stop,
        )
        arrived: Mapping[int, Letter] = {}
        staleness: Mapping[int, int] = {}
        if update.done:
            self.states[k] = update.step.state
            work.measure(k, t, env.now, update.step.metrics)
            for message in learner.messages(k, t, self._receivers(device, t)):
                on_air.append(env.process(self._send(device, t, message, begin_s, update.step.outbox)))
            arrived, ended_s = self._take_in(k), self._ended_s[k]
            staleness = {
                sender: len(ended_s) - bisect_right(ended_s, one.since_s) for sender, one in arrived.items()
            }
            ended_s.append(env.now)
            if self.network.motion is not None:
                learner.meets(k, t, self._around(k, arrived))
            step = self._mix(k, t, arrived, staleness)
            self.states[k] = step.state
            work.measure(k, t, env.now, step.metrics)
            work.measure(k, t, env.now, learner.evaluate(work, k, t, step.state))
        if staleness:
            mean = sum(staleness.values()) / len(staleness)
            work.measure(k, t, env.now, [Metric("staleness", mean)])
        delivered_s = self._delivered_s[k]
        self._delivered_s[k] = [at_s for at_s in delivered_s if at_s > env.now]
        self.observer.on_round_end(
            RoundRow(
                t,
                k,
                "finished" if update.done else self.ledger.outcome(device, "cut_off"),
                begin_s,
                env.now,
                update.end_s,
                *self.ledger.take(device, t),
                battery_j=device.battery.remaining_j,
                flops=update.cost.total_flops,
                slowdown=slowdown,
                sent=len(delivered_s) - len(self._delivered_s[k]),
                received=len(arrived),
                missed=0,
            ),
            update.cost.iterations,
        )
        return update.done

    def _receivers(self, device: Device, t: int) -> Sequence[int]:
        """Return whom ``device`` sends to now: living neighbours that no earlier message of it is on its way to."""
        now, arrives_s = self.network.env.now, self._arrives_s[device.number]
        free = [n for n in self.network.living_neighbours(device) if arrives_s.get(n, now) <= now]
        if self.options.peers is None or self.options.peers >= len(free):
            return free
        draw = stream(self.learner.setup.seed, "gossip", device.number, t)
        return sorted(draw.choice(free, self.options.peers, replace=False).tolist())

    def _send(self, device: Device, t: int, message: Message, since_s: float, outbox: Any) -> Process:
        """Send one message, trained since ``since_s`` [s], to its receivers (a SimPy process)."""
        k, arrives_s = device.number, self._arrives_s[device.number]
        answers: dict[int, bool] | None = {} if self.learner.hears_acknowledgements else None

        def tell(receivers: Sequence[int], ends_s: Sequence[float], delivered: Sequence[bool]) -> None:
            for n, at_s, arrives in zip(receivers, ends_s, delivered, strict=True):
                arrives_s[n] = at_s
                if arrives:
                    there, coming = self._letters(n, k)
                    self._inbox[n][k] = [*there[-1:], *coming, Letter(since_s, at_s, outbox)]
                    self._delivered_s[k].append(at_s)

        yield from self.network.radio.send_all(
            device,
            message.receivers,
            self.network.devices,
            message.size_bits,
            t,
            "model",
            self._stop,
            tell,
            answers,
        )
        if answers and device.alive:
            self.learner.acknowledged(k, t, {n: answers[n] for n in sorted(answers)})

    def _take_in(self, k: int) -> Mapping[int, Letter]:
        """Return the newest letter of each sender that had arrived before this moment; leave those on their way."""
        arrived = {}
        for sender in sorted(self._inbox[k]):
            there, self._inbox[k][sender] = self._letters(k, sender)
            if there:
                arrived[sender] = there[-1]
        return arrived

    def _letters(self, k: int, sender: int) -> tuple[list[Letter], list[Letter]]:
        """Return the letters from ``sender`` to ``k``: those that had arrived before this moment, and the others."""
        now, letters = self.network.env.now, self._inbox[k].get(sender, [])
        there = [letter for letter in letters if letter.at_s < now]
        return there, letters[len(there) :]

    def _around(self, k: int, arrived: Collection[int]) -> Mapping[int, Sequence[int]]:
        """Return who is near ``k`` now or was when its message ``arrived``, and who is near each of these."""
        near = self.network.neighbours
        own = sorted({*near[k], *arrived})
        return {k: own} | {n: sorted({k, *near[n]}) for n in own}

    def _mix(self, k: int, t: int, letters: Mapping[int, Letter], staleness: Mapping[int, int]) -> Step:
        """Order the aggregation of what ``letters`` contain, weighed by their staleness."""
        arrived = {sender: letter.outbox for sender, letter in letters.items()}
        factors = {
            sender: self.options.factor(late)
            for sender, late in staleness.items()
            if late and self.options.staleness != "constant"
        }
        if not factors:
            return self.learner.aggregate(self.work, k, t, self.states[k], arrived)
        return self.learner.aggregate_weighed(self.work, k, t, self.states[k], arrived, factors)
