"""Whether a sender is cut off from a receiver: what spares small networks the search that finds no route.

Most payments that fail have tried a route or two before, and a search that finds nothing looks at everything. So
before a payment searches again, the nodes that its sender could still reach are counted forwards, on the most that
can be hoped for: each hop carries the amount and the least fees that any way from there on costs. If even so nothing
leads to the receiver, there is no route.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from lnsim_gym.backends.simulator.channels import can_add
from lnsim_gym.backends.simulator.layout import LEAST_FEE, Records, UInt64
from lnsim_gym.compiled import fused, inlined
from lnsim_gym.network import NetworkArrays

__all__ = ["MAX_NODES", "is_cut_off", "least_fees", "neighbour_sets"]

MAX_NODES: Final = 64
"""Larger networks do without: a set of nodes is one word."""
ONE: Final = np.uint64(1)

_first_bit: Any = trailing_zeros


def least_fees(arrays: NetworkArrays, nodes: int) -> Records:
    """Return the base and the rate of the least fees of any way from one node to another.

    The rate of a way is that of its dearest hop: the sum of the hops' fees, each cut to whole msat, is no less.

    Returns:
        ``LEAST_FEE`` of shape (nodes, nodes), from the first to the second; (0, 0) for networks that do without.
    """
    if nodes > MAX_NODES:
        return np.zeros((0, 0), LEAST_FEE)
    base, rate = np.full((nodes, nodes), 2**60), np.full((nodes, nodes), 2**30)
    base[arrays.source, arrays.destination] = arrays.fee_base_msat
    rate[arrays.source, arrays.destination] = arrays.fee_rate_ppm
    np.fill_diagonal(base, 0)
    np.fill_diagonal(rate, 0)
    for via in range(nodes):
        base = np.minimum(base, base[:, via, None] + base[None, via, :])
        rate = np.minimum(rate, np.maximum(rate[:, via, None], rate[None, via, :]))
    fees = np.zeros((nodes, nodes), LEAST_FEE)
    fees["base_msat"] = base
    fees["rate_ppm"] = np.where(base < 2**60, rate, 0)
    return fees


def neighbour_sets(arrays: NetworkArrays, nodes: int) -> UInt64:
    """Return the set of each node's neighbours, a bit for each; shape (nodes,), (0,) for networks that do without."""
    if nodes > MAX_NODES:
        return np.zeros(0, np.uint64)
    sets = np.zeros(nodes, np.uint64)
    np.bitwise_or.at(sets, arrays.source, ONE << arrays.destination.astype(np.uint64))
    return sets


@inlined
def _least(network: Any, node: Any, target: Any, amount: Any) -> Any:
    """Return the least amount that must reach a node so that an amount gets to the target."""
    fee = network.least_fee[node, target]
    return amount + fee.base_msat + np.int64(np.uint64(amount * fee.rate_ppm) // np.uint64(1_000_000))


@fused
def is_cut_off(network: Any, balances: Any, work: Any, sender: Any, target: Any, amount: Any, now: Any) -> Any:
    """Return whether no route can lead from a sender to a target; False may be wrong, True never is."""
    todo = np.uint64(0)
    for place in range(network.first_incoming[sender], network.first_incoming[sender + 1]):
        node = network.neighbour[place]
        least = _least(network, node, target, amount)
        if can_add(network, balances, work.htlcs, network.incoming[place] ^ 1, least):
            todo |= ONE << np.uint64(node)
    goal, seen = ONE << np.uint64(target), todo | (ONE << np.uint64(sender))
    while todo != 0 and seen & goal == 0:
        node = np.uint32(_first_bit(todo))
        todo &= todo - ONE
        ahead = network.neighbours[node] & ~_refused(network, work.knowledge, node, target, amount, now)
        todo |= ahead & ~seen
        seen |= ahead
    return seen & goal == 0


@fused
def _refused(network: Any, knowledge: Any, node: Any, target: Any, amount: Any, now: Any) -> Any:
    """Return the set of neighbours to which a node has just refused to send that much or less."""
    refused = np.uint64(0)
    place = knowledge.first[node]
    while place != 0:
        direction = np.uint32(place - 1)
        peer = network.destination[direction]
        record = knowledge.record[direction]
        if record.failure_ms == now and record.failure_msat <= _least(network, peer, target, amount):
            refused |= ONE << np.uint64(peer)
        place = record.next
    return refused
