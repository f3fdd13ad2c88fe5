"""Conversion of stored samples to network inputs, a batch at a time: scaling, and augmentation in training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from learners.data.dataset import Transform

Recipe = Literal["default", "ogm_ge"]

CREMA_D_ASPECT = 480 / 360  # width by height of CREMA-D's videos, and of the surrogate's frames

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class Standardise(Transform):
    """Subtract ``mean``, divide by ``std``: numbers, or tensors that broadcast over a sample."""

    def __init__(self, mean: Tensor | float, std: Tensor | float) -> None:
        self.mean = torch.as_tensor(mean, dtype=torch.float32)
        self.std = torch.as_tensor(std, dtype=torch.float32)

    def test(self, batch: Tensor) -> Tensor:
        """Return standardised inputs; [batch, ...] float32."""
        return (batch.float() - self.mean.to(batch.device)) / self.std.to(batch.device)


@dataclass(frozen=True)
class SpectrogramChanges:
    """Sizes of the random changes of a spectrogram in training.

    Attributes:
        shift: Largest shift in time, as a fraction of the frames; frames that leave at one end enter at the other.
        gain: Standard deviation of a number added to all cells, in standard deviations of the data.
        mask: Widest band of bins, and of frames, set to the mean, as a fraction of all (SpecAugment,
            Park et al. 2019, without time warping).
    """

    shift: float = 0.1
    gain: float = 0.2
    mask: float = 0.15


class Spectrogram(Standardise):
    """Standardised spectrograms [batch, 1, bins, frames], shifted, amplified and masked in training."""

    def __init__(self, mean: float, std: float, changes: SpectrogramChanges) -> None:
        super().__init__(mean, std)
        self.changes = changes

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw five uniform numbers of [0, 1) and a normal one for each sample."""
        even = torch.rand(count, 5, generator=generator, device=generator.device)
        normal = torch.randn(count, 1, generator=generator, device=generator.device)
        return torch.cat([even, normal], dim=1)

    def change(self, batch: Tensor, draws: Tensor | None) -> Tensor:
        """Return augmented inputs; each sample has its own shift, gain and masks."""
        assert draws is not None
        x = self.test(batch)
        _, _, bins, frames = x.shape
        gain = draws[:, 5] * self.changes.gain
        reach = int(self.changes.shift * frames)
        shift = (draws[:, 0] * (2 * reach + 1)).long() - reach  # [batch], -reach .. reach
        at = (torch.arange(frames, device=x.device) - shift[:, None]) % frames  # [batch, frames]
        x = x.gather(3, at[:, None, None, :].expand_as(x)) + gain[:, None, None, None]
        hidden_bins = _band(bins, self.changes.mask, draws[:, 1], draws[:, 2])[:, None, :, None]
        hidden_frames = _band(frames, self.changes.mask, draws[:, 3], draws[:, 4])[:, None, None, :]
        return x.masked_fill(hidden_bins | hidden_frames, 0.0)


class Frame(Transform):
    """Video frames, stored as uint8 squares [batch, 3, stored, stored], cropped to [batch, 3, size, size].

    ``default``: squares are a frame's centre with its aspect kept. Training crops a square of 80 to 100 % of
    the area of the centre crop, anywhere; testing crops the centre.
    ``ogm_ge``: squares are whole frames, squeezed. Training crops 8 to 100 % of the area at an aspect of 3/4 to
    4/3 (torchvision's RandomResizedCrop, but for a window wider than the frame, which is cut to it rather
    than drawn again); testing uses the whole squeezed frame.
    Both mirror every other sample in training and scale with ImageNet's mean and standard deviation.
    """

    def __init__(self, size: int, recipe: Recipe) -> None:
        self.size = size
        self.recipe = recipe
        self._mean = 255 * torch.tensor(_IMAGENET_MEAN).view(3, 1, 1)
        self._std = 255 * torch.tensor(_IMAGENET_STD).view(3, 1, 1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw five uniform numbers of [0, 1) for each sample."""
        return torch.rand(count, 5, generator=generator, device=generator.device)

    def change(self, batch: Tensor, draws: Tensor | None) -> Tensor:
        """Return augmented inputs; each sample has its own window, cut and scaled in one bilinear look-up."""
        assert draws is not None
        height, width = self._window(draws[:, 0], draws[:, 1], batch.shape[-1])  # fractions of the frame
        mirror = torch.where(draws[:, 4] < 0.5, 1.0, -1.0)
        window = torch.zeros(len(batch), 2, 3, device=batch.device)  # x, y of [-1, 1] -> frame coordinates
        window[:, 0, 0] = width * mirror
        window[:, 1, 1] = height
        window[:, 0, 2] = (2 * draws[:, 2] - 1) * (1 - width)
        window[:, 1, 2] = (2 * draws[:, 3] - 1) * (1 - height)
        grid = functional.affine_grid(window, [len(batch), 3, self.size, self.size], align_corners=False)
        cropped = functional.grid_sample(
            batch.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return self._scaled(cropped)

    def test(self, batch: Tensor) -> Tensor:
        """Return the centre crop, or the whole frame under ``ogm_ge``."""
        stored = batch.shape[-1]
        if self.recipe == "default":
            start = (stored - self.size) // 2
            return self._scaled(batch[:, :, start : start + self.size, start : start + self.size].float())
        whole = functional.interpolate(
            batch.float(), size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False
        )
        return self._scaled(whole)

    def _window(self, draw: Tensor, shape_draw: Tensor, stored: int) -> tuple[Tensor, Tensor]:
        if self.recipe == "default":
            side = torch.sqrt(0.8 + 0.2 * draw) * (self.size / stored)
            return side, side
        area = 0.08 + 0.92 * draw
        aspect = torch.exp((2 * shape_draw - 1) * math.log(4 / 3)) / CREMA_D_ASPECT  # in squeezed coordinates
        return torch.sqrt(area / aspect).clamp(max=1.0), torch.sqrt(area * aspect).clamp(max=1.0)

    def _scaled(self, batch: Tensor) -> Tensor:
        return (batch - self._mean.to(batch.device)) / self._std.to(batch.device)


def stored_side(size: int) -> int:
    """Return the side of the stored square for inputs of ``size``: 256 for 224, and in proportion."""
    return round(size * 256 / 224)


def _band(length: int, widest: float, width_draw: Tensor, place_draw: Tensor) -> Tensor:
    """Return bool [batch, length], True in one random band per sample of width 0 to ``widest`` x ``length``."""
    width = (width_draw * (int(widest * length) + 1)).long()
    start = (place_draw * (length - width + 1)).long()
    at = torch.arange(length, device=width.device)
    return (at >= start[:, None]) & (at < (start + width)[:, None])
