"""K networks folded into one: their channels side by side, and convolutions in K groups that do not see each other.

BatchNorm over K·C channels is exactly that of each network alone. PyTorch's own way to vectorise a network
(``torch.vmap``) comes to the same operators, and moves more memory about.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def fold(x: Tensor) -> Tensor:
    """[K, B, C, H, W] to [B, K·C, H, W]."""
    return x.transpose(0, 1).flatten(1, 2)


def unfold(x: Tensor, networks: int) -> Tensor:
    """[B, K·C, ...] to [K, B, C, ...]."""
    return x.unflatten(1, (networks, -1)).transpose(0, 1)


def convolve(
    x: Tensor, tensors: Mapping[str, Tensor], name: str, stride: int = 1, padding: int = 0
) -> Tensor:
    """The convolutions called ``name``, of weights [K, D, C, h, w], on folded ``x`` [B, K·C, H, W]."""
    weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
    return F.conv2d(
        x,
        weight.flatten(0, 1),
        None if bias is None else bias.flatten(),
        stride,
        padding,
        groups=len(weight),
    )


def normalise(x: Tensor, tensors: Mapping[str, Tensor], name: str, norm: nn.BatchNorm2d) -> Tensor:
    """The BatchNorms called ``name`` on folded ``x``; in training mode their running statistics move on in place.

    One sample of each network has nothing to teach them; see :mod:`learners.networks.one_sample`.
    """
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    stored = [tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]]
    mean, variance = (statistic.flatten().clone() for statistic in stored)  # rows of a bank are no neighbours
    learns = norm.training and len(x) > 1
    x = F.batch_norm(
        x, mean, variance, weight.flatten(), bias.flatten(), learns, norm.momentum or 0.0, norm.eps
    )
    if learns:
        for statistic, moved in zip(stored, (mean, variance), strict=True):
            statistic.copy_(moved.view_as(statistic))
        tensors[f"{name}.num_batches_tracked"].add_(1)
    return x


def connect(x: Tensor, tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """The linear layers called ``name`` on ``x`` [K, features, B], to [K, new features, B].

    The batch comes last, as in the logits that follow: the backward pass then meets every tensor in the order in
    which it lies in memory.
    """
    return torch.baddbmm(tensors[f"{name}.bias"][:, :, None], tensors[f"{name}.weight"], x)


def connect_all(x: Tensor, tensors: Mapping[str, Tensor], prefix: str, layers: nn.Sequential) -> Tensor:
    """Linear ``layers``, called ``prefix`` and their number, and what is between them, on ``x`` [K, B, features]."""
    x = x.transpose(1, 2)
    for index, layer in enumerate(layers):
        x = connect(x, tensors, f"{prefix}{index}") if isinstance(layer, nn.Linear) else layer(x)
    return x.transpose(1, 2)
