"""The edge server: a node with unlimited power, its own processor and two radios."""

from __future__ import annotations

from dataclasses import dataclass

from netsim.world.devices.device import Device
from netsim.world.radio.access import Access
from netsim.world.radio.radio import Radio
from netsim.world.selection import Selection


@dataclass(frozen=True)
class EdgeServer:
    """A base station that coordinates learning; its number follows those of the devices.

    Attributes:
        node: Processor, meter and transmit power (that of the downlink).
        uplink: Radio from devices to the server.
        division: Division of the uplink's band among devices.
        downlink: Radio from the server to devices.
        broadcasts: Whether the downlink reaches all receivers in one transmission.
        selection: Policy that picks a round's participants.
    """

    node: Device
    uplink: Radio
    division: Access
    downlink: Radio
    broadcasts: bool
    selection: Selection

    @property
    def number(self) -> int:
        """Return the node's number."""
        return self.node.number
