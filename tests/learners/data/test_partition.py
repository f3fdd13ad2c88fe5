from collections import Counter

import numpy as np
import pytest
from data_examples import dataset

from learners.data.partitions.partition import (
    IID,
    Dominant,
    DominantOptions,
    Natural,
    OwnerOptions,
    owners,
    table,
)
from learners.data.split import Partition
from netsim.core.errors import ScenarioError

# Training clips of CREMA-D's published split: NEU HAP SAD FEA DIS ANG, 6,698 in all.
CREMA_D = (973, 1148, 1131, 1138, 1142, 1166)
BOTH = ("audio", "visual")


def dominant(phi: float, **options: object) -> Dominant:
    return Dominant(DominantOptions(phi=phi, **options))  # type: ignore[arg-type]


def test_iid_gives_each_of_12_devices_558_of_6698_clips() -> None:
    data = dataset(CREMA_D)
    shares = IID(OwnerOptions()).deal(data, 12, seed=0)
    assert [len(share.samples) for share in shares] == [558] * 12
    together = np.concatenate([share.samples for share in shares])
    assert len(np.unique(together)) == 12 * 558
    assert np.isin(together, data.train).all()


def test_iid_devices_have_about_the_mix_of_all() -> None:
    """A class is hypergeometric on a device: mean 558 c/6698, standard deviation below sqrt(558 x 0.17) = 10."""
    counts = table(IID(OwnerOptions()).deal(dataset(CREMA_D), 12, seed=0), dataset(CREMA_D))
    expected = 558 * np.array(CREMA_D) / 6698
    assert np.abs(counts.iloc[:, 2:].to_numpy() - expected).max() < 4 * 10


@pytest.mark.parametrize(("phi", "of_dominant"), [(0.3, 167), (0.5, 279)])
def test_dominant_devices_have_phi_of_their_class_and_the_rest_of_others(
    phi: float, of_dominant: int
) -> None:
    """0.3 x 558 = 167.4 and 0.5 x 558 = 279; device k prefers class k mod 6, so each class is preferred twice."""
    data = dataset(CREMA_D)
    shares = dominant(phi).deal(data, 12, seed=3)
    assert len(np.unique(np.concatenate([share.samples for share in shares]))) == 12 * 558
    for k, share in enumerate(shares):
        assert len(share.samples) == 558
        assert int((data.labels.numpy()[share.samples] == k % 6).sum()) == of_dominant


def test_phi_of_zero_means_none_of_the_dominant_class() -> None:
    data = dataset((10, 10, 10))
    for k, share in enumerate(dominant(0.0).deal(data, 3, seed=1)):
        assert len(share.samples) == 10
        assert not (data.labels.numpy()[share.samples] == k).any()


@pytest.mark.parametrize("seed", range(20))
def test_a_forced_dealing_is_found(seed: int) -> None:
    """Two classes of 10 and two devices: the half that is not dominant can only be of the other class."""
    shares = dominant(0.5).deal(dataset((10, 10)), 2, seed)
    assert [len(share.samples) for share in shares] == [10, 10]


def test_phi_that_a_class_cannot_serve_is_refused() -> None:
    """Each of four devices gets 5 of 20; at 0.9, two of them want 5 of class NEU each, and 6 are there."""
    with pytest.raises(
        ScenarioError, match=r"partition.phi: 0.9 .* needs 10 samples of class 'NEU', but there are 6"
    ):
        dominant(0.9).deal(dataset((6, 14)), 4, seed=0)


def test_phi_that_leaves_too_few_others_is_refused() -> None:
    """Both devices want half of 10 from the class that is not theirs, but of the second class only 2 exist."""
    with pytest.raises(ScenarioError, match=r"partition.phi: 0.1 leaves too few samples of other classes"):
        dominant(0.1).deal(dataset((18, 2)), 2, seed=0)


def test_natural_deals_whole_groups() -> None:
    data = dataset((20, 20), groups=7)
    shares = Natural(OwnerOptions()).deal(data, 3, seed=0)
    holders = [set(data.groups[share.samples]) for share in shares]
    assert sorted(len(groups) for groups in holders) == [2, 2, 3]
    assert sum(len(groups) for groups in holders) == len(set.union(*holders)) == 7
    assert sum(len(share.samples) for share in shares) == 40


@pytest.mark.parametrize(("gamma", "both", "each"), [(1.0, 12, 0), (0.5, 6, 3), (0.0, 0, 6)])
def test_gamma_counts_owners(gamma: float, both: int, each: int) -> None:
    counts = Counter(owners(OwnerOptions(gamma=gamma), BOTH, 12, seed=0))
    assert counts == Counter({BOTH: both, ("audio",): each, ("visual",): each})


def test_three_modalities_take_turns() -> None:
    counts = Counter(owners(OwnerOptions(gamma=0.4), ("a", "b", "c"), 10, seed=0))
    assert counts == Counter({("a", "b", "c"): 4, ("a",): 2, ("b",): 2, ("c",): 2})


def test_listed_modalities_replace_gamma_and_keep_the_data_sets_order() -> None:
    listed = OwnerOptions(gamma=0.0, modalities=[["visual", "audio"], ["visual"]])
    assert owners(listed, BOTH, 2, seed=0) == [BOTH, ("visual",)]


@pytest.mark.parametrize(
    ("options", "devices", "message"),
    [
        (OwnerOptions(gamma=0.0), 1, r"partition.gamma: no device owns 'visual'"),
        (
            OwnerOptions(modalities=[["audio"], ["audio"]]),
            2,
            r"partition.modalities: no device owns 'visual'",
        ),
        (
            OwnerOptions(modalities=[["audio"]]),
            2,
            r"partition.modalities: must have one entry per device, 2 \(got 1\)",
        ),
        (
            OwnerOptions(modalities=[["audio"], ["smell"]]),
            2,
            r"partition.modalities\[1\]: must be some of audio, visual",
        ),
        (
            OwnerOptions(modalities=[["audio"], []]),
            2,
            r"partition.modalities\[1\]: must be some of audio, visual",
        ),
    ],
)
def test_owners_that_do_not_fit_are_refused(options: OwnerOptions, devices: int, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        owners(options, BOTH, devices, seed=0)


@pytest.mark.parametrize("partition", [IID(OwnerOptions()), dominant(0.5), Natural(OwnerOptions())])
def test_more_devices_than_samples_or_groups_are_refused(partition: Partition) -> None:
    with pytest.raises(ScenarioError, match="41 devices, but"):
        partition.deal(dataset((20, 20), groups=7), 41, seed=0)


@pytest.mark.parametrize(
    "partition", [IID(OwnerOptions(gamma=0.5)), dominant(0.5, gamma=0.5), Natural(OwnerOptions())]
)
def test_the_seed_decides(partition: Partition) -> None:
    def dealt(seed: int) -> list[tuple[list[int], tuple[str, ...]]]:
        shares = partition.deal(dataset((60, 60, 60), groups=30), 6, seed)
        return [(share.samples.tolist(), share.modalities) for share in shares]

    assert dealt(5) == dealt(5)
    assert dealt(5) != dealt(6)


def test_the_table_counts_labels_by_device() -> None:
    data = dataset((10, 10))
    counts = table(dominant(0.8, modalities=[["audio"], ["audio", "visual"]]).deal(data, 2, seed=0), data)
    assert counts.reset_index().to_dict("list") == {
        "device": [0, 1], "modalities": ["audio", "audio+visual"], "samples": [10, 10], "NEU": [8, 2], "HAP": [2, 8],
    }  # fmt: skip
