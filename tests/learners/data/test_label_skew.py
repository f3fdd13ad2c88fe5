from collections import Counter

import numpy as np
import pytest
from data_examples import dataset
from hypothesis import given
from hypothesis import strategies as st

from learners.data.dataset import MultimodalDataset, Share
from learners.data.partitions.label_skew import (
    ClassesPerDevice,
    ClassesPerDeviceOptions,
    PrimaryLabels,
    PrimaryLabelsOptions,
    dealt_labels,
    drawn_classes,
    drawn_labels,
)
from learners.data.split import Partition
from netsim.core.errors import ScenarioError
from netsim.core.streams import stream


def classes_per_device(**options: object) -> ClassesPerDevice:
    return ClassesPerDevice(ClassesPerDeviceOptions(**options))  # type: ignore[arg-type]


def primary_labels(**options: object) -> PrimaryLabels:
    return PrimaryLabels(PrimaryLabelsOptions(**options))  # type: ignore[arg-type]


def counts(shares: list[Share], data: MultimodalDataset) -> np.ndarray:
    """Samples by device and class."""
    labels = data.labels.numpy()
    return np.array([np.bincount(labels[share.samples], minlength=len(data.classes)) for share in shares])


@pytest.mark.parametrize("devices", [3, 5, 6, 20])
@pytest.mark.parametrize("classes", [2, 4, 6])
def test_each_device_has_so_many_classes_and_none_is_left(devices: int, classes: int) -> None:
    """Owners of a class have equally many of its 100 samples, or one more."""
    data = dataset([100] * 6)
    shares = classes_per_device(classes=classes).deal(data, devices, seed=0)
    assert sorted(np.concatenate([share.samples for share in shares])) == data.train.tolist()
    held = counts(shares, data)
    assert ((held > 0).sum(axis=1) == classes).all()
    for k in range(devices):
        assert held[k, k % 6] > 0
    for of_class in held.T:
        parts = of_class[of_class > 0]
        assert parts.max() - parts.min() <= 1


@given(
    class_count=st.integers(1, 12),
    device_count=st.integers(1, 30),
    each=st.integers(1, 12),
    seed=st.integers(0, 9),
)
def test_every_class_has_an_owner_where_there_is_room(
    class_count: int, device_count: int, each: int, seed: int
) -> None:
    each = min(each, class_count)
    own = drawn_classes(class_count, device_count, each, stream(seed, "test"))
    assert all(len(mine) == len(set(mine)) == each for mine in own)
    assert all(mine[0] == k % class_count for k, mine in enumerate(own))
    assert len({label for mine in own for label in mine}) >= min(class_count, device_count * each) * (
        device_count * each >= class_count
    )


def test_a_class_without_an_owner_stays_unused() -> None:
    data = dataset([10] * 6)
    shares = classes_per_device(classes=2).deal(data, 2, seed=0)
    held = counts(shares, data)
    assert (held.sum(axis=0) > 0).sum() == 4  # two devices of two classes, none twice
    assert held.sum() == 40


def test_other_classes_are_drawn_evenly() -> None:
    """Of 1,000 devices with class 0 first, each other of five comes to a fifth: deviation sqrt(1000 x 0.16) = 13."""
    own = drawn_classes(6, 6_000, 2, stream(3, "test"))
    second = Counter(mine[1] for mine in own if mine[0] == 0)
    assert set(second) == {1, 2, 3, 4, 5}
    assert max(abs(count - 200) for count in second.values()) < 4 * 13


def test_without_skewness_samples_are_dealt_evenly() -> None:
    """Each of 4 devices gets a sample of 4,000 with 1/4: mean 1,000, deviation sqrt(4000 x 3/16) = 27."""
    data = dataset([4000] * 6)
    shares = primary_labels(skewness=0).deal(data, 4, seed=1)
    assert sorted(np.concatenate([share.samples for share in shares])) == data.train.tolist()
    assert np.abs(counts(shares, data) - 1000).max() < 4.5 * 27


