"""Step sizes by round: factors by hand, and that every learner trains with them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from server_play import AUDIO, SMALL, Play, make
from tiny_task import make_learner, play_of

from learners.training.schedules import ScheduleChoice
from netsim.core.errors import ScenarioError
from netsim.core.registry import names

FACTORS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "constant": ({}, [1, 1, 1, 1]),
    "step": ({"every": 2, "factor": 0.5}, [1, 1, 0.5, 0.5, 0.25]),
    "cosine": ({}, [1, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 - math.cos(math.pi / 4)) / 2]),
    "inverse": ({"decay": 2}, [1, 1 / 3, 1 / 5, 1 / 7]),
    "warm_up": ({"rounds": 2, "then": {"name": "inverse"}}, [1 / 2, 1, 1, 1 / 2]),
}


@pytest.mark.parametrize("name", FACTORS)
def test_factors_by_hand(name: str) -> None:
    """T = 4 rounds; a cosine halves in the middle; warm-up is followed by the first round of what comes then."""
    options, expected = FACTORS[name]
    choice = ScheduleChoice(name=name, **options)
    assert [choice.factor(t, 4) for t in range(len(expected))] == pytest.approx(expected)
    assert choice.factor(6, 4, unit=3) == pytest.approx(expected[2]), "two rounds of three steps are over"


def test_every_schedule_has_its_hand_computed_example() -> None:
    assert sorted(FACTORS) == names("schedules")


def test_a_part_of_a_cosine_is_left() -> None:
    """With a quarter left the middle is 1/4 + 3/4 · 1/2 = 5/8."""
    assert ScheduleChoice(name="cosine", least=0.25).factor(2, 4) == pytest.approx(0.625)


def test_a_schedule_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown name 'cosin'. Did you mean 'cosine'"):
        ScheduleChoice(name="cosin")


def paces(learner: Any, rounds: int) -> list[float]:
    """Of device 0, in each round."""
    play, found = play_of(learner), []
    for t in range(1, rounds + 1):
        found.append(play.job(0, t).inputs["pace"])
        play.round(t)
    return found


@pytest.mark.parametrize("name", ["dmml", "dmml_kd", "fedavg"])
def test_devices_without_a_server_train_at_the_pace_of_their_round(name: str) -> None:
    own = SMALL if name == "fedavg" else {}
    learner = make_learner(name, schedule={"name": "inverse"}, **own)
    assert paces(learner, 3) == [1.0, 1 / 2, 1 / 3]


@pytest.mark.parametrize("name", ["fedavg", "fedasync"])
def test_clients_train_at_the_pace_of_the_servers_version(name: str) -> None:
    """Three clients, two rounds: 1, then 1/2. A server that does not wait may be at another version than a client."""
    play = Play(make(name, **AUDIO, schedule={"name": "inverse"}))
    for t, pace in enumerate([1.0, 1 / 2], start=1):
        turn = play.begin([0, 1, 2])
        play.results(turn)
        assert {job.inputs["pace"] for job in play.executor.jobs.values()} == {pace}, t
        play.combine(turn)


def test_the_size_of_adams_work_is_not_known() -> None:
    for changes in ({"name": "fednova"}, {"name": "fedavg", "aggregation_weights": "per_step"}):
        with pytest.raises((ScenarioError, ValueError), match=r"optimizer: the size of a client's work"):
            make(changes.pop("name"), optimizer="adam", **changes)
