"""Gymnasium environments: an agent decides what a policy would; ``netsim.gym.make`` makes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsim.core.errors import ScenarioError

if TYPE_CHECKING:
    from netsim.app.agents.environment import Environment


def make(
    scenario: str | Path,
    decides: str,
    reward: Mapping[str, float],
    *,
    rounds: int | None = None,
    set: Mapping[str, Any] | None = None,
    most_iterations: int = 10,
    cache: str | Path | None = None,
) -> Environment:
    """Make an environment in which an agent decides in each round of a scenario.

    A step lasts from the beginning of a round to that of the next. Its reward is the sum of what has changed meanwhile,
    each times its weight.

    Args:
        scenario: The file.
        decides: What the agent decides: ``cpu_frequency``, ``tx_power``, ``iterations``, ``participants``, ``links`` or
            ``bandwidth``.
        reward: Weights by name: ``seconds`` of simulated time, ``joules`` (mean over devices), and metrics of the
            learner, such as ``accuracy`` (mean over devices).
        rounds: Number of rounds in place of the scenario's.
        set: Other keys of it, with dots.
        most_iterations: With ``iterations``, the most local steps that the agent can ask for.
        cache: Folder for pre-processed data; default: what ``NETSIM_CACHE`` says, or ``.cache``.

    Raises:
        ScenarioError: Something is wrong with the scenario, the decision or the reward; or Gymnasium is not installed.
    """
    try:
        from gymnasium.envs.registration import EnvSpec

        from netsim.app.agents.environment import Environment
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        raise ScenarioError("netsim.gym: needs Gymnasium; pip install 'netsim[gym]'") from error
    env = Environment(scenario, decides, reward, rounds, set or {}, most_iterations, cache)
    given: dict[str, Any] = {
        "scenario": scenario,
        "decides": decides,
        "reward": reward,
        "rounds": rounds,
        "set": set,
    }
    given |= {"most_iterations": most_iterations, "cache": cache}
    env.spec = EnvSpec("netsim-v0", entry_point="netsim.gym:make", disable_env_checker=True, kwargs=given)
    return env
