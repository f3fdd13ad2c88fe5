"""The generator of FedZKT: noise in, an image out that server and devices shall disagree about."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from learners.networks.built import built


class ImageGenerator(nn.Module):
    """G(z): a linear layer to a quarter of the image's size, two stages of doubling and 3×3 convolution.

    FedZKT leaves the generator open and cites two works on distillation without data (Fang et al. 2019; Truong et al.
    2021); the shape is theirs. The output passes a tanh and a BatchNorm without weights, so that a batch has mean zero
    and variance one as standardised inputs have.
    """

    def __init__(self, noise_size: int, channels: tuple[int, int], image: tuple[int, ...]) -> None:
        super().__init__()
        wide, narrow = channels
        colours, height, width = image
        self.noise_size, self.image = noise_size, image
        self.wide, self.cells = wide, (-(-height // 4), -(-width // 4))
        self.linear = nn.Linear(noise_size, wide * self.cells[0] * self.cells[1])
        self.norm = nn.BatchNorm2d(wide)
        self.conv1 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, narrow, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.conv3 = nn.Conv2d(narrow, colours, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(colours, affine=False)

    def forward(self, z: Tensor) -> Tensor:
        """Images [B, channels, height, width] from noise [B, noise_size]."""
        x = self.norm(self.linear(z).view(len(z), self.wide, *self.cells))
        x = F.leaky_relu(self.norm1(self.conv1(F.interpolate(x, scale_factor=2))), 0.2)
        x = F.leaky_relu(self.norm2(self.conv2(F.interpolate(x, size=self.image[1:]))), 0.2)
        images: Tensor = self.norm3(torch.tanh(self.conv3(x)))
        return images


@dataclass(frozen=True)
class GeneratorShape:
    """The shape of a generator.

    Attributes:
        noise_size: Length of z.
        channels: Of the two stages.
        image: Shape of an image, [channels, height, width].
    """

    noise_size: int
    channels: tuple[int, int]
    image: tuple[int, ...]

    def build(self) -> ImageGenerator:
        """Build a generator with weights freshly drawn from PyTorch's global generator."""
        return ImageGenerator(self.noise_size, self.channels, self.image)

    def net(self, torch_device: str) -> ImageGenerator:
        """Return a generator for this thread to work with; see :func:`learners.networks.built.built`."""
        return built((self, torch_device), lambda: self.build().to(torch_device))
