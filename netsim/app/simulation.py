"""Builds the simulated world of a scenario and lets it run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

import simpy

from netsim.app.collector import patient_collector
from netsim.app.dealing import check_data
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions
from netsim.core.registry import load, names
from netsim.events import DeviceRow, LinkRow, Observer, Observers
from netsim.former.backlog import Backlog
from netsim.former.learning import ServerLearner as FormerServerLearner
from netsim.former.protocols import asynchronous_server as former_asynchronous
from netsim.former.protocols import decentralized as former_decentralized
from netsim.former.protocols import server_rounds as former_rounds
from netsim.learner import Learner, Setup
from netsim.protocols.asynchronous_server import AsynchronousServer
from netsim.protocols.decentralized import DecentralizedRounds
from netsim.protocols.server_rounds import ServerRounds
from netsim.scenario.classes import class_by_device
from netsim.scenario.loading import Plan
from netsim.scenario.model import Devices, Difference, RadioOptions
from netsim.work.batching import Stacking
from netsim.work.executors.executor import Executor
from netsim.work.forked.graph import ForkableGraph
from netsim.work.forked.obstacles import obstacle
from netsim.work.graph import TaskGraph
from netsim.work.operator_threads import Inside
from netsim.work.torch_device import choose_torch_device, free_memory_bytes, set_precision
from netsim.world.devices.device import Device
from netsim.world.devices.processor import Processor
from netsim.world.edge_server import EdgeServer
from netsim.world.network import Network
from netsim.world.radio.access import Access, Shared, Uplink
from netsim.world.radio.radio import Air, Radio
from netsim.world.radio.units import LARGEST_DB, db_to_power, dbm_to_w
from netsim.world.topology.star import draw_star
from netsim.world.topology.topology import Topology, draw_topology


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
    """

    plan: Plan
    learner: Any
    network: Network
    executor: Executor
    torch_device: str
    observer: Observers = field(default_factory=Observers)
    execution: Mapping[str, Any] = field(init=False)
    states: Mapping[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.execution = self.executor.facts()

    def watch(self, *observers: Observer) -> None:
        """Let ``observers`` look on too from now on."""
        self.observer.observers.extend(observers)

    def run(self) -> None:
        """Run to the end of the last round, or of the last device. It ends at an event, never on an empty queue."""
        part, work = self.plan.parts["protocol"], self._work()
        protocol_class: Any = protocol_class_of(part.cls, self.plan.parts["learner"].cls)
        protocol = protocol_class(
            part.options,
            self.network,
            self.learner,
            work,
            self.plan.scenario.rounds,
            self.observer,
        )
        try:
            with self.plan.named(), patient_collector(), self.executor.inside.during_a_run():
                work.begin()
                self.network.env.run(until=protocol.start())
                protocol.ledger.close()
                if isinstance(work, TaskGraph):
                    self.states = work.finish(protocol.states)
                else:
                    work.finish()
        finally:
            work.end()
            self.execution = work.facts()

    def _work(self) -> Backlog | TaskGraph:
        """What is to be done: here, or beside the clock if the executor may move and nothing is in the way."""
        scenario = self.plan.scenario
        stated, count = scenario.jobs.max_pending, scenario.devices.count
        pending, behind = (stated, stated) if stated is not None else (2 * count, 8 * count)
        if not isinstance(self.learner, Learner):
            return Backlog(self.learner, self.executor, self.observer, pending)
        # A device's round has about four tasks.
        if self.executor.moves != "never" and not obstacle():
            return ForkableGraph(self.executor, self.observer, 4 * pending, scenario.rounds, behind)
        return TaskGraph(self.executor, self.observer, 4 * pending)

    @property
    def modalities(self) -> list[str]:
        """Return the modalities of the data, in the learner's order."""
        return list(self.learner.owners())

    def device_rows(self) -> list[DeviceRow]:
        """Describe the devices as they are now, for the records."""
        owners: Mapping[str, frozenset[int]] = self.learner.owners()
        classes = class_by_device(self.plan.scenario.devices)
        samples = self.learner.sample_counts()
        return [
            DeviceRow(
                device=d.number,
                role="device" if d.number < len(self.network.devices) else "server",
                device_class=classes.get(d.number, ""),
                x_m=float(self.network.topology.positions[d.number][0]),
                y_m=float(self.network.topology.positions[d.number][1]),
                degree=self.network.graph.degree[d.number],
                modalities="+".join(m for m in owners if d.number in owners[m]),
                samples=samples.get(d.number, 0),
                frequency_hz=d.processor.frequency_hz,
                flops_per_cycle=d.processor.flops_per_cycle,
                effective_capacitance_f=d.processor.effective_capacitance_f,
                tx_power_w=d.tx_power_w,
                battery_j=d.battery.remaining_j,
            )
            for d in self.network.nodes
        ]

    def link_rows(self) -> list[LinkRow]:
        """Describe the links for the records; those of an edge server have the loss of the uplink."""
        server = self.network.server
        radio = server.uplink if server else self.network.radio
        return [
            LinkRow(a, b, distance_m, radio.path_loss_db[a, b])
            for (a, b), distance_m in self.network.topology.distance_m.items()
        ]


def build_devices(env: simpy.Environment, options: Devices) -> list[Device]:
    """Make the scenario's devices, with what their classes and then ``overrides`` change; later entries win."""
    devices, classes = [], class_by_device(options)
    for number in range(options.count):
        processor, battery = options.processor, options.battery
        power = {"tx_power_w": options.tx_power_w, "rx_power_w": options.rx_power_w}
        power["idle_power_w"] = options.idle_power_w
        changes: list[Difference] = [options.classes[classes[number]]] if number in classes else []
        for change in (*changes, *(one for one in options.overrides if number in one.devices)):
            processor = Processor(
                **{**processor.model_dump(), **change.processor.model_dump(exclude_none=True)}
            )
            battery = change.battery or battery
            power |= {key: value for key in power if (value := getattr(change, key)) is not None}
        devices.append(Device(env, number, processor, battery.capacity_j, **power))
    return devices


def _torch_device(plan: Plan) -> str:
    """Choose where the jobs will work; a scenario that learns nothing does not import PyTorch to find out."""
    jobs, executor = plan.scenario.jobs, plan.parts["jobs.executor"]
    asked = "cpu" if jobs.device == "auto" and executor.cls.cpu_only else jobs.device
    if "data" not in plan.parts and asked in ("auto", "cpu"):
        return "cpu"
    device = choose_torch_device(asked, jobs.threads, f"{plan.file}: jobs.device")
    if executor.cls.cpu_only and device != "cpu":
        raise ScenarioError(
            f"{plan.file}: jobs.executor: {executor.name!r} works on CPUs only (jobs.device is {device!r}); "
            "use inline, or jobs.device: cpu"
        )
    return device


def _check_executor(plan: Plan, learner: Any) -> None:
    """See whether the work can be done in a forked process, if that is asked for.

    Raises:
        ScenarioError: It cannot.
    """
    executor = plan.parts["jobs.executor"]
    if executor.cls.moves == "at once" and (reason := obstacle()):
        raise ScenarioError(
            f"{plan.file}: jobs.executor: {executor.name!r} cannot be used here: {reason}; use auto or inline"
        )


def _topology(plan: Plan, learner: Any) -> Topology:
    """Where everybody is, and the links."""
    scenario = plan.scenario
    placement, count = plan.parts["topology.placement"].make(), scenario.devices.count
    if plan.parts["protocol"].cls.needs_server:
        return draw_star(placement, count, scenario.server.position_m, scenario.seed)
    return draw_topology(
        placement,
        plan.parts["topology.links"].make(),
        count,
        learner.owners(),
        scenario.seed,
        scenario.topology.require_connected,
    )


def protocol_class_of(cls: Any, learner: Any) -> Any:
    """Return the class of a protocol that this class of learners runs under."""
    return cls if issubclass(learner, Learner) else FORMER.get(cls, cls)


FORMER: dict[Any, Any] = {
    DecentralizedRounds: former_decentralized.DecentralizedRounds,
    ServerRounds: former_rounds.ServerRounds,
    AsynchronousServer: former_asynchronous.AsynchronousServer,
}


def _check_protocol(plan: Plan) -> None:
    """Check that learner and protocol fit: both have an edge server, or neither.

    Raises:
        ScenarioError: One of them has.
    """
    protocol, learner = plan.parts["protocol"], plan.parts["learner"]
    if issubclass(learner.cls, Learner):
        _check_suits(plan)
        return
    with_server = issubclass(learner.cls, FormerServerLearner)
    if protocol.cls.needs_server and not with_server:
        raise ScenarioError(
            f"{plan.file}: learner.name: {learner.name!r} learns without a server, but protocol {protocol.name!r} has "
            f"one; use protocol: decentralized_rounds, or a learner that has: {_learners(with_server=True)}"
        )
    if with_server and not protocol.cls.needs_server:
        raise ScenarioError(
            f"{plan.file}: learner.name: {learner.name!r} learns through an edge server, but protocol "
            f"{protocol.name!r} has none; use protocol: server_rounds, or a learner that needs none: "
            f"{_learners(with_server=False)}"
        )


def _check_suits(plan: Plan) -> None:
    """See whether the learner's method can be run under the protocol.

    Raises:
        ScenarioError: It cannot; says which protocols suit it, and which learners suit the protocol.
    """
    protocol, learner = plan.parts["protocol"], plan.parts["learner"]
    if protocol.cls.FAMILY in learner.cls.SUITS:
        return
    suiting = [name for name in names("protocols") if load("protocols", name).FAMILY in learner.cls.SUITS]
    others = [name for name in names("learners") if protocol.cls.FAMILY in _suits(load("learners", name))]
    raise ScenarioError(
        f"{plan.file}: learner.name: {learner.name!r} cannot be run under protocol {protocol.name!r}; use protocol: "
        f"{' or '.join(suiting)}, or a learner that suits {protocol.name}: {', '.join(others)}"
    )


def _suits(learner: Any) -> frozenset[str]:
    """Return the families of protocols that a learner of either contract suits."""
    if issubclass(learner, Learner):
        return frozenset(learner.SUITS)
    if not issubclass(learner, FormerServerLearner):
        return frozenset({"decentralized"})
    return frozenset({"server"} if learner.in_rounds_only else {"server", "asynchronous"})


def _learners(with_server: bool) -> str:
    """Names of all learners that have a server, or none."""
    fitting = (
        issubclass(load("learners", name), FormerServerLearner) == with_server for name in names("learners")
    )
    return ", ".join(itertools.compress(names("learners"), fitting))


def _check_memory(options: Devices, learner: Any) -> None:
    """Whether each device can train in the memory that its class says it has; a line for each class that is too small.

    Raises:
        ScenarioError: A device cannot; a line for each class that is too small.
    """
    classes, findings = class_by_device(options), []
    for name, block in options.classes.items():
        if block.memory_bytes is None:
            continue
        needed = {k: learner.training_memory_bytes(k) for k, own in classes.items() if own == name}
        small = {k: bytes_ for k, bytes_ in needed.items() if bytes_ > block.memory_bytes}
        if small:
            worst = max(small, key=lambda k: small[k])
            others = f"; too little for {len(small) - 1} more of the class, too" if len(small) > 1 else ""
            key = f"devices.classes.{name}.networks" if learner.network_per_device else "learner.networks"
            findings.append(
                f"devices.classes.{name}.memory_bytes: training takes {_readable(small[worst])} on device {worst}, "
                f"which has {_readable(block.memory_bytes)}{others}. Choose a smaller network ({key}), a smaller "
                "learner.batch_size, or more memory (null: unlimited)"
            )
    if findings:
        raise ScenarioError("\n".join(findings))


def _readable(size_bytes: float) -> str:
    """Write a size for people: ``2,097,152 bytes (2 MiB)``."""
    return f"{size_bytes:,.0f} bytes ({size_bytes / 2**20:.3g} MiB)"


def _air(options: RadioOptions, bandwidth_hz: float) -> Air:
    """Gather what all links of a radio with ``bandwidth_hz`` have in common."""
    threshold_db = options.outage_snr_db
    return Air(
        bandwidth_hz,
        dbm_to_w(options.noise_dbm_per_hz),
        db_to_power(threshold_db) if threshold_db is not None else 0.0,
        options.acknowledgement_bits,
    )


def _losses_db(plan: Plan, key: str, topology: Topology) -> dict[tuple[int, int], float]:
    """Compute the path loss of each link [dB], by (lower, higher) number, with the component that ``key`` names.

    Raises:
        ScenarioError: One of them is no loss.
    """
    part, carrier_hz = plan.parts[key], plan.scenario.radio.carrier_hz
    path_loss = part.make(plan.scenario.seed)
    losses_db: dict[tuple[int, int], float] = {}
    for pair, link in topology.links().items():
        found = path_loss.loss_db(link, carrier_hz)
        if not isinstance(found, Real) or not float(found) >= -LARGEST_DB:
            raise ScenarioError(
                f"{plan.file}: {key}: {part.name!r} gives {found!r} dB for the link {link.ends[0]} - {link.ends[1]} of "
                f"{link.distance_m:g} m; loss_db must return decibels, inf where nothing gets through"
            )
        losses_db[pair] = float(found)
    return losses_db


def _server(
    plan: Plan, env: simpy.Environment, radio_of: Callable[[str, Access, float], Radio]
) -> EdgeServer:
    """Make the edge server, with radios that ``radio_of`` makes of path loss, access and bandwidth."""
    scenario, options = plan.scenario, plan.scenario.server
    uplink, downlink = options.uplink, options.downlink
    division = Uplink(env, uplink.division == "redivided")
    return EdgeServer(
        node=Device(
            env,
            scenario.devices.count,
            options.processor,
            math.inf,
            options.tx_power_w,
            options.rx_power_w,
            options.idle_power_w,
        ),
        uplink=radio_of("server.uplink.path_loss", division, uplink.bandwidth_hz),
        division=division,
        downlink=radio_of("server.downlink.path_loss", Shared(NoOptions(), env), downlink.bandwidth_hz),
        broadcasts=downlink.mode == "broadcast",
        selection=plan.parts["server.selection"].make(scenario.seed),
    )


def build(plan: Plan, cache_dir: Path, say: Callable[[str], None]) -> Simulation:
    """Make everything that the scenario names. Whatever can be wrong shows here, before the first event.

    Args:
        plan: The checked scenario.
        cache_dir: Where pre-processed data may be kept.
        say: Tells the user what takes long.

    Raises:
        ScenarioError: Data, partition or topology cannot be made as asked.
    """
    scenario, parts, seed = plan.scenario, plan.parts, plan.scenario.seed
    _check_protocol(plan)
    _check_executor(plan, parts["learner"].cls)  # before data takes its time
    check_data(plan)
    torch_device = _torch_device(plan)

    memory_bytes = free_memory_bytes(scenario.jobs.memory_gib, torch_device)
    set_precision(scenario.jobs.precision)
    device_classes = class_by_device(scenario.devices)

    env = simpy.Environment()
    with plan.named():
        learner: Any = parts["learner"].cls(
            Setup(
                seed=seed,
                device_count=scenario.devices.count,
                rounds=scenario.rounds,
                options=parts["learner"].options,
                data=parts["data"].make() if "data" in parts else None,
                partition=parts["partition"].make() if "partition" in parts else None,
                costs=scenario.costs,
                evaluation=scenario.evaluation,
                torch_device=torch_device,
                cache_dir=cache_dir,
                say=say,
                precision=scenario.jobs.precision,
                memory_bytes=memory_bytes,
                networks={
                    k: {m: {"name": one.name, **one.given} for m, one in block.networks.items()}
                    for k, name in device_classes.items()
                    if (block := scenario.devices.classes[name]).networks
                },
                device_classes=device_classes,
                has_server=parts["protocol"].cls.needs_server,
            )
        )
        protocol = parts["protocol"]
        protocol_class_of(protocol.cls, type(learner)).check(
            protocol.options, learner, scenario.devices.count
        )
        topology = _topology(plan, learner)
        devices = build_devices(env, scenario.devices)
        stragglers = parts["devices.stragglers"].make(scenario.devices.count, seed)
    observer = Observers()
    channel = parts["radio.channel"].make(seed)

    def radio_of(path_loss_key: str, access: Access, bandwidth_hz: float) -> Radio:
        losses_db = _losses_db(plan, path_loss_key, topology)
        return Radio(
            env, _air(scenario.radio, bandwidth_hz), channel, access, losses_db, observer.on_transfers
        )

    radio = radio_of("radio.path_loss", parts["radio.access"].make(env), scenario.radio.bandwidth_hz)
    server = _server(plan, env, radio_of) if protocol.cls.needs_server else None
    network = Network(env, devices, topology, radio, stragglers, server)
    _check_executor(plan, learner)  # its options may have made it one that cannot
    with plan.named():
        if isinstance(learner, Learner):
            learner.prepare(topology.graph)
        else:
            learner.begin(topology.graph)
        _check_memory(scenario.devices, learner)
        executor: Executor = parts["jobs.executor"].make(Stacking(scenario.jobs.stacking, memory_bytes))
    executor.inside = Inside(scenario.jobs.threads, open=torch_device == "cpu")
    executor.prepare(torch_device, scenario.rounds * scenario.devices.count)
    return Simulation(plan, learner, network, executor, torch_device, observer)
