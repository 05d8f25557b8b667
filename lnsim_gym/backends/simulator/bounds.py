"""Lower bounds for the search: hops from each sender, and what those hops cost at least."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from lnsim_gym.arrays import Float64
from lnsim_gym.backends.simulator.estimator import HOP_PROBABILITY, SUCCESS_PROBABILITY
from lnsim_gym.backends.simulator.layout import MAX_BOUND_HOPS, UNREACHABLE
from lnsim_gym.compiled import fused, inlined, kernel, outlined

__all__ = ["BOUND", "DETOUR", "LEAST_COSTS_MSAT", "MAX_DETOUR_HOPS", "build_hop_rows", "hops_from", "most_hops"]

MAX_DETOUR_HOPS: Final = 10
"""Hop distances from here on count as this many in ``DETOUR``."""
LEAST_COSTS_MSAT: Final = 1_000, 100_000
"""The least attempt cost that there is, and LND's default: bounds for that one are a little closer."""
ROUNDING_MSAT: Final = 4
"""More than rounding to whole msat may cost per hop."""


def _bound_table() -> Float64:
    """Return the least cost, in attempt costs, of the path from the sender to a node.

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


def _detour_table() -> Float64:
    """Return a closer least cost of the path from the sender to a node than ``_bound_table``, in attempt costs.

    Entry ``[c, H, a, h]`` is for attempt costs of ``LEAST_COSTS_MSAT[c]`` and more, targets ``H`` hops from the sender
    and nodes ``a`` hops from the target and ``h`` from the sender, where no pair away from the sender is more likely
    than untried ones. From node to node ``a`` and ``h`` change by one at most, and the probability so far is at most
    that of ``a`` hops: the least sum of what such steps cost cannot fall by more than a step costs.
    """
    return np.stack([_detours_at(ROUNDING_MSAT / least_msat) for least_msat in LEAST_COSTS_MSAT])


def _detours_at(rounding: float) -> Float64:
    """Return ``_detour_table`` for attempt costs of which no hop loses more to rounding than this share."""
    size = MAX_DETOUR_HOPS + 1
    apart, back, ahead = np.indices((size, size, size))
    cost_so_far = HOP_PROBABILITY ** -back.astype(np.float64)
    own_hop = cost_so_far * (1 / SUCCESS_PROBABILITY - 1) - rounding
    table = np.where((ahead == 1) & (back >= apart - 1) & (back > 0), own_hop, np.inf)
    step = cost_so_far * (1 / HOP_PROBABILITY - 1) - rounding
    step[(back == 0) | (ahead == 0) | (back + ahead < apart)] = np.inf  # there are no such nodes
    for _ in range(4 * size):
        around = np.pad(table, ((0, 0), (1, 1), (1, 1)), constant_values=np.inf)
        nearby = [around[:, a : a + size, h : h + size] for a, h in np.ndindex(3, 3)]
        table = np.minimum(table, step + np.min(nearby, axis=0))
    return np.where(np.isfinite(table), table * (1 - 1e-9), 0.0)


DETOUR: Final = _detour_table()
"""See ``_detour_table``."""


@outlined
def _build_hop_row(network: Any, sender: Any, hops: Any) -> Any:
    """Fill ``hops`` with the hops from a sender to every node, by breadth-first search."""
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


@fused
def _own_row(network: Any, hop_rows: Any, sender: Any) -> Any:
    """Return the row of a sender's hop distances in a thread's own rows, filled now if another sender has it."""
    number = network.variant * np.int64(network.hops.shape[1]) + np.int64(sender)
    row, rows = number, hop_rows.owner.size
    if row >= rows:
        row %= rows
    if hop_rows.owner[row] != number + 1:
        _build_hop_row(network, np.int64(sender), hop_rows.hops[row])
        hop_rows.owner[row] = number + 1
    return row


@inlined
def hops_from(network: Any, work: Any, sender: Any) -> Any:
    """Return the hops from a sender to every node, shape (nodes,), ``UNREACHABLE`` where no route leads."""
    if network.hops.shape[0] > 0:
        return network.hops[sender]
    return work.hop_rows.hops[_own_row(network, work.hop_rows, sender)]


@kernel
def most_hops(network: Any, hops: Any, seen: Any) -> int:
    """Return a number of hops that no two nodes with a route between them are further apart than.

    Args:
        network: ``Network``.
        hops: Room to work in, shape (nodes,).
        seen: The same, all False.
    """
    most: Any = 0
    for middle in range(hops.size):
        if not seen[middle]:
            _build_hop_row(network, middle, hops)
            for node in range(hops.size):
                if hops[node] != UNREACHABLE:
                    seen[node] = True
                    most = max(most, 2 * np.int64(hops[node]))  # by way of the middle
    return int(most)


@kernel
def build_hop_rows(network: Any, hops: Any) -> None:
    """Fill a table of hop distances, row ``i`` with those from sender ``i``; shape (senders, nodes)."""
    for sender in range(hops.shape[0]):
        _build_hop_row(network, sender, hops[sender])
