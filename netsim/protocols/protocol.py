"""Base class of protocols, which say in which order nodes train, send and wait for each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import simpy

from netsim.core.options import NoOptions, Options
from netsim.events import Observer
from netsim.learner import Learner
from netsim.protocols.decisions import Decisions
from netsim.protocols.ledger import Ledger
from netsim.work.graph import TaskGraph
from netsim.world.devices.device import Device
from netsim.world.network import Network
from netsim.world.topology.placement import Positions


class Protocol(ABC):
    """Runs the rounds of a network's nodes: training, sending, waiting and combining.

    Attributes:
        Options: The model of the scenario's ``protocol`` block.
        FAMILY: Kind of learners that it works with, see ``Learner.SUITS``: ``decentralized``, ``server``,
            ``asynchronous`` or ``hierarchical``.
        METRICS: Every metric that the protocol emits besides the learner's, with a line of explanation each.
        needs_server: Whether devices learn through an edge server.
        ends_early: Whether it ends where :attr:`over` is triggered: after that nobody begins a round, and what is under
            way is cut off.
        over: Event that is triggered while a round is closed, if that is the last; None if the scenario has no target.
        has_cloud: Whether there is a cloud above the edge servers; the options then have ``backhaul`` and ``cloud``.
        thins: Whether policies can choose the links of its rounds.
        decisions: What policies decide; None if the scenario has none.
        states: The current state of each node, by number.
        ledger: Times and energies that are not recorded yet. Each row of a round takes its part from there, and the
            rest is recorded in rows of its own.
    """

    Options: ClassVar[type[Options]] = NoOptions
    FAMILY: ClassVar[str] = "decentralized"
    METRICS: ClassVar[Mapping[str, str]] = {}
    needs_server: ClassVar[bool] = False
    ends_early: ClassVar[bool] = False
    over: simpy.Event | None = None
    thins: ClassVar[bool] = False
    decisions: Decisions | None = None
    has_cloud: ClassVar[bool] = False

    def __init__(
        self,
        options: Any,
        network: Network,
        learner: Learner,
        work: TaskGraph,
        rounds: int,
        observer: Observer,
    ) -> None:
        self.options = options
        self.network = network
        self.learner = learner
        self.work = work
        self.rounds = rounds
        self.observer = observer
        self.states: dict[int, Any] = {}
        self.ledger = Ledger(network, observer)

    def heed(self, device: Device) -> None:
        """Let :meth:`gone` and :meth:`back` be called when ``device`` goes and returns."""
        device.on_going.append(self.gone)
        device.on_return.append(self.back)

    def gone(self, device: Device) -> None:
        """Note that ``device`` goes, and report its death if it dies."""
        if device.meter.dead:
            self.observer.on_death(device.number, self.network.env.now)

    def back(self, device: Device) -> None:
        """Note that ``device`` returns, or that it never will."""
        if device.alive and device.reason == "died":
            self.observer.on_revival(device.number, self.network.env.now)

    @classmethod  # noqa: B027 (a hook)
    def check(cls, options: Any, learner: Learner | None, device_count: int) -> None:
        """Check that ``options`` can be met with ``device_count`` devices and, once it is built, with ``learner``.

        Raises:
            ScenarioError: They cannot be met; names the key.
        """

    @property
    def is_over(self) -> bool:
        """Return whether the run is to end now."""
        return self.over is not None and self.over.triggered

    @classmethod
    def server_count(cls, options: Any) -> int:
        """Return the number of edge servers."""
        return int(cls.needs_server)

    @classmethod
    def servers_m(cls, options: Any, devices_m: Positions, server_m: tuple[float, float]) -> Positions:
        """Return where the edge servers are: one at ``server_m``, the scenario's, unless a protocol says otherwise.

        Args:
            options: The protocol's block.
            devices_m: Positions of the devices [m], shape [devices, 2].
            server_m: The scenario's ``server.position_m`` [m].

        Returns:
            Positions [m], shape [servers, 2].
        """
        return np.array([server_m])

    @abstractmethod
    def start(self) -> simpy.Event:
        """Start the simulation processes, and return the event at which the run ends."""
