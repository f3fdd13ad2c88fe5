"""Checks a scenario's data, loads it and deals it to the devices, without a learner and without a world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from netsim.app.checks import check_data
from netsim.core.errors import ScenarioError
from netsim.scenario.loading import Plan


def deal(plan: Plan, cache_dir: Path, say: Callable[[str], None]) -> tuple[Any, list[Any]]:
    """Load the data set and deal it, as every learner of this scenario and seed gets it.

    Args:
        plan: The checked scenario.
        cache_dir: Where pre-processed data may be kept.
        say: Tells the user what takes long.

    Returns:
        The data set as the devices hold it, and one share per device.

    Raises:
        ScenarioError: The scenario has no data or no partition, or they cannot be made as asked.
    """
    missing = [key for key in ("data", "partition") if key not in plan.parts]
    if missing:
        raise ScenarioError(
            f"{plan.file}: {' and '.join(missing)}: not in the scenario, so nothing is dealt. Both blocks are "
            "needed, e.g. --set data=avdigits --set partition=iid"
        )
    check_data(plan)
    seed = plan.scenario.seed
    with plan.named():
        dataset = plan.parts["data"].make().loaded(seed, cache_dir, say)
        split = plan.parts["partition"].make().split(dataset, plan.scenario.devices.count, seed)
        return split.data, split.shares
