"""Makes the policies of a scenario."""

from __future__ import annotations

from netsim.core.errors import ScenarioError
from netsim.learner import Learner, because_of
from netsim.protocols.decisions import Decisions
from netsim.scenario.loading import Plan
from netsim.world.network import Network
from netsim.world.policies.policy import DECISIONS


def make_decisions(plan: Plan, learner: Learner, network: Network) -> Decisions | None:
    """Make the policies of ``plan`` and what asks them; None if there are none.

    Raises:
        ScenarioError: What one decides is decided elsewhere; names the key.
    """
    made = {}
    for decision in DECISIONS:
        part = plan.parts.get(f"policies.{decision}")
        if part is None:
            continue
        if decision == "iterations" and not learner.limits_steps:
            raise ScenarioError(
                f"policies.iterations: learner {plan.parts['learner'].name!r} makes its own number of steps; leave "
                "policies.iterations out, or let its cost ask budget.at_most and state limits_steps = True"
            )
        if decision == "links" and not learner.takes_motion:
            raise ScenarioError(
                f"policies.links: learner {plan.parts['learner'].name!r} cannot learn where neighbours change from "
                f"round to round{because_of(learner)}; leave policies.links out"
            )
        governed = [one.number for one in network.devices if one.processor.governor != "fixed"]
        if decision == "cpu_frequency" and governed:
            raise ScenarioError(
                f"policies.cpu_frequency: device {governed[0]} has a governor, which decides that; use one of them"
            )
        made[decision] = part.make(plan.scenario.seed)
    return Decisions(made, network, plan.scenario.rounds) if made else None
