"""A node's local update: its cost, the tasks that compute it, and the simulated time that it takes."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from netsim.core.budget import Budget
from netsim.learner import Cost, Learner, Step
from netsim.work.graph import Task, TaskGraph
from netsim.world.devices.device import Device

Process = Generator[simpy.Event, Any, Any]


@dataclass
class Update:
    """A local update.

    Attributes:
        cost: FLOPs and iterations of the computation.
        step: The node's new state, message and metrics, valid if the computation is completed.
        tasks: The tasks that compute it.
        done: Whether the simulated computation was completed.
        compute_s: Simulated duration of the computation [s]; None if it was not completed.
        end_s: Simulated time of its end [s]; NaN if it was not completed.
    """

    cost: Cost = field(default_factory=Cost)
    step: Step = field(default_factory=Step)
    tasks: Sequence[Task] = ()
    done: bool = False
    compute_s: float | None = None
    end_s: float = math.nan


def order_update(
    learner: Learner,
    work: TaskGraph,
    number: int,
    round: int,
    state: Any,
    *,
    peers: Sequence[int],
    budget: Budget,
    plan: Any = None,
    arrived: dict[int, Any] | None = None,
    into: Update | None = None,
) -> Update:
    """Order the tasks of a node's local update, which begins now; return it. No simulated time passes here.

    Args:
        learner: The algorithm.
        work: The task graph.
        number: The node, a device or the server.
        round: The node's round.
        state: The node's state.
        peers: Numbers of the nodes that it exchanges messages with.
        budget: The node's remaining energy and its costs, as far as it knows them.
        plan: The cluster head's decision for the node.
        arrived: Messages to combine before training, by sender; None for none.
        into: The update to fill in; by default a new one.
    """
    made, update = work.trace(), into or Update()
    if arrived is not None:
        state = learner.aggregate(work, number, round, state, arrived).state
    update.cost = cost = learner.cost(number, round, peers, budget, plan)
    update.step = learner.train(work, number, round, state, cost)
    update.tasks = tuple(made)
    return update


def local_update(
    learner: Learner,
    work: TaskGraph,
    node: Device,
    round: int,
    state: Any,
    *,
    slowdown: float = 1.0,
    stop: simpy.Event | None = None,
    **ordered: Any,
) -> Process:
    """Let ``node`` train from its ``state`` (a SimPy process); return the :class:`Update`.

    Its tasks are cancelled if the computation is cut off, by ``stop`` or by an empty battery.

    Args:
        learner: The algorithm.
        work: The task graph.
        node: A device, or the server.
        round: The node's round.
        state: The node's state.
        slowdown: The node's straggler factor: its computation takes this many times as long.
        stop: Event that cuts the computation off.
        ordered: What else :func:`order_update` takes.
    """
    env, begin_s = node.env, node.env.now
    update = order_update(learner, work, node.number, round, state, **ordered)
    update.done = yield from node.compute(update.cost.total_flops, slowdown, stop)
    if update.done:
        update.compute_s, update.end_s = env.now - begin_s, env.now
    else:
        work.cancel(update.tasks)
    return update
