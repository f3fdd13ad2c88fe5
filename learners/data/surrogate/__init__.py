"""A generated surrogate for CREMA-D, in its layout, for machines without the recordings."""

from learners.data.surrogate.write import MARKER, VERSION, choose, generate

__all__ = ["MARKER", "VERSION", "choose", "generate"]
