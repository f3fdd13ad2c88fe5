"""Checks that need more than the scenario: this machine, the data, the learner."""

from __future__ import annotations

from netsim.core.errors import ScenarioError
from netsim.learner import Learner
from netsim.scenario.classes import class_by_device
from netsim.scenario.loading import Plan
from netsim.scenario.model import Devices


def check_data(plan: Plan) -> None:
    """Look whether the data is where the scenario says.

    Raises:
        ScenarioError: It is not.
    """
    if "data" in plan.parts:
        with plan.named():
            plan.parts["data"].make().check()


def check_executor(plan: Plan) -> None:
    """See whether the work can be done in a forked process, if that is asked for.

    Raises:
        ScenarioError: It cannot.
    """
    from netsim.work.forked.obstacles import obstacle

    executor = plan.parts["jobs.executor"]
    if executor.cls.moves == "at once" and (reason := obstacle()):
        raise ScenarioError(
            f"{plan.file}: jobs.executor: {executor.name!r} cannot be used here: {reason}; use auto or inline"
        )


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


def _readable(size_bytes: float) -> str:
    """Write a size for people: ``2,097,152 bytes (2 MiB)``."""
    return f"{size_bytes:,.0f} bytes ({size_bytes / 2**20:.3g} MiB)"
