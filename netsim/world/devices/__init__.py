from netsim.world.devices.battery import Battery
from netsim.world.devices.device import Device
from netsim.world.devices.meter import PowerMeter
from netsim.world.devices.processor import Processor
from netsim.world.devices.unlimited import UnlimitedMeter

__all__ = ["Battery", "Device", "PowerMeter", "Processor", "UnlimitedMeter"]
