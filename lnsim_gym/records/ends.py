"""The channel ends of each node of a topology."""

from __future__ import annotations

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.network import Topology

__all__ = ["EndsOfNodes"]


class EndsOfNodes:
    """Looks up the channel ends of a node.

    Args:
        topology: The network.
    """

    def __init__(self, topology: Topology) -> None:
        source = topology.arrays.source
        self._ends: Int64 = np.argsort(source, kind="stable").astype(np.int64)
        self._first = np.searchsorted(source[self._ends], np.arange(len(topology.nodes) + 1))

    def of(self, node: int) -> Int64:
        """Return the channel ends of a node as direction indices, in order."""
        return self._ends[self._first[node] : self._first[node + 1]]
