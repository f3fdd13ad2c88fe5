"""Checks that need more than the scenario: this machine, the data, the learner."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from netsim.app.placed import placed
from netsim.core.errors import ScenarioError
from netsim.core.streams import stream
from netsim.learner import Learner, because_of
from netsim.scenario.classes import class_by_device, class_networks
from netsim.scenario.loading import Plan
from netsim.scenario.model import Devices
from netsim.work.torch_device import free_memory_bytes


def check_data(plan: Plan) -> None:
    """Look whether the data is where the scenario says, and has the modalities that other blocks name.

    Raises:
        ScenarioError: It is not, or has not.
    """
    if "data" not in plan.parts:
        return
    with plan.named():
        data = plan.parts["data"].make()
        known = getattr(data, "modalities", ())  # what a data set does not state is seen in the run
        for key, named in _modalities_in(plan) if known else ():
            if unknown := sorted({*named} - {*known}):
                raise ScenarioError(
                    f"{key}: the data has no modality {', '.join(map(repr, unknown))}; it has: {', '.join(known)}"
                )
        data.check()


def _modalities_in(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    """Yield keys that name modalities, and which."""
    options = plan.parts["learner"].options
    if hasattr(options, "modalities"):
        yield "learner.modalities", list(options.modalities or ())
        yield "learner.networks", list(getattr(options, "networks", ()))
    if "partition" in plan.parts:
        of_devices = getattr(plan.parts["partition"].options, "modalities", None) or ()
        yield "partition.modalities", [modality for own in of_devices for modality in own]
    for place, _ in class_networks(plan.scenario.devices):
        yield ".".join(place[:-1]), [place[-1]]


def check_owners(learner: Learner, device_count: int) -> Mapping[str, frozenset[int]]:
    """Return which devices own each modality.

    Raises:
        ScenarioError: The learner's answer has another form, or names a device that is not there.
    """
    owners, devices = learner.owners(), range(device_count)
    if not isinstance(owners, Mapping) or not all(
        isinstance(modality, str) and isinstance(own, Collection) and all(k in devices for k in own)
        for modality, own in owners.items()
    ):
        found = " ".join(repr(owners).split())
        raise ScenarioError(
            f"learner: {type(learner).__name__}.owners must return the devices that own each modality, such as "
            f"{{'image': frozenset({{0, 1}})}}, of devices 0 to {device_count - 1} (got {found:.80})"
        )
    return owners


def check_executor(plan: Plan) -> None:
    """Check that the work can be done in a forked process, if that is asked for.

    Raises:
        ScenarioError: It cannot.
    """
    from netsim.work.forking import obstacle

    executor = plan.parts["jobs.executor"]
    if executor.cls.moves == "at once" and (reason := obstacle()):
        raise ScenarioError(
            f"{plan.file}: jobs.executor: {executor.name!r} cannot be used here: {reason}; use auto or inline"
        )


def check_room(plan: Plan) -> None:
    """Check that devices and links fit into the memory that is free; what they learn is not counted.

    Raises:
        ScenarioError: They do not.
    """
    scenario, parts = plan.scenario, plan.parts
    count, free_bytes = scenario.devices.count, free_memory_bytes(None, "cpu")
    protocol = parts["protocol"]
    servers = protocol.cls.server_count(protocol.options)
    most_links = count * servers or count * (count - 1) / 2
    if _world_bytes(count, most_links) <= free_bytes:
        return
    rule, links = parts["topology.links"], float(most_links)
    if not parts["protocol"].cls.needs_server and _world_bytes(count, 0) <= free_bytes:
        with plan.named():
            positions = placed(plan)[0].positions(count, stream(scenario.seed, "placement", 0))
            links = rule.make().count(positions)
    needed_bytes = _world_bytes(count, links)
    if needed_bytes > free_bytes:
        fewer = {"range": "topology.links.range_m", "regular": "topology.links.degree"}.get(rule.name)
        raise ScenarioError(
            f"{plan.file}: devices.count: {count:,} devices with {links:,.0f} links take about "
            f"{needed_bytes / 2**30:.3g} GiB of memory, and {free_bytes / 2**30:.3g} GiB can be had; "
            f"lower devices.count{f' or {fewer}' if fewer else ''}"
        )


def _world_bytes(devices: float, links: float) -> float:
    """Return about how much memory a simulated world takes [byte]; ``docs/performance.md`` has the measurement."""
    return 5000.0 * devices + 1500.0 * links


def check_memory(options: Devices, learner: Learner) -> None:
    """Check that each device can train in the memory that its class says it has.

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


def check_motion(plan: Plan, learner: Learner) -> None:
    """Check that the learner can do with neighbours that change, if they do.

    Raises:
        ScenarioError: It cannot.
    """
    mobility = plan.parts["mobility"]
    if mobility.cls.moves and not learner.takes_motion and not plan.parts["protocol"].cls.needs_server:
        raise ScenarioError(
            f"mobility: {mobility.name!r} cannot be used with learner {plan.parts['learner'].name!r}, which plans with "
            f"the neighbours that devices have as the run begins{because_of(learner)}"
        )


def _readable(size_bytes: float) -> str:
    """Write a size for people: ``2,097,152 bytes (2 MiB)``."""
    return f"{size_bytes:,.0f} bytes ({size_bytes / 2**20:.3g} MiB)"


def check_stop(plan: Plan, learner: Learner) -> None:
    """Check that the target with which a run ends early is one that the learner measures and the protocol can end at.

    Raises:
        ScenarioError: It is not; names the key.
    """
    from netsim.app.stopping import check_target

    protocol = plan.parts["protocol"]
    if plan.scenario.stop is not None:
        check_target(plan.scenario.stop, learner.METRICS, protocol.cls.ends_early, protocol.name)
