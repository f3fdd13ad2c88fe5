"""Builds all that a scenario names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import simpy

from netsim.app.build_network import build_network
from netsim.app.checks import (
    check_data,
    check_executor,
    check_memory,
    check_motion,
    check_owners,
    check_room,
    check_stop,
)
from netsim.app.collector import patient_collector
from netsim.app.simulation import Simulation
from netsim.core.errors import ScenarioError
from netsim.core.own_code import code_of_ones_own
from netsim.events import Observers
from netsim.learner import Learner, Setup
from netsim.scenario.classes import class_by_device
from netsim.scenario.loading import Plan
from netsim.work.batching import Stacking
from netsim.work.executor import Executor
from netsim.work.operator_threads import Inside
from netsim.work.torch_device import choose_torch_device, free_memory_bytes, set_precision


@patient_collector()
def build(plan: Plan, cache_dir: Path, say: Callable[[str], None]) -> Simulation:
    """Make everything that the scenario names. Whatever can be wrong shows here, before the first event.

    Args:
        plan: The checked scenario.
        cache_dir: Where pre-processed data may be kept.
        say: Tells the user what takes long.

    Raises:
        ScenarioError: Data, partition or topology cannot be made as asked.
    """
    scenario, parts = plan.scenario, plan.parts
    check_room(plan)
    check_executor(plan)  # before data takes its time
    check_data(plan)
    torch_device = _torch_device(plan)
    memory_bytes = free_memory_bytes(scenario.jobs.memory_gib, torch_device)
    set_precision(scenario.jobs.precision)

    env, observer, protocol = simpy.Environment(), Observers(), parts["protocol"]
    setup = _setup(plan, torch_device, memory_bytes, cache_dir, say)
    with plan.named(), code_of_ones_own("learner"):
        learner: Learner = parts["learner"].cls(setup)
        protocol.cls.check(protocol.options, learner, scenario.devices.count)
        owners = check_owners(learner, scenario.devices.count)
    network = build_network(plan, env, owners, observer)
    with plan.named(), code_of_ones_own("learner"):
        check_motion(plan, learner)
        learner.prepare(network.first.graph)
        check_memory(scenario.devices, learner)
        check_stop(plan, learner)
        executor: Executor = parts["jobs.executor"].make(Stacking(scenario.jobs.stacking, memory_bytes))
    executor.inside = Inside(scenario.jobs.threads, open=torch_device == "cpu")
    executor.prepare(torch_device, scenario.rounds * scenario.devices.count)
    return Simulation(plan, learner, network, executor, torch_device, observer)


def _setup(
    plan: Plan, torch_device: str, memory_bytes: float, cache_dir: Path, say: Callable[[str], None]
) -> Setup:
    """Gather all that the learner is built from."""
    scenario, parts = plan.scenario, plan.parts
    device_classes = class_by_device(scenario.devices)
    return Setup(
        seed=scenario.seed,
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
