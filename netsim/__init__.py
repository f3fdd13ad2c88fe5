"""A discrete-event simulator of wireless devices that learn together."""

__version__ = "0.1.0"
