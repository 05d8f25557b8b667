"""Which networks agents take: the one place that says so.

Rules, the features ``channels``, variants of a network and everything outside this room take networks of any size. What
works demand out grows faster than networks do, and says here where it ends.
"""

from __future__ import annotations

from typing import Final

from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology

__all__ = ["require_network_for_demand", "require_network_for_load"]

MAX_NODES_FOR_DEMAND: Final = 30
"""Most nodes of a network whose demand is estimated (``forecast``, ``planner``, the features ``demand``): the fit takes
minutes beyond."""
MAX_PAIR_DIRECTIONS: Final = 10_000_000
"""Most pairs of nodes times directions that a load is worked out for (``planner_oracle`` too): about 100 nodes with 500
channels."""


def require_network_for_demand(topology: Topology) -> None:
    """Refuse a network that is too large for its demand to be estimated.

    Raises:
        ConfigError: It is.
    """
    nodes = len(topology.nodes)
    if nodes > MAX_NODES_FOR_DEMAND:
        raise ConfigError(
            f"estimating the demand needs a network of at most {MAX_NODES_FOR_DEMAND} nodes, got {nodes}: "
            "use a rule such as 'targeted'"
        )


def require_network_for_load(topology: Topology) -> None:
    """Refuse a network that is too large for the load of every direction to be worked out.

    Raises:
        ConfigError: It is.
    """
    nodes, channels = len(topology.nodes), len(topology.channels)
    if nodes * nodes * 2 * channels > MAX_PAIR_DIRECTIONS:
        raise ConfigError(
            f"planners need a network of about 100 nodes at most, got {nodes} nodes and {channels} channels: "
            "use a rule such as 'targeted'"
        )
