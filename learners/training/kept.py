"""Models as files have them: a network as plain values, and its tensors by their names in the module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter
from torch import Tensor, nn

from learners.networks.start import tensors_of
from netsim.learner import Kept

Architecture = TypeVar("Architecture")


def kept(architecture: Any, parts: Mapping[str, Any]) -> Kept:
    """Return a model for files.

    Args:
        architecture: The network, a dataclass of plain values.
        parts: Its tensors by name, or futures of them, by the path of the module that they are in.
    """
    kind: TypeAdapter[Any] = TypeAdapter(type(architecture))
    return Kept(kind.dump_python(architecture, mode="json"), parts)


def rebuilt(kind: type[Architecture], network: Mapping[str, Any]) -> Architecture:
    """Return the architecture that :func:`kept` has written as plain values."""
    adapter: TypeAdapter[Architecture] = TypeAdapter(kind)
    return adapter.validate_python(dict(network))


def filled(net: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Give ``net`` the ``tensors`` that it has a place for, all of its own; return it in evaluation mode."""
    for name, place in tensors_of(net).items():
        place.data = tensors[name]
    return net.eval()
