from netsim.topology.mixing import metropolis_weights
from netsim.topology.topology import Topology, draw_topology

__all__ = ["Topology", "draw_topology", "metropolis_weights"]
