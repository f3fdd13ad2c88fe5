from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from data_examples import dataset
from pydantic import ValidationError

from learners.data.dataset import MultimodalDataset, Share
from learners.data.partitions.dirichlet import (
    Dirichlet,
    DirichletOptions,
    class_counts,
    drawn_owners,
    not_recorded,
)
from netsim.core.errors import ScenarioError
from netsim.core.streams import stream

THREE = ("rgb", "flow", "audio")
CASES = ("A", "mixed-B", "2M-B", "1M-B", "C")


def dirichlet(**options: object) -> Dirichlet:
    return Dirichlet(DirichletOptions(**options))  # type: ignore[arg-type]


def three_modalities(per_class: int = 100) -> MultimodalDataset:
    """Six classes; the modalities of FedHGB."""
    data = dataset([per_class] * 6)
    inputs = {modality: torch.zeros(len(data.labels), 2) for modality in THREE}
    return MultimodalDataset(data.name, data.classes, inputs, data.labels, data.groups, data.train, data.test)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("devices", [3, 50])
def test_every_training_sample_is_on_one_device_and_none_is_left(case: str, devices: int) -> None:
    data = three_modalities()
    shares = dirichlet(case=case).deal(data, devices, seed=0)
    assert sorted(np.concatenate([share.samples for share in shares])) == data.train.tolist()
    assert min(len(share.samples) for share in shares) >= 2


def test_cases_differ_in_modalities_and_not_in_samples() -> None:
    """One seed: A, mixed-B and C deal the same rows, and C's devices own what mixed-B's do."""
    shares = {case: dirichlet(case=case).deal(three_modalities(), 12, seed=4) for case in CASES}
    for case in CASES:
        for one, other in zip(shares["A"], shares[case], strict=True):
            np.testing.assert_array_equal(one.samples, other.samples)
    assert [s.modalities for s in shares["C"]] == [s.modalities for s in shares["mixed-B"]]


def test_a_devices_mix_of_classes_is_dirichlet_where_devices_are_many() -> None:
    """The share x of one of C classes in Dir(a) over classes has mean 1/C and variance (1/C)(1 - 1/C)/(C a + 1).

    With C = 5 and a = 0.5 that is 0.16/3.5 = 0.0457. Over 2,000 devices the standard error of the variance is below
    0.25/sqrt(2000) = 0.006 (x is between 0 and 1), less for the mean of five classes.
    """
    counts = class_counts(np.full(5, 2_000_000), 2000, 0.5, 1, seed=0)
    mix = counts / counts.sum(axis=0)
    np.testing.assert_allclose(mix.mean(axis=1), 0.2, atol=0.02)
    assert mix.var(axis=1).mean() == pytest.approx(0.16 / 3.5, abs=0.006)


def test_a_class_spreads_less_evenly_at_a_small_concentration() -> None:
    """p_k of Dir(a) over K devices has variance (1/K)(1 - 1/K)/(K a + 1): falling in a."""
    spread = [class_counts(np.full(6, 1000), 12, a, 1, seed=1).std() for a in (0.1, 1.0, 10.0, 1e5)]
    assert all(above > below for above, below in pairwise(spread))
    assert spread[-1] < 1.5  # 1000/12 each, give or take the rounding


def test_devices_with_too_few_samples_are_drawn_anew() -> None:
    """With 60 devices and 600 samples of a harsh mix somebody is below 3 in almost every draw."""
    counts = class_counts(np.full(6, 100), 60, 0.5, 3, seed=0)
    assert counts.sum(axis=0).min() >= 3
    assert (counts.sum(axis=1) == 100).all()
    assert class_counts(np.full(6, 100), 60, 0.5, 1, seed=0).sum(axis=0).min() < 3


def test_classes_of_different_size_keep_their_size() -> None:
    counts = class_counts(np.array([0, 1, 1000]), 4, 0.5, 1, seed=0)
    assert counts.sum(axis=1).tolist() == [0, 1, 1000]


@pytest.mark.parametrize(
    ("options", "devices", "message"),
    [
        (
            {"min_samples": 60},
            12,
            r"partition.min_samples: 12 devices .* need 720, but there are 600 to train",
        ),
        (
            {"min_samples": 49, "concentration": 0.1},
            12,
            r"partition.concentration: at 0.1, some of 12 devices .* fewer than 49 .* Raise concentration",
        ),
        ({"case": "1M-B"}, 2, r"partition.case: in 1M-B, 2 devices own 2 of the data's 3 modalities"),
        ({"case": "A", "gamma": 0.0}, 2, r"partition.gamma: no device owns 'audio'"),
        (
            {"case": "C", "modalities": [["rgb"], ["flow"]]},
            2,
            r"partition.modalities: no device owns 'audio'",
        ),
    ],
)
def test_what_cannot_be_dealt_is_refused(options: dict[str, object], devices: int, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        dirichlet(**options).deal(three_modalities(), devices, seed=0)


def test_two_modalities_each_need_two() -> None:
    with pytest.raises(ScenarioError, match=r"2M-B gives every device 2 modalities, but the data has 1"):
        drawn_owners("2M-B", ("audio",), 5, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"case": "B"}, "case"),
        ({"concentration": 0}, "concentration"),
        ({"case": "C", "kept": [0.0, 1.0]}, "kept: must be two fractions"),
        ({"case": "C", "kept": [0.8, 0.6]}, "kept: must be two fractions"),
        ({"case": "mixed-B", "kept": [0.2, 0.6]}, "nothing is left out in case mixed-B; use case C"),
        ({"case": "1M-B", "gamma": 0.5}, "case 1M-B says who owns what; use case A, or leave gamma out"),
        ({"case": "2M-B", "modalities": [["rgb"]]}, "modalities: case 2M-B says who owns what"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DirichletOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("case", "numbers"), [("mixed-B", {1, 2, 3}), ("2M-B", {2}), ("1M-B", {1})])
