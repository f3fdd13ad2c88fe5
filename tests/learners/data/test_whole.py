"""What a data source returns is looked at once, and what does not fit is named."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from learners.data.dataset import MultimodalDataset
from learners.data.whole import check_dataset
from netsim.core.errors import ScenarioError

RIGHT = MultimodalDataset(
    name="six samples",
    classes=("no", "yes"),
    inputs={"sound": torch.zeros(6, 4), "touch": torch.zeros(6, 2, 3)},
    labels=torch.tensor([0, 1, 0, 1, 0, 1]),
    groups=np.zeros(6, dtype=np.int64),
    train=np.arange(4),
    test=np.arange(4, 6),
)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a list": ({"labels": [0, 1] * 3}, r"whose labels are a tensor \[samples\] \(got \[0, 1, 0, 1, 0, 1\]\)"),
    "bytes": (
        {"labels": RIGHT.labels.byte()},
        r"whose labels are int64.*\(got Tensor of torch.uint8 \[6\]\)",
    ),
    "numbers and classes": ({"labels": RIGHT.labels.float()}, "whose labels are int64, for it has classes"),
    "a third class": (
        {"labels": RIGHT.labels + 1},
        r"from 0 to 1, for it has 2 classes \(got labels from 1 to 2\)",
    ),
    "none": ({"inputs": {}}, "whose inputs are a tensor"),
    "an array": (
        {"inputs": {"touch": np.zeros((6, 3))}},
        r"of .touch. are a tensor.*ndarray of float64 \[6, 3\]",
    ),
    "too short": (
        {"inputs": {"touch": torch.zeros(5, 3)}},
        r"tensor \[6, \.\.\.\], for it has 6 labels.*\[5, 3\]",
    ),
    "groups": ({"groups": np.zeros(3, dtype=np.int64)}, r"whose groups are an array \[6\]"),
    "a mask": ({"train": np.ones(6, dtype=bool)}, r"whose train is an array of row numbers.*of bool \[6\]"),
    "nothing to test": ({"test": np.array([], dtype=np.int64)}, "whose test has a row at least"),
    "a row too many": ({"test": np.array([4, 6])}, r"test has rows from 0 to 5 \(got rows from 4 to 6\)"),
    "seen before": ({"train": np.arange(5)}, r"no row in common \(got 1 in both, the first 4\)"),
}


def test_what_fits_passes():
    check_dataset("Source", RIGHT)
    check_dataset("Source", dataclasses.replace(RIGHT, classes=(), labels=torch.rand(6)))


def test_what_is_no_data_set_is_named():
    with pytest.raises(
        ScenarioError, match=r"^data: Source.load: must return a MultimodalDataset \(got \{'a': 1\}\)$"
    ):
        check_dataset("Source", {"a": 1})


@pytest.mark.parametrize("fault", WRONG)
def test_what_does_not_fit_is_named(fault):
    changed, said = WRONG[fault]
    with pytest.raises(ScenarioError, match=f"^data: Source.load: must return a data set {'.*'}{said}"):
        check_dataset("Source", dataclasses.replace(RIGHT, **changed))
