"""Reports to a cluster head and its decisions, over the network's own links."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import simpy

from netsim.learner import Learner, Report
from netsim.work.graph import TaskGraph
from netsim.world.devices.device import Device
from netsim.world.network import Network

Process = Generator[simpy.Event, Any, Any]


@dataclass
class Meeting:
    """The coordination after one round.

    Attributes:
        head: The cluster head of this round.
        routes: Shortest path from each device to the head, over the devices alive when it was elected.
        reports: What has reached the head, by device.
        lost: Devices whose report never will.
        answers: By device, the event that brings the head's decision (None: there will be none).
    """

    head: Device
    routes: dict[int, list[int]]
    reports: dict[int, Any] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    answers: dict[int, simpy.Event] = field(default_factory=dict)
    decided: bool = False


class Coordination:
    """After each round every device reports to the head, and waits for what the head makes of it.

    The head is the living device with most living neighbours (the lowest number among equals), elected anew each
    round. Messages go hop by hop along shortest paths and cost what messages cost; a message of no bits is free. If the
    head dies, or a message is lost on its way, the devices concerned go on without a decision.
    """

    def __init__(self, network: Network, learner: Learner, work: TaskGraph) -> None:
        self.network = network
        self.learner = learner
        self.work = work
        self._meetings: dict[int, Meeting] = {}

    def take_part(self, device: Device, round: int, state: Any) -> Process:
        """Process: report, wait for the decision, and return it; None if none arrives."""
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
        yield self.network.env.any_of([answer, device.died, meeting.head.died])
        return answer.value if answer.triggered else None

    def look_again(self, _: Device) -> None:
        """A device has died: a meeting may have been waiting for its report only."""
        for round in sorted(self._meetings):
            self._decide_if_complete(round)

    def _convene(self, round: int) -> Meeting:
        graph = self.network.living_graph()
        head = min(graph, key=lambda n: (-graph.degree[n], n))
        # Paths from the head outward: neighbours in the order of numbers, so that ties break the same way every time.
        ordered = nx.Graph()
        ordered.add_nodes_from(sorted(graph))
        ordered.add_edges_from(sorted(tuple(sorted(edge)) for edge in graph.edges))
        routes = nx.single_source_shortest_path(ordered, head)
        meeting = self._meetings[round] = Meeting(self.network.devices[head], routes)
        return meeting

    def _decide_if_complete(self, round: int) -> None:
        meeting = self._meetings[round]
        living = {d.number for d in self.network.devices if d.alive}
        if meeting.decided or not meeting.head.alive or living - meeting.reports.keys() - meeting.lost:
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
        """Process: carry ``report`` along ``route``, hop by hop; returns whether it got there."""
        devices = self.network.devices
        for a, b in itertools.pairwise(route):
            row = yield from self.network.radio.send(devices[a], devices[b], report.size_bits, round, kind)
            if row.outcome != "delivered":
                return False
        return bool(route)
