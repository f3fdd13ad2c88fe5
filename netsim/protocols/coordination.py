"""Coordination by a cluster head: reports to it and its decisions, sent over the devices' own links."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import simpy

from netsim.learner import Learner, Report
from netsim.protocols.roster import Roster
from netsim.work.graph import TaskGraph
from netsim.world.devices.device import Device, first_of
from netsim.world.network import Network

Process = Generator[simpy.Event, Any, Any]


@dataclass
class Meeting:
    """The state of the coordination after one round.

    Attributes:
        head: The cluster head of this round.
        head_gone: Event that the head is gone; it may be back, but not in this meeting.
        routes: Shortest path from the head to each device, over the devices alive when the head was elected.
        reports: Reports that have reached the head, by device.
        lost: Devices whose report was lost.
        answers: By device, an event whose value is the head's decision; None if the device gets none.
        decided: Whether the head has decided.
    """

    head: Device
    head_gone: simpy.Event
    routes: dict[int, list[int]]
    reports: dict[int, Any] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    answers: dict[int, simpy.Event] = field(default_factory=dict)
    decided: bool = False


class Coordination:
    """After each round every device reports to the cluster head and waits for its decision.

    The head is elected anew each round: the living device with most living neighbours, among equals the one with the
    lowest number. Messages go hop by hop along shortest paths, and cost time and energy like all messages; a message of
    zero bits is free. If the head dies or a message is lost, the devices concerned go on without a decision.
    """

    def __init__(
        self,
        network: Network,
        learner: Learner,
        work: TaskGraph,
        roster: Roster,
        over: simpy.Event | None = None,
    ) -> None:
        self._over = over  # cuts off what is under way
        self.network = network
        self._roster = roster
        self.learner = learner
        self.work = work
        self._meetings: dict[int, Meeting] = {}

    def take_part(self, device: Device, round: int, state: Any) -> Process:
        """Report, wait for the decision and return it (a SimPy process); return None if none arrives."""
        meeting = self._meetings.get(round) or self._convene(round)
        answer = meeting.answers[device.number] = self.network.env.event()
        report = self.learner.report(self.work, device.number, round, state, self.network.budget(device))
        route = meeting.routes.get(device.number, [])
        arrived = yield from self._relay(route[::-1], report, round, "report")
        if not device.alive:
            return None
        if arrived:
            meeting.reports[device.number] = report.payload
        else:
            meeting.lost.add(device.number)
            answer.succeed(None)
        self._decide_if_complete(round)
        yield first_of(answer, device.gone, meeting.head_gone, *([self._over] if self._over else []))
        return answer.value if answer.triggered else None

    def look_again(self, _: Device) -> None:
        """Check, after a device has gone, whether a head waited for its report only."""
        for round in sorted(self._meetings):
            self._decide_if_complete(round)

    def _convene(self, round: int) -> Meeting:
        graph = self.network.graph.subgraph(self._participants(round))
        head = min(graph, key=lambda n: (-graph.degree[n], n))
        # Neighbours are added in the order of their numbers, so that among equal paths the same one is always taken.
        ordered = nx.Graph()
        ordered.add_nodes_from(sorted(graph))
        ordered.add_edges_from(sorted(tuple(sorted(edge)) for edge in graph.edges))
        routes = nx.single_source_shortest_path(ordered, head)
        device = self.network.devices[head]
        meeting = self._meetings[round] = Meeting(device, device.gone, routes)
        return meeting

    def _participants(self, round: int) -> Sequence[int]:
        return self._roster.taking_part([d.number for d in self.network.devices if d.alive], round)

    def _decide_if_complete(self, round: int) -> None:
        meeting = self._meetings[round]
        living = set(self._participants(round))
        if meeting.decided or meeting.head_gone.triggered or living - meeting.reports.keys() - meeting.lost:
            return
        meeting.decided = True
        reports = {k: meeting.reports[k] for k in sorted(meeting.reports)}
        decisions, metrics = self.learner.decide(self.work, meeting.head.number, round, reports)
        self.work.measure(-1, round, self.network.env.now, metrics)
        for number in sorted(meeting.answers):
            if not meeting.answers[number].triggered:
                self.network.env.process(self._answer(meeting, number, decisions.get(number), round))

    def _answer(self, meeting: Meeting, number: int, decision: Report | None, round: int) -> Process:
        arrived = decision is not None and (
            yield from self._relay(meeting.routes[number], decision, round, "decision")
        )
        answer = meeting.answers[number]
        if not answer.triggered:
            answer.succeed(decision.payload if arrived and decision else None)

    def _relay(self, route: list[int], report: Report, round: int, kind: str) -> Process:
        """Send ``report`` along ``route``, hop by hop (a SimPy process); return whether it arrived."""
        devices = self.network.devices
        for a, b in itertools.pairwise(route):
            row = yield from self.network.radio.send(
                devices[a], devices[b], report.size_bits, round, kind, self._over
            )
            if row.outcome != "delivered":
                return False
        return bool(route)
