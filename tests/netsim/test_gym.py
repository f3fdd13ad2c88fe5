"""An agent decides in place of a policy: environments that Gymnasium's own checks accept."""

from __future__ import annotations

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import netsim
from netsim.core.errors import ScenarioError

SERVER = {"protocol": {"name": "server_rounds", "participants": 2}}
OFDMA = {"radio.access": {"name": "ofdma", "subcarriers": 8, "scheduler": "best_gain"}}
LISTED = {"devices.processor.frequencies_hz": [0.5e9, 1e9]}
CHOICES = {
    "parts of a frequency": ("cpu_frequency", {}),
    "places in a list": ("cpu_frequency", LISTED),
    "tx_power": ("tx_power", {}),
    "iterations": ("iterations", {"learner.iterations": 5}),
    "links": ("links", {}),
    "participants": ("participants", SERVER),
    "bandwidth": ("bandwidth", OFDMA),
    "bandwidth of an uplink": (
        "bandwidth",
        {"protocol": "server_rounds", "server.uplink.access": OFDMA["radio.access"]},
    ),
}
REWARD = {"joules": -1.0, "seconds": -0.1}


def play(env, actions, seed=0):
    """Play an episode with ``actions``, a function of the observation; its rewards and what it came to."""
    seen, _ = env.reset(seed=seed)
    rewards, ended, info = [], False, {}
    while not ended:
        seen, reward, ended, cut_short, info = env.step(actions(seen))
        assert env.observation_space.contains(seen) and not cut_short
        rewards.append(reward)
    env.close()
    return rewards, info


@pytest.fixture
def make(write_scenario, tmp_path):
    def made(decides="tx_power", reward=REWARD, *, rounds=3, set=None, **blocks):
        return netsim.gym.make(
            write_scenario(**blocks), decides, reward, rounds=rounds, set=set, cache=tmp_path
        )

    return made


@pytest.mark.parametrize("choice", CHOICES)
def test_gymnasium_finds_nothing_wrong(make, choice):
    """Its warnings are errors here."""
    decides, changes = CHOICES[choice]
    check_env(make(decides, set=changes))


@pytest.mark.parametrize("choice", CHOICES)
def test_a_random_agent_comes_to_the_end_and_a_seed_says_how(make, choice):
    decides, changes = CHOICES[choice]
    env = make(decides, set=changes)

    def random(seed):
        env.action_space.seed(seed)
        return play(env, lambda seen: env.action_space.sample(), seed=5)

    first, again, other = random(1), random(1), random(2)
    assert first == again and len(first[0]) == 3 and first[1]["round"] == 3
    assert first != other


@pytest.mark.parametrize(
    ("decides", "policies"),
    [
        ("cpu_frequency", {"cpu_frequency": {"name": "deadline_frequency", "deadline_s": 4}}),
        ("cpu_frequency", {"cpu_frequency": {"name": "equal_energy", "joules": 0.01}}),
        ("tx_power", {"tx_power": {"name": "channel_aware", "snr_db": 30}}),
        ("iterations", {"iterations": {"name": "fixed", "value": 2}}),
        ("links", {"links": "greedy_links"}),
        ("links", {}),
    ],
)
def test_where_the_agent_says_nothing_the_scenarios_policy_decides(make, simulate, decides, policies):
    """The rows are those of the run without an agent."""
    blocks = {"policies": policies, "learner": {"name": "stub", "flops": 4e9, "iterations": 5, "bits": 1e6}}
    env = make(decides, **blocks)
    rewards, info = play(env, lambda seen: None)
    _, log = simulate(**blocks, rounds=3)
    rows = [*log.rounds, *log.outside]
    spent_j = sum(row.compute_j + row.sending_j + row.receiving_j + row.idle_j for row in rows) / 3
    assert info["joules"] == pytest.approx(spent_j, rel=1e-12)
    assert info["seconds"] == max(row.end_s for row in rows)
    assert sum(rewards) == pytest.approx(-spent_j - 0.1 * info["seconds"])


@pytest.mark.parametrize("selection", ["uniform", "fastest", "channel_aware", "age_of_update"])
def test_selections_run_through_it(make, simulate, selection):
    blocks = {**SERVER, "server": {"selection": selection}}
    _, info = play(make("participants", **blocks), lambda seen: None)
    _, log = simulate(**blocks, rounds=3)
    assert info["seconds"] == max(row.end_s for row in log.server) and info["arrived"] == 2


