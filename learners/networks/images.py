"""Shapes of image inputs."""

from __future__ import annotations

from collections.abc import Sequence

from netsim.core.errors import ScenarioError


def image_shape(input_shape: Sequence[int], network: str) -> tuple[int, int, int]:
    """Return channels, height and width [pixel] of an image-like input [channels, height, width].

    Args:
        input_shape: Shape of one sample.
        network: Name of the network in the error.

    Raises:
        ScenarioError: The input is of another shape.
    """
    if len(input_shape) != 3:
        raise ScenarioError(
            f"{network} takes inputs of shape [channels, height, width], but a sample has shape "
            f"{list(input_shape)}; use the network 'mlp' for vectors"
        )
    channels, height, width = input_shape
    return channels, height, width
