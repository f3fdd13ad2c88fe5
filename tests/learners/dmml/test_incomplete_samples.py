"""Learners that fuse modalities train on the samples that have them all."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_task import PATH, Deal, make_learner, make_setup, play_of

from learners.data.dataset import MultimodalDataset, Share
from learners.training.task import load_task
from netsim.core.errors import ScenarioError


class Incomplete(Deal):
    """Of device 0's rows the first ``lost`` lack audio, the last lacks visual; the others' are complete."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.lost = lost

    def deal(self, data: MultimodalDataset, device_count: int, seed: int) -> list[Share]:
        first, *others = super().deal(data, device_count, seed)
        absent = {"audio": first.samples[: self.lost], "visual": first.samples[-1:]}
        return [replace(first, absent=absent), *others]


def rows_of_first_device(name: str, lost: int) -> np.ndarray:
    learner = make_learner(name, partition=Incomplete(lost))
    learner = getattr(learner, "_inner", learner)
    (number, *_) = learner._shares
    return learner._tasks._store.value.shares[number]


@pytest.mark.parametrize("name", ["dmml", "dmml_kd", "dmml_kd_balance", "isolated"])
def test_a_device_trains_on_its_complete_samples(name: str) -> None:
    """Four devices share 96 rows in turn: device 0 has 0, 4, ..., 92, and loses the first five and the last."""
    assert rows_of_first_device(name, 5).tolist() == list(range(20, 92, 4))


def test_the_centralized_reference_trains_on_what_is_complete_anywhere() -> None:
    lost = {0, 4, 8, 12, 16, 92}
    assert rows_of_first_device("centralized", 5).tolist() == [row for row in range(96) if row not in lost]


def test_training_goes_on_with_fewer_samples_than_a_batch() -> None:
    learner = make_learner("dmml", partition=Incomplete(20))
    assert len(learner._tasks._store.value.shares[0]) == 3
    assert play_of(learner).train(0, 1)["loss_task", ""] > 0
    assert learner.sample_counts()[0] == 24  # what the device holds, not what this learner can use of it


@pytest.mark.parametrize("name", ["dmml", "isolated"])
def test_a_device_without_a_complete_sample_is_refused(name: str) -> None:
    with pytest.raises(
        ScenarioError, match=r"none of device 0's 24 samples has all of audio, visual.* Raise"
    ):
        make_learner(name, None, partition=Incomplete(23))


def test_a_modality_that_is_not_used_makes_no_sample_incomplete() -> None:
    setup = make_setup("dmml", partition=Incomplete(5), devices=len(PATH))
    shares = load_task(setup, ("visual",)).shares
    assert list(shares[0].absent) == ["visual"]
    assert shares[0].complete.tolist() == list(range(0, 92, 4))
    assert shares[1].absent == {}
