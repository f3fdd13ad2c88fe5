"""A scenario that is built, and runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netsim.app.collector import patient_collector
from netsim.app.declared import Declared, DeclaredRows, end_of
from netsim.app.policies import make_decisions
from netsim.app.stopping import Target
from netsim.core.interrupts import held
from netsim.events import DeviceRow, LinkRow, Observer, Observers, RowBatch
from netsim.learner import Learner
from netsim.protocols.asked import Asked
from netsim.protocols.protocol import Protocol
from netsim.scenario.classes import class_by_device
from netsim.scenario.loading import Plan
from netsim.work.forked.graph import ForkableGraph
from netsim.work.forking import obstacle
from netsim.work.graph import TaskGraph

if TYPE_CHECKING:
    from netsim.protocols.decisions import Decisions
    from netsim.scenario.model import StopOptions
    from netsim.work.executor import Executor
    from netsim.work.models import Keeper
    from netsim.work.past import Past
    from netsim.work.snapshots import Snapshots
    from netsim.world.network import Network


@dataclass
class Simulation:
    """A scenario that is ready to run.

    Attributes:
        plan: The scenario.
        learner: The algorithm, with its data loaded.
        network: Devices, links and clock.
        executor: Runs the training jobs.
        torch_device: Where they run.
        observer: Who looks on; ``watch`` adds to them.
        execution: How jobs were run, for the record, as far as it is known.
        states: The state of each node after the run, by number.
        decisions: What policies decide; None if there are none.
        target: What ends it early; None if the scenario has nothing that does.
        snapshots: Writes snapshots now and then; None for none.
        keeper: Writes models; None for none.
        past: What is known of a run that goes on; None for a new one.
    """

    plan: Plan
    learner: Learner
    network: Network
    executor: Executor
    torch_device: str
    observer: Observers = field(default_factory=Observers)
    execution: Mapping[str, Any] = field(init=False)
    decisions: Decisions | None = field(init=False)
    states: Mapping[int, Any] = field(default_factory=dict)
    target: Target | None = None
    snapshots: Snapshots | None = None
    keeper: Keeper | None = None
    past: Past | None = None

    def __post_init__(self) -> None:
        self.execution = self.executor.facts()
        with self.plan.named():
            self.decisions = make_decisions(self.plan, self.learner, self.network)

    def watch(self, *observers: Observer) -> None:
        """Let ``observers`` look on too from now on."""
        self.observer.observers.extend(observers)

    def run(self) -> None:
        """Run to the end of the last round, or of the last device. It ends at an event, never on an empty queue."""
        part, work = self.plan.parts["protocol"], self._work()
        rounds = self.plan.scenario.rounds
        self.observer.observers.insert(0, DeclaredRows(part.cls))  # before what is no row reaches anybody
        self.watch(Declared(self.learner, self.metrics))
        work.portable, work.snapshots, work.past = True, self.snapshots, self.past
        work.keeper = self.keeper
        learner = self._asked(work)
        protocol: Protocol = part.cls(part.options, self.network, learner, work, rounds, self.observer)
        if self.decisions is not None:
            learner.decisions = protocol.decisions = self.decisions
            self.watch(self.decisions)
        if self.plan.scenario.stop is not None:
            protocol.over = self.network.env.event()
            self.target, work.waits = self._target(self.plan.scenario.stop, protocol.over.succeed), True
            self.watch(self.target)
        try:
            with self.plan.named(), patient_collector(), self.executor.inside.during_a_run():
                work.begin()
                self.network.env.run(until=end_of(protocol))
                protocol.ledger.close()
                self.states = work.finish(protocol.states, self.target.round if self.target else None)
            if self.keeper is not None:
                models = {
                    k: (learner.evaluated.get(k, 0), learner.model(k, one)) for k, one in self.states.items()
                }
                self.keeper.end({k: (round, kept) for k, (round, kept) in models.items() if kept})
        finally:
            with held():
                work.end()
            self.execution = work.facts()

    def _work(self) -> TaskGraph:
        """Return the graph of tasks: one that can fork if the executor may and nothing is in the way."""
        scenario = self.plan.scenario
        stated, count = scenario.jobs.max_pending, scenario.devices.count
        pending, behind = (stated, stated) if stated is not None else (2 * count, 8 * count)
        # A device's round has about four tasks.
        if self.executor.moves != "never" and not obstacle():
            return ForkableGraph(self.executor, self.observer, 4 * pending, scenario.rounds, behind)
        return TaskGraph(self.executor, self.observer, 4 * pending)

    def _target(self, options: StopOptions, end: Callable[[], Any]) -> Target:
        """Return what looks whether the run is to ``end``."""
        return Target(options, len(self.network.devices), end)

    def _asked(self, work: TaskGraph) -> Asked:
        """Return the learner as the protocol asks it."""
        return Asked(self.learner, len(self.network.devices), work)

    @property
    def metrics(self) -> Mapping[str, str]:
        """Return every metric that learner and protocol emit, with a line of explanation each."""
        return {**self.learner.METRICS, **self.plan.parts["protocol"].cls.METRICS}

    @property
    def modalities(self) -> list[str]:
        """Return the modalities of the data, in the learner's order."""
        return list(self.learner.owners())

    def devices(self) -> RowBatch:
        """Describe the devices as they are now, for the records."""
        owners: Mapping[str, frozenset[int]] = self.learner.owners()
        classes = class_by_device(self.plan.scenario.devices)
        samples = self.learner.sample_counts()
        nodes, topology, devices = self.network.nodes, self.network.topology, len(self.network.devices)
        above = ["server"] * len(self.network.servers) + ["cloud"] * (self.network.cloud is not None)
        numbers = [d.number for d in nodes]
        columns: dict[str, Any] = {
            "device": numbers,
            "role": ["device"] * devices + above,
            "device_class": [classes.get(k, "") for k in numbers],
            "x_m": topology.positions[:, 0],
            "y_m": topology.positions[:, 1],
            "degree": topology.degree,
            "modalities": ["+".join(m for m in owners if k in owners[m]) for k in numbers],
            "samples": [samples.get(k, 0) for k in numbers],
            "frequency_hz": [d.processor.frequency_hz for d in nodes],
            "flops_per_cycle": [d.processor.flops_per_cycle for d in nodes],
            "effective_capacitance_f": [d.processor.effective_capacitance_f for d in nodes],
            "tx_power_w": [d.tx_power_w for d in nodes],
            "battery_j": [d.battery.remaining_j for d in nodes],
        }
        return RowBatch(DeviceRow(**columns), len(nodes))

    def links(self) -> RowBatch:
        """Describe the links for the records; those of an edge server have the loss of the uplink."""
        server, distance_m = self.network.server, self.network.topology.distance_m
        losses_db = (server.uplink if server else self.network.radio).path_loss_db
        columns: list[Any] = [*distance_m.ends.T, distance_m.numbers, losses_db.numbers]
        return RowBatch(LinkRow(*columns), len(distance_m))
