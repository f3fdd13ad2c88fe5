"""Networks that a scenario can name, and their options: all that can be checked without PyTorch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from netsim.core.entry import Entry
from netsim.core.options import NoOptions, Options


class CNNOptions(Options):
    """The block of a ``cnn``."""

    channels: tuple[PositiveInt, ...] = Field(
        default=(32, 64),
        min_length=1,
        description="Channels of each convolution; each halves height and width.",
    )
    hidden: PositiveInt = Field(default=128, description="Units of the fully connected layer: the features.")


CNN = Entry(
    "learners.networks.cnn:CNN",
    CNNOptions,
    "Convolutions of 3×3 with ReLUs and 2×2 poolings, then one fully connected layer with a ReLU.",
)
IDENTITY = Entry(
    "learners.networks.identity:Identity",
    NoOptions,
    "The inputs as features; multinomial logistic regression if the learner concatenates (architecture concat).",
)


class LeNetOptions(Options):
    """The block of a ``lenet``."""

    channels: tuple[PositiveInt, ...] = Field(
        default=(6, 16),
        min_length=1,
        description="Channels of each convolution: two of 5×5 as in LeNet-5, any further ones of 3×3.",
    )
    hidden: tuple[PositiveInt, ...] = Field(
        default=(120, 84), min_length=1, description="Units of each linear layer; the last are the features."
    )


LENET = Entry(
    "learners.networks.lenet:LeNet",
    LeNetOptions,
    "LeNet-5 with ReLUs and 84 features, for images of 28 × 28 or 32 × 32 and not much larger.",
)


class MLPOptions(Options):
    """The block of an ``mlp``."""

    hidden: tuple[PositiveInt, ...] = Field(
        default=(64, 32), min_length=1, description="Units of each layer; the last are the features."
    )


MLP = Entry("learners.networks.mlp:MLP", MLPOptions, "Fully connected layers with ReLUs.")

SHUFFLENET_SIZES = (0.5, 1.0, 1.5, 2.0)
"""Numbers of channels in the paper, relative to the network of about 140 M operations."""


class StemOptions(Options):
    """Options that networks of depthwise convolutions have in common."""

    stem: Literal["small", "imagenet"] = Field(
        default="small",
        description="`small`, for images of about 32×32, leaves out the first two of five halvings of the image; "
        "`imagenet` is as published, for 224×224.",
    )


class ShuffleNetV2Options(StemOptions):
    """The block of a ``shufflenet_v2``."""

    size: float = Field(default=1.0, description="Width of the network as published: 0.5, 1, 1.5 or 2.")

    @field_validator("size")
    @classmethod
    def _published(cls, size: float) -> float:
        if size not in SHUFFLENET_SIZES:
            raise ValueError(f"must be one of {', '.join(map(str, SHUFFLENET_SIZES))}")
        return size


SHUFFLENET_V2 = Entry(
    "learners.networks.mobile:ShuffleNetV2",
    ShuffleNetV2Options,
    "ShuffleNetV2 from scratch, for images of any number of channels; 1,024 features (2,048 at size 2).",
)


class MobileNetV2Options(StemOptions):
    """The block of a ``mobilenet_v2``."""

    width: PositiveFloat = Field(
        default=1.0,
        description="Channels of each layer relative to the published ones, rounded to multiples of 8; the "
        "features are never fewer than 1,280.",
    )


MOBILENET_V2 = Entry(
    "learners.networks.mobile:MobileNetV2",
    MobileNetV2Options,
    "MobileNetV2 from scratch, for images of any number of channels; 1,280 features (more at widths above 1).",
)


class ResNetOptions(Options):
    """The block of a ``resnet18`` or ``resnet34``."""

    stem: Literal["imagenet", "small"] = Field(
        default="imagenet",
        description="The first layer: 7×7 with stride 2 and a pooling as published, or `small`, 3×3 with stride 1 and "
        "no pooling, for images of about 32×32.",
    )


RESNET18 = Entry(
    "learners.networks.resnet:ResNet18",
    ResNetOptions,
    "ResNet-18 from scratch; the first layer has the modality's number of channels (1 for a spectrogram).",
)
RESNET34 = Entry(
    "learners.networks.resnet:ResNet34",
    ResNetOptions,
    "ResNet-34 from scratch; the first layer has the modality's number of channels.",
)


class SmallResNetOptions(Options):
    """The block of a ``small_resnet``."""

    widths: tuple[PositiveInt, ...] = Field(
        default=(16, 32), min_length=1, description="Channels of each stage; the last are the features."
    )
    blocks: PositiveInt = Field(default=1, description="Basic blocks per stage.")
    strides: tuple[PositiveInt, ...] | None = Field(
        default=None, description="Stride of each stage; 1 for the first and 2 for the others if not given."
    )
    stem_kernel: PositiveInt = Field(default=5, description="Kernel size of the first convolution.")
    stem_stride: PositiveInt = Field(default=4, description="Stride of the first convolution.")
    pool: PositiveInt = Field(
        default=1,
        description="Cells per side of the last average: 1 as in ResNet-18; 2 tells an image's quarters apart.",
    )
    shortcut: Literal["projection", "padding"] = Field(
        default="padding", description="How a shortcut changes shape: 1×1 convolution, or no weights at all."
    )

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        if self.strides is not None and len(self.strides) != len(self.widths):
            raise ValueError(f"strides: must be one per stage ({len(self.widths)}), got {len(self.strides)}")
        if self.shortcut == "padding" and list(self.widths) != sorted(self.widths):
            raise ValueError("widths: must not fall from stage to stage with shortcut 'padding'")
        return self


SMALL_RESNET = Entry(
    "learners.networks.resnet:SmallResNet",
    SmallResNetOptions,
    "A ResNet of few and narrow stages, for CPUs and small inputs.",
)
R3D_18 = Entry(
    "learners.networks.video:R3D18",
    NoOptions,
    "ResNet-18 with 3-D convolutions from scratch, for clips [channels, frames, height, width]; 512 features.",
)
R3D_50 = Entry(
    "learners.networks.video:R3D50",
    NoOptions,
    "ResNet-50 with 3-D convolutions from scratch, for clips [channels, frames, height, width]; 2,048 features.",
)
