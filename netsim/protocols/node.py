"""A node's local update: what it costs, the work behind it, and the simulated time that it takes."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from netsim.learner import Cost, Learner, Step
from netsim.work.graph import Task, TaskGraph
from netsim.world.budget import Budget
from netsim.world.devices.device import Device

Process = Generator[simpy.Event, Any, Any]


@dataclass
class Update:
    """A local update.

    Attributes:
        cost: What is computed.
        step: What it makes of the node, if it gets to its end.
        tasks: The work behind it.
        done: Whether the simulated computation got to its end.
        compute_s: How long it took [s]; None if it did not.
        end_s: When it ended [s]; NaN if it did not.
    """

    cost: Cost = field(default_factory=Cost)
    step: Step = field(default_factory=Step)
    tasks: Sequence[Task] = ()
    done: bool = False
    compute_s: float | None = None
    end_s: float = math.nan


def local_update(
    learner: Learner,
    work: TaskGraph,
    node: Device,
    round: int,
    state: Any,
    *,
    peers: Sequence[int],
    budget: Budget,
    plan: Any = None,
    arrived: dict[int, Any] | None = None,
    slowdown: float = 1.0,
    stop: simpy.Event | None = None,
    into: Update | None = None,
) -> Process:
    """Process: let ``node`` train from its ``state``; return the :class:`Update`.

    What was ordered is cancelled if the computation is cut off, by ``stop`` or by an empty battery.

    Args:
        learner: The algorithm.
        work: Where the work is ordered.
        node: A device, or the server.
        round: Its round.
        state: Its state.
        peers: The nodes that it exchanges messages with.
        budget: What it knows of its energy.
        plan: The cluster head's decision for it.
        arrived: What it was sent to begin with, by sender; None for nothing.
        slowdown: Its straggler factor.
        stop: What cuts the computation off.
        into: What is to be noted in; by default a new one.
    """
    env, number = node.env, node.number
    begin_s = env.now
    made, update = work.trace(), into or Update()
    if arrived is not None:
        state = learner.aggregate(work, number, round, state, arrived).state
    update.cost = cost = learner.cost(number, round, peers, budget, plan)
    update.step = learner.train(work, number, round, state, cost)
    update.tasks = tuple(made)
    update.done = yield from node.compute(cost.total_flops, slowdown, stop)
    if update.done:
        update.compute_s, update.end_s = env.now - begin_s, env.now
    else:
        work.cancel(update.tasks)
    return update
