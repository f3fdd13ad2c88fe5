"""Devices with wrong labels or a broken modality: whose samples change, and by how much."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from data_examples import dataset

from learners.data.broken import BrokenModality, WrongLabels
from learners.data.dataset import MultimodalDataset
from learners.data.partitions.partition import IID, OwnerOptions
from learners.data.split import Split
from netsim.core.errors import ScenarioError

DEVICES = 6


def data() -> MultimodalDataset:
    """600 training samples of six classes; pixels of 0 and 200, and vectors of 2 and 4."""
    found = dataset([100] * 6)
    pixels = torch.zeros(606, 1, 4, 4, dtype=torch.uint8)
    pixels[::2] = 200
    vectors = torch.full((606, 3), 2.0, dtype=torch.float16)
    vectors[1::2] = 4.0
    return dataclasses.replace(found, inputs={"audio": vectors, "visual": pixels})


def dealt(seed: int = 0, **options: Any) -> Split:
    return IID(OwnerOptions(**options)).split(data(), DEVICES, seed)


def changed(split: Split, before: torch.Tensor, after: torch.Tensor) -> list[int]:
    """Samples of each device that are not as they were."""
    other = (before != after).flatten(1).any(1) if before.dim() > 1 else before != after
    assert int(other.sum()) == sum(int(other[share.samples].sum()) for share in split.shares)
    return [int(other[share.samples].sum()) for share in split.shares]


def test_nothing_is_wrong_unless_it_is_asked_for() -> None:
    before = data()
    assert IID(OwnerOptions()).split(before, DEVICES, 0).data is before


def test_wrong_labels_are_drawn_from_all_classes() -> None:
    """All 100 samples of devices 1 and 4; a random label of six is right in 100/6 cases, ± 3.7; so 83 change."""
    split = dealt(wrong_labels={"devices": [4, 1]})
    counts = changed(split, data().labels, split.data.labels)
    assert [counts[k] for k in (0, 2, 3, 5)] == [0] * 4
    assert all(abs(counts[k] - 500 / 6) < 4 * 3.7 for k in (1, 4))
    drawn = np.bincount(split.data.labels[split.shares[1].samples], minlength=6)
    assert drawn.sum() == 100 and drawn.min() > 0
    assert split.data.oddities["wrong_labels"] == {1: 100, 4: 100}
    assert split.data.labels[600:].equal(data().labels[600:])


def test_a_share_of_a_devices_labels() -> None:
    """A quarter of 100 samples are 25, of which 25 · 5/6 = 20.8 change, ± 1.9."""
    split = dealt(wrong_labels={"devices": [2], "share": 0.25})
    assert split.data.oddities["wrong_labels"] == {2: 25}
    assert 13 <= changed(split, data().labels, split.data.labels)[2] <= 25


def test_who_is_wrong_is_drawn_and_more_of_them_are_the_same_and_others() -> None:
    few, more = (set(dealt(wrong_labels={"devices": n}).data.oddities["wrong_labels"]) for n in (2, 4))
    assert len(few) == 2 and len(more) == 4 and few < more
    drawn = {
        tuple(dealt(seed, wrong_labels={"devices": 2}).data.oddities["wrong_labels"]) for seed in range(8)
    }
    assert len(drawn) > 1


def test_what_a_device_gets_wrong_does_not_hang_on_the_others() -> None:
    alone, both = (dealt(wrong_labels={"devices": own}) for own in ([3], [0, 3]))
    rows = alone.shares[3].samples
    assert alone.data.labels[rows].equal(both.data.labels[rows])
    assert dealt().shares[3].samples.tolist() == rows.tolist()


def test_noise_in_place_of_a_modality() -> None:
    """Vectors of 2 and 4: mean 3, deviation 1. Twice that: 300 numbers of mean 3 ± 0.12 and deviation 2 ± 0.08."""
    split = dealt(broken_modality={"devices": [5], "modality": "audio", "deviation": 2.0})
    after = split.data.inputs["audio"]
    assert after.dtype == torch.float16 and changed(split, data().inputs["audio"], after) == [0] * 5 + [100]
    noisy = after[split.shares[5].samples].double()
    assert abs(float(noisy.mean()) - 3) < 0.5 and abs(float(noisy.std()) - 2) < 0.35
    assert split.data.inputs["visual"].equal(data().inputs["visual"]) and split.data.labels.equal(
        data().labels
    )
    assert split.data.oddities["broken_modality"] == {"modality": "audio", "devices": [5]}


def test_noise_added_to_pixels_is_rounded_and_stays_in_their_range() -> None:
    """Deviation 0.1 of 100: pixels of 200 get 200 ± 10; those of 0 are cut off at 0 in half of the cases."""
    split = dealt(broken_modality={"devices": 1, "modality": "visual", "noise": "add", "deviation": 0.1})
    ((k,),) = [split.data.oddities["broken_modality"]["devices"]]
    rows = split.shares[k].samples
    before, after = data().inputs["visual"][rows], split.data.inputs["visual"][rows]
    bright = after[before == 200].double()
    assert (
        after.dtype == torch.uint8
        and abs(float(bright.mean()) - 200) < 2
        and abs(float(bright.std()) - 10) < 2
    )
    assert abs(float((after[before == 0] == 0).double().mean()) - 0.5) < 0.08


def test_only_owners_of_a_modality_can_have_it_broken() -> None:
    owned = [["audio"], ["visual"], ["visual"], ["audio", "visual"], ["visual"], ["visual"]]
    for seed in range(4):
        split = dealt(seed, modalities=owned, broken_modality={"devices": 2, "modality": "audio"})
        assert split.data.oddities["broken_modality"]["devices"] == [0, 3]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"wrong_labels": {"devices": 7}}, "must be at most 6, the number of devices"),
        ({"wrong_labels": {"devices": [6]}}, "device 6 is none of them"),
        ({"wrong_labels": {"devices": [1, 1]}}, "one is named twice"),
        ({"broken_modality": {"devices": 1, "modality": "smell"}}, "it has: audio, visual"),
        ({"broken_modality": {"devices": 7, "modality": "audio"}}, "the number of devices with 'audio'"),
    ],
)
def test_what_is_not_there_cannot_be_wrong(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        dealt(**options)


@pytest.mark.parametrize("devices", [0, -1, 1.5, "x", [], [-1], True, [0.5]])
def test_devices_are_a_number_or_a_list(devices: Any) -> None:
    for block in (WrongLabels, BrokenModality):
        with pytest.raises(ValueError, match="must be a number of devices, at least 1, or a list of devices"):
            block(devices=devices, modality="audio") if block is BrokenModality else block(devices=devices)


def test_tokens_and_shared_samples_cannot_be_broken() -> None:
    class Twice(IID):
        def deal(self, data: Any, device_count: int, seed: int) -> Any:
            return 2 * super().deal(data, device_count // 2, seed)

    tokens = dataclasses.replace(data(), inputs={"text": torch.zeros(606, 4, dtype=torch.int64)})
    noise = OwnerOptions(broken_modality={"devices": 1, "modality": "text"})  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match="tokens"):
        IID(noise).split(tokens, DEVICES, 0)
    with pytest.raises(ScenarioError, match="hold the same samples"):
        Twice(OwnerOptions(wrong_labels={"devices": 1})).split(data(), DEVICES, 0)  # type: ignore[arg-type]
