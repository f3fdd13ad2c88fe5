"""Decentralized rounds that nothing can disturb: computed at once, a round of all devices after the other."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Generator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import simpy

from netsim.core.clock import succeed_at
from netsim.events import Observer, RoundRow
from netsim.learner import Learner, Message
from netsim.protocols.ledger import Ledger
from netsim.protocols.node import Update, order_update
from netsim.work.graph import TaskGraph
from netsim.world.devices.meter import Account
from netsim.world.mesh import Exchange, Floats, Mesh
from netsim.world.network import Network

Process = Generator[simpy.Event, Any, Any]


def undisturbed(network: Network, learner: Learner) -> bool:
    """Return whether nothing can disturb rounds without a deadline in ``network``."""
    radio = network.radio
    return (
        not learner.coordinated
        and all(device.unlimited is not None for device in network.devices)
        and radio.access.dedicated
        and radio.channel.steady
        and not radio.air.acknowledgement_bits
    )


class RoundsAtOnce:
    """All rounds of a network in which nothing can disturb them.

    The learner is asked round by round: all devices for their training, for their messages, and for what follows when
    these have arrived, each time in the order of simulated time. Rows of rounds and transfers are passed on in the order
    in which events would make them.

    Args:
        network: Devices, links and clock.
        learner: The algorithm.
        work: The task graph.
        rounds: Number of rounds.
        states: State of each node, by number; kept up to date.
        ledger: Takes over what was spent when the last round has ended.
        observer: Receives the rows.
    """

    def __init__(
        self,
        network: Network,
        learner: Learner,
        work: TaskGraph,
        rounds: int,
        states: dict[int, Any],
        ledger: Ledger,
        observer: Observer,
    ) -> None:
        self.network = network
        self.learner = learner
        self.work = work
        self.rounds = rounds
        self.states = states
        self.ledger = ledger
        self.observer = observer
        self._neighbours = [network.living_neighbours(device) for device in network.devices]
        self._mesh = Mesh(network.radio, network.devices, self._neighbours, network.env.now)
        self._before = np.zeros((8, len(network.devices)))  # accounts
        self._ended: list[tuple[RoundRow, Mapping[str, int]]] = []  # to be reported, by time
        self._open = dict.fromkeys(range(1, rounds + 1), len(network.devices))

    def life(self) -> Process:
        """Simulate all rounds, with an event each (a SimPy process)."""
        mesh = self._mesh
        for t in range(1, self.rounds + 1):
            begin_s = mesh.begin_s
            updates, slowdown = self._train(t)
            flops = [update.cost.total_flops for update in updates]
            ready_s, order = mesh.compute(flops, slowdown)
            exchange = mesh.exchange(t, self._messages(t, updates, ready_s.tolist(), order.tolist()))
            if t > 1:
                self._end(*ended, exchange.spent)
            yield from self._until(float(exchange.end_s.min()))
            self._aggregate(t, updates, exchange)
            times_s = (begin_s, exchange.end_s, ready_s)
            ended = (t, exchange, times_s, updates, slowdown)
        account = mesh.account()
        self._end(*ended, account)
        yield from self._until(float(mesh.begin_s.max()))
        mesh.close()
        for device, end_s, *spent in zip(
            self.network.devices, mesh.begin_s.tolist(), *account.tolist(), strict=True
        ):
            self.ledger.turn(device, Account(*spent), end_s, self.rounds)

    def _train(self, t: int) -> tuple[list[Update], list[float]]:
        """Ask for each device's local update; return the updates and the straggler factors."""
        network, slowdown = self.network, [1.0] * len(self.network.devices)
        updates = [Update()] * len(slowdown)
        for k in self._mesh.order.tolist():
            slowdown[k] = network.stragglers.factor(k, t)
            updates[k] = order_update(
                self.learner,
                self.work,
                k,
                t,
                self.states[k],
                peers=self._neighbours[k],
                budget=network.budget(network.devices[k]),
            )
        return updates, slowdown

    def _messages(
        self, t: int, updates: Sequence[Update], ready_s: Sequence[float], order: Sequence[int]
    ) -> Sequence[Sequence[Message]]:
        """Ask for each device's messages."""
        messages: list[Sequence[Message]] = [()] * len(order)
        for k in order:
            step = updates[k].step
            self.states[k] = step.state
            self.work.measure(k, t, ready_s[k], step.metrics)
            messages[k] = self.learner.messages(k, t, self._neighbours[k])
        return messages

    def _aggregate(self, t: int, updates: Sequence[Update], exchange: Exchange) -> None:
        """Ask for each device's aggregation of what it has heard, and for its evaluation."""
        learner, work, states = self.learner, self.work, self.states
        outbox = [update.step.outbox for update in updates]
        heard: Sequence[Sequence[int]] = self._neighbours
        if not exchange.arrives.all():
            heard = self._mesh.heard(exchange)
        end_s = exchange.end_s.tolist()
        for k in exchange.order.tolist():
            if learner.hears_acknowledgements and (answers := self._mesh.answers(exchange, k)):
                learner.acknowledged(k, t, answers)
            step = learner.aggregate(work, k, t, states[k], {n: outbox[n] for n in heard[k]})
            states[k] = step.state
            work.measure(k, t, end_s[k], step.metrics)
            work.measure(k, t, end_s[k], learner.evaluate(work, k, t, step.state))

    def _end(
        self,
        t: int,
        exchange: Exchange,
        times_s: Sequence[Floats],
        updates: Sequence[Update],
        slowdown: Sequence[float],
        account: Floats,
    ) -> None:
        """Keep the rows of round ``t``, at whose ends devices had spent ``account``."""
        order, mesh = exchange.order, self._mesh
        spent, self._before = account - self._before, account
        flops = [update.cost.total_flops for update in updates]
        floats = np.vstack([*times_s, spent, flops, slowdown])[:, order].tolist()
        counts = np.vstack(mesh.counts(exchange))[:, order].tolist()
        rows = zip(
            repeat(t),
            order.tolist(),
            repeat("finished"),
            *floats[:11],
            repeat(math.inf),
            *floats[11:],
            *counts,
            repeat(0),
        )
        iterations = [updates[k].cost.iterations for k in order.tolist()]
        self._ended += zip(map(RoundRow._make, rows), iterations, strict=True)
        self._ended.sort(key=lambda one: one[0].end_s)

    def _until(self, time_s: float) -> Process:
        """Let the clock go on to ``time_s`` [s], and report what has ended by then (a SimPy process)."""
        then = self.network.env.event()
        succeed_at(then, time_s)
        yield then
        self._mesh.report(time_s)
        number = bisect_right(self._ended, time_s, key=lambda one: one[0].end_s)
        for row, iterations in self._ended[:number]:
            self.observer.on_round_end(row, iterations)
            self._open[row.round] -= 1
            if not self._open[row.round]:
                self.work.close(row.round, row.end_s)
        del self._ended[:number]
