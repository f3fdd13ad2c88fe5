"""A trial of local updates: whether those of devices with the same network can be done as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from learners.training.distillation.classifier import (
    TRUNK,
    Classifier,
    running_statistics_kept,
)
from learners.training.stackable import some_of, trunk_obstacle
from netsim.work.job import Inputs

if TYPE_CHECKING:
    from learners.networks.state import State

Jobs = Sequence[Inputs]


class ManyAtOnce(NamedTuple):
    """One kind of work for several devices at once; all are functions of a module.

    Attributes:
        label: What it is called in a run's record, before the network's name.
        function: See :class:`netsim.work.job.Stack`, as for the others.
        shorten: See there.
        obstacle: See there.
    """

    label: str
    function: Callable[[Jobs], Sequence[Any]]
    shorten: Callable[[Inputs, int], Inputs]
    obstacle: Callable[[Jobs], str]


def longest_first(update: Callable[[Jobs], Sequence[Any]], jobs: Jobs, steps: Sequence[int]) -> list[Any]:
    """Do ``jobs`` with those first that have most ``steps``; results in the order of ``jobs``.

    Devices that still train are neighbours then, and nothing is copied.
    """
    order = sorted(range(len(jobs)), key=lambda place: -steps[place])
    found = update([jobs[place] for place in order])
    return [found[order.index(place)] for place in range(len(jobs))]


def private_obstacle(jobs: Jobs, evaluates: bool = False, keeps_statistics: bool = False) -> str:
    """Say what keeps training on private samples from being stacked, as the end of a sentence; empty if nothing does.

    Args:
        jobs: Inputs of two local updates.
        evaluates: Whether the network is stacked in evaluation mode, too.
        keeps_statistics: Whether it is also trained without a change of its running statistics.
    """
    store, states = jobs[0]["store"], [job["state"] for job in jobs]
    rows = some_of([store.rows(job["device"]) for job in jobs], jobs[0]["plan"].batch_size)
    x = store.trial(jobs[0]["modality"], rows, states[0][TRUNK].row.bank.dtype)
    return network_obstacle(
        jobs[0]["architecture"],
        states,
        x,
        jobs[0]["torch_device"],
        (True, False) if evaluates else (True,),
        (False, True) if keeps_statistics else (False,),
    )


def network_obstacle(
    architecture: Classifier,
    states: Sequence[State],
    x: Tensor,
    torch_device: str,
    trains: Sequence[bool],
    keeps_statistics: Sequence[bool],
) -> str:
    """Say what keeps a network from being stacked in any of some modes, as the end of a sentence.

    Args:
        architecture: The network.
        states: Of two devices or more.
        x: Inputs [devices, batch, ...].
        torch_device: Where to try.
        trains: Modes: training or not.
        keeps_statistics: In training, running statistics kept or not.
    """
    trunk = architecture.net(torch_device).trunk
    for train in trains:
        for keep in keeps_statistics if train else (False,):
            with running_statistics_kept(trunk) if keep else nullcontext():
                reason = trunk_obstacle(trunk, [state[TRUNK] for state in states], x, train)
            if reason:
                return f"network {architecture.network.name!r}: {reason}"
    return ""
