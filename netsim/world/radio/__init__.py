from netsim.world.radio.radio import Air, Radio

__all__ = ["Air", "Radio"]
