"""K networks folded into one: their channels side by side, with convolutions in K separate groups.

BatchNorm over K·C channels equals that of each network alone. PyTorch's own vectorisation (``torch.vmap``) uses the
same operators, but copies more memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DUAL = "coefficients"
"""Name of what a linear layer in dual form has in place of its weight; see :mod:`learners.training.dual_form`."""


def fold(x: Tensor) -> Tensor:
    """Reshape [K, B, C, H, W] to [B, K·C, H, W]."""
    return x.transpose(0, 1).flatten(1, 2)


def unfold(x: Tensor, networks: int) -> Tensor:
    """Reshape [B, K·C, ...] to [K, B, C, ...]."""
    return x.unflatten(1, (networks, -1)).transpose(0, 1)


def convolve(
    x: Tensor, tensors: Mapping[str, Tensor], name: str, stride: int = 1, padding: int = 0
) -> Tensor:
    """Apply the convolutions ``name``, with weights [K, D, C, h, w], to folded ``x`` [B, K·C, H, W]."""
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
    """Apply the BatchNorms ``name`` to folded ``x``; in training mode, update their running statistics in place.

    A batch of one sample does not update them (see :mod:`learners.networks.one_sample`), nor does anything while
    ``norm`` does not track them.
    """
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    stored = [tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]]
    mean, variance = (
        statistic.flatten().clone() for statistic in stored
    )  # rows of a bank are not contiguous
    learns = norm.training and len(x) > 1
    x = F.batch_norm(
        x, mean, variance, weight.flatten(), bias.flatten(), learns, norm.momentum or 0.0, norm.eps
    )
    if learns and norm.track_running_stats:
        for statistic, moved in zip(stored, (mean, variance), strict=True):
            statistic.copy_(moved.view_as(statistic))
        tensors[f"{name}.num_batches_tracked"].add_(1)
    return x


def connect(x: Tensor, tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Apply the linear layers ``name`` to ``x`` [K, features, B]; return [K, new features, B].

    The batch comes last, as in the logits that follow, so the backward pass reads every tensor in memory order.
    """
    if (coefficients := tensors.get(f"{name}.{DUAL}")) is not None:
        products: Tensor = _DualProduct.apply(coefficients, x)
        return products + tensors[f"{name}.bias"][:, :, None]
    return torch.baddbmm(tensors[f"{name}.bias"][:, :, None], tensors[f"{name}.weight"], x)


class _DualProduct(torch.autograd.Function):
    """W x in dual form, [C, a] [K, D, n + 1] and inputs [e, X x, W⁰ x] [K, 2 n + D, B] to [K, D, B]."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, x: Tensor) -> Tensor:
        """Compute C (X x) + a (W⁰ x)."""
        count = coefficients.shape[2] - 1
        ctx.places = x[:, :count]
        scale, own = coefficients[:, :, count:], coefficients[:, :, :count]
        return torch.baddbmm(scale * x[:, 2 * count :], own, x[:, count : 2 * count])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        """Return Σ_i g_i e_iᵀ for C and 0 for a: SGD's step on W in coefficients, not the gradient by them."""
        return F.pad(slopes[0] @ ctx.places.transpose(1, 2), (0, 1)), None


def project(x: Tensor, weight: Tensor) -> Tensor:
    """Apply linear layers without bias, weights [..., D, C], to ``x`` [..., B, C]; return [..., B, D].

    In memory the batch comes last, as in :func:`connect`: a softmax over few classes is three times faster then.
    """
    return (weight @ x.transpose(-1, -2)).transpose(-1, -2)


def linear(x: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """Apply one linear layer each to ``x`` [K, B, features]; return [K, B, new features]."""
    return connect(x.transpose(1, 2), {f".{name}": one for name, one in tensors.items()}, "").transpose(1, 2)


def connect_all(x: Tensor, tensors: Mapping[str, Tensor], prefix: str, layers: nn.Sequential) -> Tensor:
    """Run linear ``layers``, called ``prefix`` and their number, and those between them, on ``x`` [K, B, features]."""
    x = x.transpose(1, 2)
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            x = connect(x, tensors, f"{prefix}{index}")
        elif isinstance(layer, nn.ReLU) and index:  # in place: nobody else reads the products
            x = torch.relu_(x)
        else:
            x = layer(x)
    return x.transpose(1, 2)
