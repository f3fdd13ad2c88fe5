from netsim.devices.battery import Battery
from netsim.devices.device import Device
from netsim.devices.mains import MainsMeter
from netsim.devices.meter import PowerMeter
from netsim.devices.processor import Processor

__all__ = ["Battery", "Device", "MainsMeter", "PowerMeter", "Processor"]
