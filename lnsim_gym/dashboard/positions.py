"""Where the page draws nodes."""

from __future__ import annotations

from lnsim_gym.network import Topology
from lnsim_gym.rendering.layout import node_positions

__all__ = ["positions_of"]


def positions_of(topology: Topology) -> list[tuple[float, float]]:
    """Return where to draw each node, within -1 and 1: as in pictures, hubs in the middle."""
    arrays = topology.arrays
    placed = node_positions(len(topology.nodes), arrays.source[::2], arrays.destination[::2])
    return [(round(x, 4), round(y, 4)) for x, y in placed.tolist()]
