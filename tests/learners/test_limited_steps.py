"""Policies limit what learners train and with whom they mix."""

from __future__ import annotations

import pytest

import netsim
from netsim.core.errors import ScenarioError

DATA = {
    "data": {"name": "generated", "samples": 60, "test_samples": 40, "shape": [8]},
    "jobs": {"executor": "inline", "stacking": "off"},
    "evaluation": {"every": 2},
}
MLP = {"features": {"name": "mlp", "hidden": [4]}}


@pytest.fixture
def rounds(write_scenario, tmp_path):
    """Runs a small scenario; its table of rounds."""

    def run(name, protocol="decentralized_rounds", compression=None, **policies):
        learner = {"name": name, "batch_size": 4, "networks": MLP}
        learner |= {"compression": compression} if compression else {}
        partition = {"name": "iid", "public_share": 0.2 if name == "mhd" else 0.0}
        learner |= {"of": "fedavg"} if name == "isolated" else {}
        file = write_scenario(
            policies=policies, learner=learner, protocol=protocol, partition=partition, **DATA
        )
        run = netsim.run(file, runs=tmp_path / "runs", cache=tmp_path / "cache", quiet=True)
        return run.rounds

    return run


@pytest.mark.parametrize(("name", "own"), [("fedavg", 4), ("isolated", 4), ("dmml", 5)])
def test_steps_are_limited_where_there_would_be_more(rounds, name, own):
    """All mini-batches have four samples; device 1 may make more than it does."""
    whole, limited = rounds(name), rounds(name, iterations={"name": "fixed", "value": [2, 9, 3]})
    assert set(whole.iterations_features) == {own} and len(set(whole.flops)) == 1
    steps = limited.device.map({0: 2, 1: own, 2: 3})
    assert limited.iterations_features.tolist() == steps.tolist()
    assert limited.flops.tolist() == pytest.approx((whole.flops[0] * steps / own).tolist(), rel=1e-9)


@pytest.mark.parametrize("name", ["fedavg", "dmml"])
def test_thinned_rounds_are_learnt(rounds, name):
    """A star of three devices: four messages a round."""
    assert rounds(name, links={"name": "greedy_links", "degree": 0}).groupby(
        "round"
    ).received.sum().tolist() == [4, 4]


def test_a_learner_that_makes_its_own_number_of_steps_is_named(rounds):
    with pytest.raises(ScenarioError) as error:
        rounds("mhd", iterations={"name": "fixed", "value": 2})
    assert "policies.iterations: learner 'mhd' makes its own number of steps" in str(error.value)
    with pytest.raises(ScenarioError) as error:
        rounds("mhd", links="greedy_links")
    assert "policies.links: learner 'mhd' cannot learn where neighbours change" in str(error.value)
    with pytest.raises(ScenarioError) as error:
        rounds("dmml", compression="sign", links="greedy_links")  # which it can without compression
    assert "from round to round (because of learner.compression); leave policies.links out" in str(
        error.value
    )
