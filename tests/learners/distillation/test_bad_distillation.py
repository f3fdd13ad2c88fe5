"""What is wrong with a scenario is said before anything is loaded: the key, what was found, the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from netsim.core.errors import ScenarioError
from netsim.scenario import load_plan

SCENARIOS = Path(__file__).parents[3] / "scenarios"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("learner.graph=isles", r"learner\.graph: must be neighbours, .* \(got 'isles'\)\. Did you mean 'islands'\?"),
        ("learner.graph=[[0, 1], [1]]", r"graph: must be .*pairs \[teacher, student\].* \(got \[\[0, 1\], \[1\]\]\)"),
        ("learner.graph={1: cycle, 3: ring}", r"learner\.graph: must be .* \(got 'ring'\)"),
        ("learner.graph={0: cycle}", r"learner\.graph: rounds are counted from 1 \(got 0\)"),
        ("learner.graph={2: cycle}", r"graph: must say which graph round 1 has .*add 1"),
        ("learner.public={name: mnist, sice: 3}", r"public: 'mnist' has no option 'sice'\. Did you mean 'size'\?"),
        ("learner.public=mnst", r"learner\.public: unknown name 'mnst'\. Did you mean 'mnist'\?"),
        ("learner.networks={image: {name: cnn, chanels: [3]}}", r"networks\.image: 'cnn' has no option 'chanels'"),
        ("devices.classes.phone.networks={image: cn}", r"classes\.phone\.networks\.image\.name: unknown name 'cn'"),
        (
            "devices.classes.phone.networks={image: {name: cnn, chanels: [3]}}",
            r"classes\.phone\.networks\.image\.chanels: unknown key\. Did you mean 'channels'\?",
        ),
        (
            "devices.classes.phone.networks={image: {name: cnn, hidden: 0}}",
            r"classes\.phone\.networks\.image\.hidden: must be greater than 0 \(got 0\)",
        ),
        ("learner.name=dmml", r"classes\.phone\.networks: learner 'dmml' needs the same network .*fedmd, fedzkt, mhd"),
    ],
)  # fmt: skip
def test_it_is_one_sentence_about_one_key(setting: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said) as caught:
        load_plan(SCENARIOS / "mhd_fashion.yaml", [setting])
    if "learner.name" not in setting:  # which is about each of five classes
        assert len(str(caught.value).splitlines()) == 1


def test_a_path_inside_a_learner_s_block_starts_at_the_scenario_too() -> None:
    options = load_plan(SCENARIOS / "fedmd_fashion.yaml").parts["learner"].options
    assert options.public.source().options.root == (SCENARIOS / "../../shared/data").resolve()
