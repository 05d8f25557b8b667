"""Lightning networks as data: nodes, channels, policies, start balances, and who can spend what.

Everything here is validated and immutable. This room knows no gymnasium, no compiled kernels and no gRPC.
"""

from lnsim_gym.network.policies import ChannelPolicies, Policy
from lnsim_gym.network.topology import Channel, NetworkArrays, Topology

__all__ = ["Channel", "ChannelPolicies", "NetworkArrays", "Policy", "Topology"]
