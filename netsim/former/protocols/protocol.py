"""Who waits for whom."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import simpy

from netsim.core.options import NoOptions, Options
from netsim.events import Observer
from netsim.former.backlog import Backlog
from netsim.former.learning import Learner
from netsim.protocols.ledger import Ledger
from netsim.world.network import Network


class Protocol(ABC):
    """Lets the devices of a network live their rounds.

    Attributes:
        Options: The model of the scenario's ``protocol`` block.
        needs_server: Whether devices learn through an edge server, over links of a star.
        ledger: What nodes spent that no row has yet; each row of a round takes its own from there, and what is left
            when the run ends gets rows of its own.
    """

    Options: ClassVar[type[Options]] = NoOptions
    needs_server: ClassVar[bool] = False

    def __init__(
        self,
        options: Any,
        network: Network,
        learner: Learner,
        work: Backlog,
        rounds: int,
        observer: Observer,
    ) -> None:
        self.options = options
        self.network = network
        self.learner = learner
        self.work = work
        self.rounds = rounds
        self.observer = observer
        self.ledger = Ledger(network, observer)

    @classmethod  # noqa: B027 (a hook)
    def check(cls, options: Any, learner: Learner | None, device_count: int) -> None:
        """Whether ``options`` can be met with so many devices, and, once it is built, with this learner.

        Raises:
            ScenarioError: They cannot; names the key.
        """

    @abstractmethod
    def start(self) -> simpy.Event:
        """Set everything going; returns the event at which the run ends."""