def test_case_b_says_how_many_modalities_a_device_owns(case: str, numbers: set[int]) -> None:
    owned = drawn_owners(case, THREE, 200, seed=0)
    assert {len(own) for own in owned} == numbers
    assert all(list(own) == [m for m in THREE if m in own] for own in owned)


def test_mixed_b_draws_the_number_uniformly() -> None:
    """Each of three numbers has probability 1/3: of 3,000 devices 1,000, standard deviation sqrt(3000 x 2/9) = 26."""
    counts = Counter(len(own) for own in drawn_owners("mixed-B", THREE, 3000, seed=0))
    assert all(abs(counts[number] - 1000) < 4 * 26 for number in (1, 2, 3))


@pytest.mark.parametrize("case", ["mixed-B", "1M-B", "2M-B"])
@pytest.mark.parametrize("seed", range(20))
def test_every_modality_has_an_owner(case: str, seed: int) -> None:
    """Three devices with one modality each own all three in 6 of 27 draws: most seeds need another draw."""
    assert {m for own in drawn_owners(case, THREE, 3, seed) for m in own} == set(THREE)


def test_with_two_modalities_2m_b_is_a() -> None:
    data = dataset((50, 50))
    for a, b in zip(
        dirichlet(case="A").deal(data, 5, 0), dirichlet(case="2M-B").deal(data, 5, 0), strict=True
    ):
        assert a.modalities == b.modalities == ("audio", "visual")
        np.testing.assert_array_equal(a.samples, b.samples)


@pytest.mark.parametrize("seed", range(20))
def test_case_c_leaves_every_sample_a_modality_and_keeps_fractions(seed: int) -> None:
    """Half of 41 samples, rounded half up, is 21; two modalities of 21 reach all 41, so no more is kept."""
    samples = np.arange(100, 141)
    absent = not_recorded(samples, ("a", "b"), (0.5, 0.5), stream(seed, "test"))
    assert {m: len(rows) for m, rows in absent.items()} == {"a": 20, "b": 20}
    assert len(np.intersect1d(absent["a"], absent["b"])) == 0
    assert all(np.isin(rows, samples).all() for rows in absent.values())


def test_fractions_that_cannot_reach_every_sample_are_exceeded_by_what_is_needed() -> None:
    """A tenth of 100 samples each of three modalities would leave at least 70 with nothing; those 70 get one each."""
    absent = not_recorded(np.arange(100), THREE, (0.1, 0.1), stream(0, "test"))
    assert sum(100 - len(rows) for rows in absent.values()) == 100
    assert not set.intersection(*(set(rows.tolist()) for rows in absent.values()))


def test_in_case_c_modalities_have_different_sizes_and_samples_are_incomplete() -> None:
    data = three_modalities()
    shares = dirichlet(case="C", kept=[0.4, 0.9]).deal(data, 12, seed=0)
    mixed = [share for share in shares if len(share.modalities) > 1]
    assert mixed and any(len(share.complete) < len(share.samples) for share in mixed)
    for share in shares:
        if len(share.modalities) == 1:
            assert not share.absent
        assert set(share.absent) <= set(share.modalities)
        having = [share.having(m) for m in share.modalities]
        assert np.array_equal(np.unique(np.concatenate(having)), share.samples)
    assert len({len(rows) for share in mixed for rows in share.absent.values()}) > 1


def test_listed_modalities_stand_in_case_c() -> None:
    listed = [["rgb", "audio"], ["flow"]]
    shares = dirichlet(case="C", modalities=listed).deal(three_modalities(), 2, seed=0)
    assert [share.modalities for share in shares] == [("rgb", "audio"), ("flow",)]
    assert shares[0].absent and not shares[1].absent


def test_a_share_knows_its_complete_rows() -> None:
    """Rows 4 and 6 lack audio, 6 and 8 visual; what was not recorded of a modality out of use does not count."""
    absent = {"audio": np.array([4, 6]), "visual": np.array([6, 8])}
    share = Share(np.array([2, 4, 6, 8]), ("audio", "visual"), absent)
    assert share.complete.tolist() == [2]
    assert share.having("audio").tolist() == [2, 8]
    assert share.having("smell").tolist() == []
    assert Share(share.samples, ("audio",), absent).complete.tolist() == [2, 8]
    whole = Share(share.samples, ("audio", "visual"))
    assert whole.complete is whole.samples


def test_the_table_counts_incomplete_samples_by_modality() -> None:
    data = dataset((2, 2))
    absent = {"audio": np.array([0]), "visual": np.array([1, 2])}
    shares = [Share(np.array([0, 1, 2]), ("audio", "visual"), absent), Share(np.array([3]), ("visual",))]
    assert data.table(shares).reset_index().to_dict("list") == {
        "device": [0, 1], "modalities": ["audio+visual", "visual"], "samples": [3, 1],
        "audio samples": [2, 0], "visual samples": [1, 1], "complete": [0, 1], "NEU": [2, 0], "HAP": [1, 1],
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_seed_decides(case: str) -> None:
    def dealt(seed: int) -> list[object]:
        shares = dirichlet(case=case).deal(three_modalities(), 6, seed)
        return [
            (s.samples.tolist(), s.modalities, {m: r.tolist() for m, r in s.absent.items()}) for s in shares
        ]

    assert dealt(5) == dealt(5)
    assert dealt(5) != dealt(6)
