import time
from math import erf, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch

from learners.data.dataset import MultimodalDataset
from learners.data.partitions.partition import IID, OwnerOptions
from learners.data.sets.generated import Generated, GeneratedOptions, class_means
from netsim.core.errors import ScenarioError


def load(seed: int = 0, **options: object) -> MultimodalDataset:
    return Generated(GeneratedOptions(**options)).load(seed, Path("unused"), lambda text: None)  # type: ignore[arg-type]


def test_sizes_are_as_asked_and_the_data_says_what_it_is() -> None:
    data = load(samples=30, test_samples=12, shape=(1, 28, 28), classes=3)
    assert data.inputs["features"].shape == (42, 1, 28, 28)
    assert data.inputs["features"].dtype == torch.float32
    assert data.name == "generated data (3 Gaussian clouds)"
    assert not data.surrogate, "it stands in for nothing"
    for rows, each in ((data.train, 10), (data.test, 4)):
        assert torch.bincount(data.labels[rows]).tolist() == [each] * 3


def test_any_two_means_are_as_far_apart_as_asked() -> None:
    means = class_means(4, 57, separation=3.0, seed=1)
    apart = [np.linalg.norm(means[i] - means[j]) for i in range(4) for j in range(i)]
    assert apart == pytest.approx([3.0] * 6, rel=1e-5)


def test_samples_lie_around_their_means_with_variance_one() -> None:
    data = load(samples=20_000, shape=(5,), classes=2)
    means = class_means(2, 5, 2.0, seed=0)
    for label in range(2):
        x = data.inputs["features"][data.labels == label].numpy()
        assert x.mean(0) == pytest.approx(means[label], abs=4.5 / sqrt(len(x)))
        assert x.var(0) == pytest.approx(np.ones(5), abs=4.5 * sqrt(2 / len(x)))


def test_two_clouds_are_told_apart_as_well_as_theory_says() -> None:
    """The best classifier asks which mean is nearer, and is right in Φ(2/2) = 84.1 % of cases."""
    data = load(samples=20_000)
    means = torch.from_numpy(class_means(2, 57, 2.0, seed=0))
    nearest = torch.cdist(data.inputs["features"], means).argmin(1)
    best = (1 + erf(1 / sqrt(2))) / 2
    right = (nearest == data.labels).double().mean().item()
    assert right == pytest.approx(best, abs=4 * sqrt(best * (1 - best) / len(data.labels)))


def test_the_seed_decides() -> None:
    one, same, other = (load(seed, samples=50).inputs["features"] for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_more_classes_than_numbers_are_refused() -> None:
    with pytest.raises(
        ScenarioError, match=r"data.classes: must be at most .* 4 for shape \[2, 2\] \(got 5\)"
    ):
        Generated(GeneratedOptions(shape=(2, 2), classes=5)).check()


def test_ten_thousand_devices_are_served_in_seconds() -> None:
    """A tenth of a second on two cores; what is quadratic takes minutes."""
    start_s = time.perf_counter()
    data = load(samples=200_000)
    shares = IID(OwnerOptions()).deal(data, 10_000, seed=0)
    assert {len(share.samples) for share in shares} == {20}
    assert len(np.unique(np.concatenate([share.samples for share in shares]))) == 200_000
    assert time.perf_counter() - start_s < 10
