"""Decentralized rounds that nothing can disturb: computed at once, a round of all devices after the other."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import simpy

from netsim.core.arrays import Floats, Whole
from netsim.core.clock import succeed_at
from netsim.events import Observer, RoundBatch, RoundRow
from netsim.learner import Learner
from netsim.protocols.everyone import Everyone
from netsim.protocols.ledger import Ledger
from netsim.work.graph import TaskGraph
from netsim.world.mesh import Exchange, Mesh
from netsim.world.mobility.motion import Motion
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
        and not radio.air.rate.lossy
        and not radio.air.acknowledgement_bits
    )


class _Round(NamedTuple):
    """A round of all devices whose end is not accounted for yet; sequences are by device.

    Attributes:
        number: The round.
        exchange: Its messages.
        times_s: Times at which it begins, ends, and at which computing ends [s].
        slowdown: Straggler factors.
        flops: FLOPs of each device's workload.
        iterations: Iterations of each, by modality.
    """

    number: int
    exchange: Exchange
    times_s: Sequence[Floats]
    slowdown: Floats
    flops: Floats
    iterations: Mapping[str, Whole]


class RoundsAtOnce:
    """All rounds of a network in which nothing can disturb them.

    The learner is asked round by round: for all devices' training, for their messages, and for what follows when these
    have arrived, each time in the order of simulated time. Rows are passed on in the order in which events make them.

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
        self.work = work
        self.rounds = rounds
        self.ledger = ledger
        self.observer = observer
        self._neighbours: Sequence[Sequence[int]] = [
            network.living_neighbours(device) for device in network.devices
        ]
        self._mesh = Mesh(network.radio, network.devices, self._neighbours, network.env.now)
        self._everyone = Everyone(network, learner, work, states, self._mesh)
        self._begun_s = np.full(len(network.devices), -np.inf)  # the round before, where devices move
        self._before = np.zeros((8, len(network.devices)))  # accounts
        self._ended: list[RoundBatch] = []  # to be reported, each by time
        self._open = dict.fromkeys(range(1, rounds + 1), len(network.devices))

    def life(self) -> Process:
        """Simulate all rounds, with an event each (a SimPy process)."""
        mesh, everyone, numbers = self._mesh, self._everyone, range(len(self.network.devices))
        before: _Round | None = None
        for t in range(1, self.rounds + 1):
            if self.network.motion is not None:
                self._neighbours = self._meet(self.network.motion)
                mesh.link(self._neighbours)
            near = self._neighbours
            self.network.alone.update(mesh.alone())
            begin_s, trained = mesh.begin_s, everyone.train(t, near)
            slowdown = np.array([self.network.stragglers.factor(k, t) for k in numbers])
            ready_s, order = mesh.compute(trained.flops, slowdown)
            exchange = mesh.exchange(t, everyone.messages(t, order, ready_s, near, trained.steps))
            if before:
                self._end(before, exchange.spent)
            yield from self._until(float(exchange.end_s.min()))
            everyone.aggregate(t, exchange, near, trained.steps)
            times_s = begin_s, exchange.end_s, ready_s
            before = _Round(t, exchange, times_s, slowdown, trained.flops, trained.iterations)
        account = mesh.account(mesh.begin_s)
        if before:
            self._end(before, account)
        end_s = float(mesh.begin_s.max())
        yield from self._until(end_s)
        self.ledger.settle(
            mesh.account(np.full_like(mesh.begin_s, end_s)) - account, mesh.begin_s, self.rounds
        )
        mesh.close()

    def _meet(self, motion: Motion) -> Sequence[Sequence[int]]:
        """Return the neighbours of each device in this round; see :class:`~netsim.protocols.company.Company`."""
        begin_s, count = self._mesh.begin_s, len(self.network.devices)
        updates = motion.updates(begin_s)
        met = [np.empty((0, 2), dtype=np.int64)]
        for update in np.unique(updates).tolist():
            ends = motion.topology(update).distance_m.ends
            met.append(ends[updates[ends].min(axis=1) == update])
        ends = np.concatenate(met)
        later = ends[np.arange(len(ends)), begin_s[ends].argmax(axis=1)]
        ends = ends[self._begun_s[later] < begin_s[ends].min(axis=1)]
        self._begun_s = begin_s
        both = np.concatenate([ends, ends[:, ::-1]])
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        first = np.searchsorted(both[:, 0], np.arange(count + 1)).tolist()
        listed = both[:, 1].tolist()
        return [listed[since:until] for since, until in pairwise(first)]

    def _end(self, round: _Round, account: Floats) -> None:
        """Keep the rows of a round at whose end devices had spent ``account`` [8, devices]."""
        exchange, order = round.exchange, round.exchange.order
        spent, self._before = account - self._before, account
        numbers = np.full_like(order, round.number), np.arange(len(order))
        last: list[Any] = [math.inf, round.flops, round.slowdown]
        columns = [*numbers, "finished", *round.times_s, *spent, *last, *exchange.counts]
        ended = RoundBatch(RoundRow(*columns), len(order), round.iterations).at(order)
        self._ended.append(ended)

    def _until(self, time_s: float) -> Process:
        """Let the clock go on to ``time_s`` [s], and report what has ended by then (a SimPy process)."""
        then = self.network.env.event()
        succeed_at(then, time_s)
        yield then
        self._mesh.report(time_s)
        by_round, left = [], []
        for one in self._ended:
            count = int(np.searchsorted(one.columns.end_s, time_s, side="right"))
            if count:
                by_round.append(one.at(slice(count)))
                one = one.at(np.arange(count, one.count))
            if one.count:
                left.append(one)
        self._ended = left
        if by_round:
            ended = reduce(RoundBatch.followed_by, by_round)
            self._tell(ended.at(np.argsort(ended.columns.end_s, kind="stable")))

    def _tell(self, ended: RoundBatch) -> None:
        """Pass ended rounds on to the observers; close each round after the last device to end it."""
        of_round, end_s, since = ended.columns.round, ended.columns.end_s, 0
        for t, count in zip(*np.unique(of_round, return_counts=True), strict=True):
            self._open[t] -= count
        for t in [t for t, left in self._open.items() if not left]:
            last = int(np.flatnonzero(of_round == t)[-1])
            self.observer.on_rounds(ended.at(slice(since, last + 1)))
            self.work.close(t, float(end_s[last]))
            del self._open[t]
            since = last + 1
        if since < ended.count:
            self.observer.on_rounds(ended.at(slice(since, None)))
