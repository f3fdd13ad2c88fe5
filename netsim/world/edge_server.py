"""The edge server: a node with mains power and its own processor, and its two radios."""

from __future__ import annotations

from dataclasses import dataclass

from netsim.world.devices.device import Device
from netsim.world.radio.access import Uplink
from netsim.world.radio.radio import Radio
from netsim.world.selection import Selection


@dataclass(frozen=True)
class EdgeServer:
    """A base station that coordinates learning. Its number is the one after the devices'.

    Attributes:
        node: Processor, meter and transmit power (that of the downlink).
        uplink: From devices to the server.
        division: How the uplink's band is divided among them.
        downlink: From the server to devices.
        broadcasts: Whether the downlink reaches all receivers in one transmission.
        selection: Who takes part in a round.
    """

    node: Device
    uplink: Radio
    division: Uplink
    downlink: Radio
    broadcasts: bool
    selection: Selection

    @property
    def number(self) -> int:
        """The node's number."""
        return self.node.number
