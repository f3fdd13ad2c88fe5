import pytest
import torch

from learners.data.transforms.transform import (
    Frame,
    Spectrogram,
    SpectrogramChanges,
    Standardise,
    stored_side,
)

STILL = SpectrogramChanges(shift=0, gain=0, mask=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_stored_frames_leave_the_published_margin() -> None:
    assert stored_side(224) == 256
    assert stored_side(32) == 37  # 36.57


def test_testing_crops_the_centre() -> None:
    """White 4 x 4 in the middle of a black 6 x 6; ImageNet makes white (1 - mean)/std."""
    batch = torch.zeros(1, 3, 6, 6, dtype=torch.uint8)
    batch[:, :, 1:5, 1:5] = 255
    seen = Frame(4, "default").test(batch)
    assert seen.shape == (1, 3, 4, 4)
    white = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert torch.allclose(seen[0, :, 0, 0], torch.tensor(white), atol=1e-5)
    assert (seen == seen[:, :, :1, :1]).all()


def test_training_mirrors_about_half_and_stays_inside() -> None:
    """A ramp from left to right: mirrored frames fall. 400 fair coins stay within 4 standard deviations, 40."""
    ramp = torch.arange(37, dtype=torch.uint8).mul(6).expand(400, 3, 37, 37)
    seen = Frame(32, "default").train(ramp, seeded())
    assert seen.shape == (400, 3, 32, 32)
    rising = int((seen[:, 0, 0, -1] > seen[:, 0, 0, 0]).sum())
    assert abs(rising - 200) < 40
    levels = seen[:, 0] * 0.229 * 255 + 0.485 * 255
    assert levels.min() > -1e-3 and levels.max() < 36 * 6 + 1e-3


@pytest.mark.parametrize(("recipe", "least", "most"), [("default", 0.8, 1.0), ("ogm_ge", 0.08, 1.0)])
def test_windows_have_the_stated_area(recipe: str, least: float, most: float) -> None:
    """Of a frame without margin, the window's area is the product of how far two ramps rise inside it.

    The outermost of 64 sampled points lie half a step within the window's edge: each rise is 63/64 of its side.
    """
    side = 64
    ramp = torch.linspace(0, 255, side)
    batch = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side), torch.zeros(side, side)])
    margin = torch.nn.functional.pad(batch[None], (0, 0, 0, 0))
    seen = Frame(side, recipe).train(margin.expand(300, 3, side, side), seeded())  # type: ignore[arg-type]
    across = (seen[:, 0, 0, -1] - seen[:, 0, 0, 0]).abs() * 0.229
    down = (seen[:, 1, -1, 0] - seen[:, 1, 0, 0]).abs() * 0.224
    area = across * down
    assert area.max() <= most * 1.05
    assert area.min() >= least * 0.9
    assert area.max() - area.min() > 0.8 * (most - least)


def test_ogm_ge_tests_on_the_whole_frame() -> None:
    assert Frame(224, "ogm_ge").test(torch.zeros(2, 3, 256, 256, dtype=torch.uint8)).shape == (2, 3, 224, 224)


def test_the_generator_decides() -> None:
    batch = torch.randint(0, 255, (4, 3, 37, 37), generator=seeded(), dtype=torch.uint8)
    spectrograms = torch.rand(4, 1, 8, 12, generator=seeded())
    for transform, x in (
        (Frame(32, "default"), batch),
        (Spectrogram(0, 1, SpectrogramChanges()), spectrograms),
    ):
        assert torch.equal(transform.train(x, seeded(1)), transform.train(x, seeded(1)))
        assert not torch.equal(transform.train(x, seeded(1)), transform.train(x, seeded(2)))
        assert torch.equal(transform.test(x), transform.test(x))


def test_standardising_subtracts_and_divides() -> None:
    assert Standardise(2.0, 4.0).test(torch.tensor([[2, 6, -2]])).tolist() == [[0, 1, -1]]
    by_feature = Standardise(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))
    assert by_feature.train(torch.tensor([[1.0, 2.0], [2.0, 4.0]]), seeded()).tolist() == [[0, 0], [1, 1]]


def test_a_spectrogram_without_changes_is_only_standardised() -> None:
    x = torch.rand(3, 1, 8, 12, generator=seeded())
    assert torch.equal(Spectrogram(0.5, 2, STILL).train(x, seeded()), Spectrogram(0.5, 2, STILL).test(x))


def test_a_shift_turns_frames_around() -> None:
    x = torch.arange(10.0).expand(50, 1, 4, 10)
    seen = Spectrogram(0, 1, SpectrogramChanges(shift=0.2, gain=0, mask=0)).train(x, seeded())
    starts = seen[:, 0, 0, 0].long()
    assert set(starts.tolist()) == {8, 9, 0, 1, 2}  # 2 of 10 frames either way
    assert torch.equal(seen.sort(dim=3).values, x)


def test_masks_hide_one_band_of_bins_and_one_of_frames() -> None:
    x = torch.ones(200, 1, 20, 20)
    hidden = Spectrogram(0, 1, SpectrogramChanges(shift=0, gain=0, mask=0.2)).train(x, seeded())[:, 0] == 0
    assert hidden.all(dim=2).sum(dim=1).max() == 4  # 0.2 of 20 bins
    assert hidden.all(dim=1).sum(dim=1).max() == 4
