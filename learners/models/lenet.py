"""LeNet-5, for small images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from learners.models.folded import connect, convolve, fold, unfold
from learners.models.network import Network, Trunk
from netsim.errors import ScenarioError
from netsim.options import NoOptions

SMALLEST = 12
"""Height and width [pixel] that leave one cell after two convolutions and two poolings."""


class LeNetTrunk(Trunk):
    """Two convolutions of 5×5, each pooled 2×2, and two linear layers; 84 features.

    The layers are those of LeCun et al. 1998 ("Gradient-based learning applied to document recognition", Fig. 2)
    with ReLUs and maxima, as it is written today, in place of scaled tangents and trainable averages, and with
    every map of the second convolution seeing every one of the first.
    Images below 32 × 32 are padded by 2, so 28 × 28 gives 5 × 5 cells as 32 × 32 does.
    """

    feature_count = 84

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        padding = 2 if min(height, width) < 32 else 0
        rows, columns = (((side + 2 * padding - 4) // 2 - 4) // 2 for side in (height, width))
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * rows * columns, 120),
            nn.ReLU(),
            nn.Linear(120, self.feature_count),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, 84]."""
        features: Tensor = self.layers(x)
        return features

    def stacked(self, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """See :meth:`Trunk.stacked`: the convolutions folded into one each."""
        networks, (first, second) = len(x), (self.layers[0], self.layers[3])
        x = F.max_pool2d(F.relu(convolve(fold(x), tensors, "layers.0", 1, first.padding[0])), 2)  # type: ignore[index, arg-type]
        x = F.max_pool2d(F.relu(convolve(x, tensors, "layers.3", 1, second.padding[0])), 2)  # type: ignore[index, arg-type]
        x = unfold(x, networks).flatten(2).transpose(1, 2)
        for name in ("layers.7", "layers.9"):
            x = F.relu(connect(x, tensors, name))
        return x.transpose(1, 2)


class LeNet(Network):
    """LeNet-5 with ReLUs and 84 features, for images of 28 × 28 or 32 × 32 and not much larger."""

    Options = NoOptions

    def build(self, input_shape: Sequence[int]) -> LeNetTrunk:
        """See :meth:`Network.build`; images of any number of channels, at least 12 × 12."""
        if len(input_shape) != 3:
            raise ScenarioError(
                f"lenet takes inputs of shape [channels, height, width], but a sample has shape "
                f"{list(input_shape)}; use the network 'mlp' for vectors"
            )
        channels, height, width = input_shape
        if min(height, width) < SMALLEST:
            raise ScenarioError(
                f"lenet: the input's height and width must be at least {SMALLEST} (got {height}×{width}); "
                "use the network 'small_resnet' for smaller images"
            )
        return LeNetTrunk(channels, height, width)
