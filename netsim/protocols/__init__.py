from netsim.protocols.decentralized import DecentralizedRounds
from netsim.protocols.protocol import Protocol

__all__ = ["DecentralizedRounds", "Protocol"]