def test_actions_mean_what_they_say(make):
    """Half of 1 GHz computes 4e9 FLOPs, 4 a cycle, in 2 s for 0.05 J; the best scores are those of 1 and 2."""
    env = make("cpu_frequency", set={"protocol.deadline_s": 60})  # all end their rounds in one moment
    env.reset()
    seen, *_ = env.step(np.full(3, 0.5, dtype=np.float32))
    assert seen["compute_s"] == pytest.approx([2.0] * 3) and seen["age"].tolist() == [0.0] * 3
    assert (seen["energy_j"] > 0.05).all()
    env.close()
    env = make("participants", set=SERVER)
    env.reset()
    seen, *_ = env.step(np.array([0.1, 0.2, 0.3], dtype=np.float32))
    assert seen["age"].tolist() == [1.0, 0.0, 0.0]
    env.close()


def test_bandwidth_goes_by_weights(make):
    """Eight sub-carriers by weights 1 and 3 to two transfers, by 1 : 3 = 2 : 6."""
    from netsim.app.agents.actions import Bandwidth
    from netsim.world.radio.schedulers import Bid

    agent = Bandwidth(lambda round: np.array([0.25, 0.75, 1.0]), None, 1)
    assert agent.deal([Bid(0, 9, 1.0, True), Bid(1, 9, 5.0, True)], 8) == [2, 6]
    assert sum(agent.deal([Bid(k, 9, 1.0, True) for k in (0, 1, 2)], 8)) == 8


def test_an_agent_learns_from_accuracy(make, late_fusion):
    """Rewards sum up to the last round's accuracy."""
    env = make("participants", {"accuracy": 1.0}, **SERVER, **late_fusion("fedavg", 4))
    rewards, info = play(env, lambda seen: np.ones(3, dtype=np.float32))
    assert 0 < info["accuracy"] <= 1 and sum(rewards) == pytest.approx(info["accuracy"])


def test_seeds_follow_each_other_and_a_run_can_be_left(make):
    env = make(radio={"channel": "rayleigh"})
    gains = []
    for seed in (7, None, 8, None):
        env.reset(seed=seed)
        seen, *_ = env.step(np.ones(3, dtype=np.float32))
        gains.append(seen["gain_db"].tolist())
    assert gains[1] == gains[2] and len({tuple(one) for one in gains}) == 3
    env.close()
    env.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"decides": "weather"},
            "decides: no 'weather'; there are cpu_frequency, tx_power, iterations, links, partici",
        ),
        ({"decides": "participants"}, "participants are chosen by a server; use protocol: server_rounds"),
        ({"decides": "bandwidth"}, "bandwidth needs radio.access: ofdma, whose sub-carriers are dealt"),
        ({"reward": {"beauty": 1.0}}, "reward: no 'beauty' here; there are seconds, joules, arrived"),
        (
            {"decides": "links", "set": SERVER},
            "links are chosen in rounds of decentralized_rounds only",
        ),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line(make, arguments, said):
    with pytest.raises(ScenarioError) as error:
        make(**arguments)
    assert said in str(error.value) and len(str(error.value).splitlines()) == 1


def test_an_error_of_the_run_reaches_the_agent(make):
    """The scenario's own policy decides for a frequency that no device has."""
    env = make("tx_power", set={"policies.cpu_frequency": {"name": "fixed", "value": 9e15}})
    env.reset()
    with pytest.raises(
        ScenarioError, match=r"Fixed.cpu_frequency of device \d, round 1: must return a frequency"
    ):
        env.step(np.full(3, 1.0))
    assert env.step(None)[2]


@pytest.mark.parametrize(
    ("choice", "action"),
    [
        ("tx_power", [0.5]),
        ("tx_power", [0.5] * 2 + [-0.1]),
        ("tx_power", [0.5] * 2 + [1.5]),
        ("tx_power", [0.5] * 2 + [float("nan")]),
        ("tx_power", "much"),
        ("places in a list", [0, 1, 2]),
        ("places in a list", [0.5, 1, 0]),
        ("links", [1, 0]),
    ],
)
def test_an_action_that_is_none_is_said_in_a_line(make, choice, action):
    """Gymnasium leaves that to the environment; a wrong one would mean anything, or end in NumPy's words."""
    decides, changes = CHOICES[choice]
    env = make(decides, set=changes)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset first"):
        env.step(None)
    env.reset(seed=0)
    with pytest.raises(
        ScenarioError, match=r"^netsim.gym: action: must be in \w+\(.*\), or None .* \(got .*\)$"
    ):
        env.step(action)
    env.step(None)  # the run still waits
    env.close()


def test_netsim_does_not_wait_for_gymnasium():
    code = "import json, sys, netsim; netsim.gym.make; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"gymnasium", "torch", "pandas", "simpy"} & set(json.loads(done.stdout))
