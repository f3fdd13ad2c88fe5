"""A generated stand-in for CREMA-D, in its own layout, for machines that do not have the recordings."""

from learners.data.surrogate.write import MARKER, VERSION, choose, generate

__all__ = ["MARKER", "VERSION", "choose", "generate"]
