from netsim.world.topology.mixing import metropolis_weights
from netsim.world.topology.topology import Link, Topology, draw_topology

__all__ = ["Link", "Topology", "draw_topology", "metropolis_weights"]