def test_a_primary_label_comes_as_often_as_the_skewness_says() -> None:
    """Six devices with a label each, s = 5: the owner has 6/11 of a class of 6,600, 3,600 +- 40, others 600 +- 23."""
    data = dataset([6600] * 6)
    held = np.sort(counts(primary_labels(skewness=5, primary=1).deal(data, 6, seed=2), data), axis=0)
    assert np.abs(held[-1] - 3600).max() < 4.5 * 40
    assert np.abs(held[:-1] - 600).max() < 4.5 * 23


@pytest.mark.parametrize(("assignment", "devices"), [("even", 9), ("even", 3), ("random", 30)])
def test_a_large_skewness_leaves_primary_labels_only(assignment: str, devices: int) -> None:
    data = dataset([300] * 6)
    shares = primary_labels(skewness=1e12, primary=2, assignment=assignment).deal(data, devices, seed=0)
    held = counts(shares, data)
    assert held.sum() == 1800
    assert ((held > 0).sum(axis=1) == 2).all()


def test_a_label_that_is_primary_nowhere_is_spread_over_all() -> None:
    """Two devices of two labels each leave two of six labels without one."""
    data = dataset([400] * 6)
    held = counts(primary_labels(skewness=1e12, primary=2).deal(data, 2, seed=0), data)
    spread = held[:, (held > 0).all(axis=0)]
    assert spread.shape == (2, 2)
    assert np.abs(spread - 200).max() < 4.5 * 10  # deviation sqrt(400 / 4)


@given(
    class_count=st.integers(1, 12),
    device_count=st.integers(1, 30),
    each=st.integers(1, 12),
    seed=st.integers(0, 9),
)
def test_even_assignment_gives_every_label_as_many_devices_or_one_more(
    class_count: int, device_count: int, each: int, seed: int
) -> None:
    each = min(each, class_count)
    own = dealt_labels(class_count, device_count, each, stream(seed, "test"))
    assert all(len(mine) == len(set(mine)) == each for mine in own)
    held = np.bincount(np.concatenate(own), minlength=class_count)
    assert held.max() - held.min() <= 1


def test_random_assignment_draws_each_devices_own() -> None:
    own = drawn_labels(6, 500, 3, stream(0, "test"))
    assert all(len(set(mine)) == 3 for mine in own)
    assert len({tuple(sorted(mine)) for mine in own}) == 20  # all of the 6 x 5 x 4 / 6 that there are


@pytest.mark.parametrize(
    "partition",
    [
        classes_per_device(classes=2, gamma=0.5),
        *(primary_labels(skewness=3, gamma=0.5, assignment=assignment) for assignment in ("even", "random")),
    ],
)
def test_the_seed_decides(partition: Partition) -> None:
    def dealt(seed: int) -> list[tuple[list[int], tuple[str, ...]]]:
        shares = partition.deal(dataset([50] * 6), 8, seed)
        return [(share.samples.tolist(), share.modalities) for share in shares]

    assert dealt(5) == dealt(5)
    assert dealt(5) != dealt(6)
    assert Counter(modalities for _, modalities in dealt(5)) == {
        ("audio", "visual"): 4, ("audio",): 2, ("visual",): 2,
    }  # fmt: skip


def test_too_many_classes_are_refused() -> None:
    data = dataset([10] * 6)
    with pytest.raises(ScenarioError, match=r"partition.classes: must be at most 6, .* \(got 7\)"):
        classes_per_device(classes=7).deal(data, 3, seed=0)
    with pytest.raises(ScenarioError, match=r"partition.primary: must be at most 6, .* \(got 7\)"):
        primary_labels(primary=7).deal(data, 3, seed=0)


def test_a_device_without_a_sample_is_refused() -> None:
    with pytest.raises(
        ScenarioError, match=r"partition: 3 of 5 devices, .* no sample .* \(partition.classes\)"
    ):
        classes_per_device(classes=1).deal(dataset([1, 1]), 5, seed=0)
    with pytest.raises(
        ScenarioError, match=r"partition: \d+ of 50 devices, .* no sample .*partition.skewness"
    ):
        primary_labels(primary=1).deal(dataset([10, 10]), 50, seed=0)
