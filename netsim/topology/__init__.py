from netsim.topology.mixing import metropolis_weights
from netsim.topology.topology import Link, Topology, draw_topology

__all__ = ["Link", "Topology", "draw_topology", "metropolis_weights"]
