"""Lower bounds for the search: hops from each sender, and what those hops cost at least."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from lnsim_gym.arrays import Float64
from lnsim_gym.backends.simulator.estimator import HOP_PROBABILITY, SUCCESS_PROBABILITY
from lnsim_gym.backends.simulator.layout import MAX_BOUND_HOPS, UNREACHABLE
from lnsim_gym.compiled import fused, kernel, outlined

__all__ = ["BOUND", "build_hop_row", "build_hop_rows", "own_hop_row"]


def _bound_table() -> Float64:
    """Return the least cost, in attempt costs, of the way from a node to the sender.

    Entry ``[b, H, h]`` is for targets ``H`` hops from the sender and nodes ``h`` hops from it; ``b`` says whether
    any pair away from the sender may be more likely than untried ones.
    """
    table = np.zeros((2, MAX_BOUND_HOPS + 1, MAX_BOUND_HOPS + 1))
    for boosted, likely in enumerate((HOP_PROBABILITY, SUCCESS_PROBABILITY)):
        for target in range(MAX_BOUND_HOPS + 1):
            for hops in range(1, MAX_BOUND_HOPS + 1):
                step = SUCCESS_PROBABILITY if hops == 1 else likely
                cost_so_far = 1 / math.prod([likely] * max(1, target - hops))
                table[boosted, target, hops] = table[boosted, target, hops - 1] + (1 / step - 1) * cost_so_far
    lowered: Float64 = table * (1 - 1e-9)
    return lowered


BOUND: Final = _bound_table()
"""See ``_bound_table``."""


@outlined
def build_hop_row(network: Any, sender: Any, row: Any) -> Any:
    """Fill a row with the hops from a sender to every node, by breadth-first search."""
    hops = network.hops[row]
    for node in range(hops.size):
        hops[node] = UNREACHABLE
    hops[sender] = 0
    changed, depth = True, 0
    while changed and depth < UNREACHABLE - 1:
        changed = False
        for node in range(hops.size):
            if hops[node] != depth:
                continue
            for place in range(network.first_incoming[node], network.first_incoming[node + 1]):
                if hops[network.neighbour[place]] == UNREACHABLE:
                    hops[network.neighbour[place]] = depth + 1
                    changed = True
        depth += 1
    network.hop_owner[row] = sender


@fused
def own_hop_row(network: Any, sender: Any) -> Any:
    """Return the row of a sender's hop distances, built now if it is not there."""
    row, rows = np.int64(sender), network.hop_owner.size
    if row >= rows:
        row %= rows
    if network.hop_owner[row] != sender:
        build_hop_row(network, np.int64(sender), row)
    return row


@kernel
def build_hop_rows(network: Any) -> None:
    """Fill every row of the hop distances, each for the sender of its index."""
    for sender in range(network.hop_owner.size):
        build_hop_row(network, sender, sender)
