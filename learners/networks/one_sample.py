"""BatchNorm for a batch of one sample, which has no statistics."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

Net = TypeVar("Net", bound=nn.Module)


def takes_one_sample(net: Net) -> Net:
    """Let the BatchNorm layers of ``net`` accept a batch of one sample, and return ``net``.

    Such a batch is normalised with the running statistics, also in training mode, and does not change them. A layer
    without running statistics normalises the sample with its own; if each channel has one value, the result is the
    bias. Other layers do not change: dropout stays active.
    """
    for layer in net.modules():
        if isinstance(layer, _BatchNorm):
            layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
    return net


def _forward(layer: _BatchNorm, x: Tensor) -> Tensor:
    as_usual = type(layer).forward
    if len(x) > 1:
        return as_usual(layer, x)
    if layer.running_mean is None:
        return as_usual(layer, torch.cat([x, x]))[:1]  # twice the same sample has the same mean and variance
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps)
