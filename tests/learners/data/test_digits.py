from pathlib import Path

import numpy as np
import pytest
import torch

from learners.data.dataset import MultimodalDataset
from learners.data.sets.digits import Digits, DigitsOptions, bundled_digits
from learners.data.sets.image_source import Images, balanced, standardise
from netsim.core.errors import ScenarioError
from netsim.core.streams import stream


def load(cache: Path, seed: int = 0, **options: object) -> MultimodalDataset:
    source = Digits(DigitsOptions(**options))  # type: ignore[arg-type]
    source.check()
    return source.load(seed, cache, lambda text: None)


def test_all_are_split_evenly_by_class(tmp_path: Path) -> None:
    data = load(tmp_path)
    assert data.inputs["image"].shape == (1797, 1, 28, 28)
    assert data.inputs["image"].dtype == torch.uint8 and data.labels.dtype == torch.int64
    assert (len(data.train), len(data.test)) == (1500, 297)
    assert np.bincount(data.labels[data.test]).tolist() == [30] * 7 + [29] * 3
    assert not data.surrogate and data.modalities == Digits.MODALITIES and not data.groups.any()


def test_subsets_are_balanced_and_the_same_for_every_seed(tmp_path: Path) -> None:
    one, other = (load(tmp_path, seed, train_samples=105, test_samples=20, size=8) for seed in (1, 2))
    assert torch.equal(one.inputs["image"], other.inputs["image"])
    assert np.bincount(one.labels[one.train]).tolist() == [11] * 5 + [10] * 5
    assert np.bincount(one.labels[one.test]).tolist() == [2] * 10


def test_networks_see_training_images_of_mean_zero_and_deviation_one(tmp_path: Path) -> None:
    data = load(tmp_path, size=16)
    seen = data.transforms["image"].test(data.inputs["image"][data.train])
    assert seen.shape == (1500, 1, 16, 16)
    assert float(seen.mean()) == pytest.approx(0, abs=1e-4)
    assert float(seen.std()) == pytest.approx(1, abs=1e-4)


def test_an_image_is_cut_into_two_modalities(tmp_path: Path) -> None:
    """9 columns are 4 and 5. Put together again they are the image; each half is standardised for itself."""
    whole = load(tmp_path, size=9).inputs["image"]
    for cut, axis in (("left_right", 3), ("top_bottom", 2)):
        data = load(tmp_path, size=9, cut=cut)
        assert data.modalities == tuple(cut.split("_"))
        halves = [data.inputs[m] for m in data.modalities]
        assert [half.shape[axis] for half in halves] == [4, 5] and torch.cat(halves, axis).equal(whole)
        for m in data.modalities:
            seen = data.transforms[m].test(data.inputs[m][data.train])
            assert float(seen.mean()) == pytest.approx(0, abs=1e-4) and float(seen.std()) == pytest.approx(
                1, abs=1e-3
            )


def test_pixels_use_the_whole_range() -> None:
    train, test = bundled_digits()
    assert int(train.pixels.min()) == 0 and int(train.pixels.max()) == 255
    assert test.pixels.shape[1:] == (1, 8, 8)


def test_too_many_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"data.train_samples: must be at most 1500, .* \(got 1501\)"):
        load(tmp_path, train_samples=1501)


def test_classes_take_turns_until_one_is_used_up() -> None:
    """3 of class 0, 10 of class 1: of 8, all three and five; a larger draw holds the smaller one."""
    labels = np.array([0] * 3 + [1] * 10)
    rows = balanced(labels, 8, stream(0, "test"))
    assert np.bincount(labels[rows]).tolist() == [3, 5]
    assert set(balanced(labels, 4, stream(0, "test"))) < set(rows)
    assert balanced(labels, 13, stream(0, "test")).tolist() == list(range(13))


def test_each_channel_has_its_own_scale() -> None:
    """Channel 0 is 0 and 10 in turn (mean 5, deviation 5); channel 1 is 7 everywhere."""
    pixels = torch.full((4, 2, 1, 1), 7, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.tensor([0, 10, 0, 10])
    scaled = standardise(pixels).test(pixels)
    assert scaled[:, 0].flatten().tolist() == [-1, 1, -1, 1]
    assert scaled[:, 1].flatten().tolist() == [0] * 4


def test_resizing_halves_a_step_without_aliasing() -> None:
    """Averages of stripes one pixel wide are grey, except at the edges, where the window is cut."""
    stripes = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    stripes[..., ::2] = 200
    small = Images(stripes, np.zeros(1, dtype=np.int64)).resized(4).pixels
    assert small.shape == (1, 1, 4, 4)
    assert ((small[..., 1:-1] - 100.0).abs() <= 1).all()
