"""LND's ``findPath`` as an A* search that provably returns the same route (routing/pathfind.go).

LND runs Dijkstra from the target back to the sender. The distance of a node is the weight of its way to the
target (fees and a price for locked time) plus the attempt cost over the way's success probability, cut to an
integer; each node keeps the one way of least distance. A step away from the target with probability ``p`` raises
the distance by at least ``C / P * (1 / p - 1)``, where ``P``, the probability so far, is at most ``p_max ** hops``.
Summed over the hops that still separate a node from the sender this is a consistent lower bound that depends on
the topology alone, so a queue ordered by distance plus bound finalises every node it expands with the very way
Dijkstra would keep, and leaves the others alone. The sum is lowered by 3 msat a hop, which covers the rounding.

Ties, which LND breaks at random (it iterates Go maps), go to the higher probability, then to the direction that
comes first in the topology.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.base import MAX_ROUTE_HOPS
from lnsim_gym.backends.simulator.bounds import own_hop_row
from lnsim_gym.backends.simulator.channels import can_add, spendable
from lnsim_gym.backends.simulator.estimator import HOP_PROBABILITY, SUCCESS_PROBABILITY, probability
from lnsim_gym.backends.simulator.layout import (
    BOOSTED,
    DIRECTION,
    DISTANCE,
    FEE_BASE,
    FEE_RATE,
    KEY,
    LOCK,
    MAX_BOUND_HOPS,
    MAX_HTLC,
    MIN_HTLC,
    PROBABILITY,
    QUEUED,
    RECEIVED,
    SEARCHES,
    STAMP,
    TIME_LOCK,
    UNREACHABLE,
    WEIGHT,
)
from lnsim_gym.compiled import fused, outlined

__all__ = ["MAX_LOCK_BLOCKS", "direct_channel", "find_route", "find_route_called", "survey"]

ATTEMPT_COST_MSAT: Final = 100_000
"""Fixed cost of an attempt (``DefaultAttemptCost``)."""
ATTEMPT_COST_PPM: Final = 1000
"""Proportional cost of an attempt (``DefaultAttemptCostPPM``)."""
MIN_PROBABILITY: Final = 0.01
"""Ways less likely than this are dropped (``DefaultMinRouteProbability``)."""
RISK_FACTOR_BILLIONTHS: Final = 15
"""Price of locking 1 msat for one block, in billionths (``RiskFactorBillionths``)."""
MAX_LOCK_BLOCKS: Final = 2016 - 80 - 3
"""Largest sum of time lock deltas: LND's limit less the invoice's final delta and the block padding."""
FAR: Final = np.int64(2**62)
"""More than any distance."""
ONE_HOP: Final = 2**32
"""One hop in the ``LOCK`` column of a label."""
BLOCKS: Final = 2**32 - 1
"""Mask of the blocks in the ``LOCK`` column of a label."""
SLACK_PER_HOP: Final = 3
"""What rounding to whole msat may cost per hop, in msat."""
FIRST_GUESS: Final = 1.1
"""The first search gives up at this many attempt costs above the lower bound."""


@fused
def survey(network: Any, balances: Any, scratch: Any, sender: Any) -> Any:
    """Return the largest bandwidth of the sender's own channels and their sum, in msat (``getOutgoingBalance``)."""
    largest, total = np.int64(0), np.int64(0)
    for place in range(network.first_incoming[sender], network.first_incoming[sender + 1]):
        free = spendable(network, balances, scratch.htlcs, network.incoming[place] ^ 1)
        total += free
        largest = max(largest, free)
    return largest, total


@fused
def direct_channel(network: Any, sender: Any, target: Any) -> Any:
    """Return the direction from a sender to a neighbour, or -1 when no channel joins the two."""
    if network.hops[own_hop_row(network, sender), target] != 1:
        return -1
    place = network.first_incoming[sender]
    while network.neighbour[place] != target:
        place += 1
    return network.incoming[place] ^ 1


@fused
def _push(scratch: Any, key: Any, node: Any) -> Any:
    """Put a node into the queue."""
    place = scratch.counter[QUEUED]
    scratch.counter[QUEUED] = place + 1
    while place > 0:
        parent = (place - 1) >> 1
        if scratch.queue_key[parent] <= key:
            break
        scratch.queue_key[place] = scratch.queue_key[parent]
        scratch.queue_node[place] = scratch.queue_node[parent]
        place = parent
    scratch.queue_key[place] = key
    scratch.queue_node[place] = node


@fused
def _pop(scratch: Any) -> Any:
    """Drop the first entry of the queue."""
    last = scratch.counter[QUEUED] - 1
    scratch.counter[QUEUED] = last
    key, node = scratch.queue_key[last], scratch.queue_node[last]
    place, child = 0, 1
    while child < last:
        if child + 1 < last and scratch.queue_key[child + 1] < scratch.queue_key[child]:
            child += 1
        if key <= scratch.queue_key[child]:
            break
        scratch.queue_key[place] = scratch.queue_key[child]
        scratch.queue_node[place] = scratch.queue_node[child]
        place, child = child, 2 * child + 1
    scratch.queue_key[place] = key
    scratch.queue_node[place] = node


@fused
def _relax_sender(network: Any, balances: Any, scratch: Any, sender: Any, direction: Any, cost: Any, way: Any) -> Any:
    """Offer the sender a way over one of its own channels; return its best distance or ``FAR``."""
    weight, received, likely, lock = way
    label, policy = scratch.label[sender], network.policy[direction]
    known = label[STAMP] == scratch.counter[SEARCHES]
    best = label[DISTANCE] if known else FAR
    likely *= SUCCESS_PROBABILITY
    if received > policy[MAX_HTLC] or received < policy[MIN_HTLC] or likely < MIN_PROBABILITY:
        return best
    distance = np.int64(np.float64(weight) + cost / likely)
    if known and not _is_better(scratch, sender, distance, likely, direction):
        return best
    if not can_add(network, balances, scratch.htlcs, direction, received):
        return best
    label[STAMP] = scratch.counter[SEARCHES]
    label[DISTANCE] = distance
    label[RECEIVED] = received
    scratch.label_float[sender, PROBABILITY] = likely
    label[DIRECTION] = direction
    label[LOCK] = lock + ONE_HOP
    return distance


@fused
def _is_better(scratch: Any, node: Any, distance: Any, likely: Any, direction: Any) -> Any:
    """Return whether a way beats the one a node has: distance, then probability, then document order."""
    label = scratch.label[node]
    if distance != label[DISTANCE]:
        return distance < label[DISTANCE]
    if likely != scratch.label_float[node, PROBABILITY]:
        return likely > scratch.label_float[node, PROBABILITY]
    return direction < label[DIRECTION]


@fused
def _relax(network: Any, scratch: Any, node: Any, direction: Any, cost: Any, now: Any, way: Any) -> Any:
    """Offer a forwarding node a way; return its new distance, or -1 when it keeps what it has."""
    weight, received, likely, lock = way
    policy, label = network.policy[direction], scratch.label[node]
    if received > policy[MAX_HTLC] or received < policy[MIN_HTLC]:
        return np.int64(-1)
    lock += policy[TIME_LOCK]
    if lock & BLOCKS > MAX_LOCK_BLOCKS:
        return np.int64(-1)
    likely *= probability(network, scratch.knowledge, node, direction, received, now)
    if likely < MIN_PROBABILITY:
        return np.int64(-1)
    fee = policy[FEE_BASE] + np.int64(np.uint64(received * policy[FEE_RATE]) // np.uint64(1_000_000))
    locked = received * policy[TIME_LOCK] * RISK_FACTOR_BILLIONTHS
    weight += fee + np.int64(np.uint64(locked) // np.uint64(1_000_000_000))
    distance = np.int64(np.float64(weight) + cost / likely)
    if label[STAMP] == scratch.counter[SEARCHES] and not _is_better(scratch, node, distance, likely, direction):
        return np.int64(-1)
    label[STAMP] = scratch.counter[SEARCHES]
    label[DISTANCE] = distance
    label[WEIGHT] = weight
    label[RECEIVED] = received + fee
    scratch.label_float[node, PROBABILITY] = likely
    label[DIRECTION] = direction
    label[LOCK] = lock + ONE_HOP
    return distance


@fused
def _still_to_go(bounds: Any, cost: Any, hops: Any) -> Any:
    """Return the least distance that so many hops to the sender add, in msat."""
    return np.int64(cost * bounds[hops]) - SLACK_PER_HOP * hops


@fused
def _reach(bounds: Any, cost: Any, lower: Any, limit: Any) -> Any:
    """Return the most hops from the sender at which a distance can still stay below a limit."""
    hops = 0
    if limit == FAR:
        return UNREACHABLE
    while hops < MAX_BOUND_HOPS and lower + _still_to_go(bounds, cost, hops + 1) < limit:
        hops += 1
    return UNREACHABLE if hops == MAX_BOUND_HOPS else hops


@fused
def _search(
    network: Any,
    balances: Any,
    scratch: Any,
    sender: Any,
    target: Any,
    amount: Any,
    fee_limit: Any,
    now: Any,
    plan: Any,
) -> Any:
    """Run the search with an upper limit on the distance; return whether the sender was reached."""
    hop_row, bounds, cost, step, limit = plan
    scratch.counter[SEARCHES] += 1
    scratch.counter[QUEUED] = 0
    stamp = scratch.counter[SEARCHES]
    scratch.label[target, STAMP] = stamp
    scratch.label[target, DISTANCE] = -1
    node, distance = np.int64(target), np.int64(cost)
    way = (np.int64(0), np.int64(amount), 1.0, np.int64(0))
    reached = False
    while True:
        received = way[1]
        if received - amount <= fee_limit and way[3] < MAX_ROUTE_HOPS * ONE_HOP:
            gain = np.int64(cost / way[2] * step) - SLACK_PER_HOP
            reach = _reach(bounds, cost, distance + gain, limit)
            for place in range(network.first_incoming[node], network.first_incoming[node + 1]):
                neighbour = network.neighbour[place]
                if network.hops[hop_row, neighbour] > reach:
                    continue
                direction = network.incoming[place]
                if neighbour == sender:
                    found = _relax_sender(network, balances, scratch, sender, direction, cost, way)
                    if found < limit:
                        limit = found
                        reached = True
                    continue
                found = _relax(network, scratch, neighbour, direction, cost, now, way)
                if found >= 0:
                    hops = min(network.hops[hop_row, neighbour], MAX_BOUND_HOPS)
                    key = found + _still_to_go(bounds, cost, hops)
                    scratch.label[neighbour, KEY] = key
                    if key < limit:
                        _push(scratch, key, neighbour)
        while True:
            if scratch.counter[QUEUED] == 0 or scratch.queue_key[0] >= limit:
                return reached
            key = scratch.queue_key[0]
            node = np.int64(scratch.queue_node[0])
            _pop(scratch)
            if scratch.label[node, KEY] == key:
                break
        label = scratch.label[node]
        label[KEY] = -1
        distance = label[DISTANCE]
        way = (label[WEIGHT], label[RECEIVED], scratch.label_float[node, PROBABILITY], label[LOCK])


@fused
def find_route(
    network: Any, balances: Any, scratch: Any, sender: Any, target: Any, amount: Any, fee_limit: Any, now: Any
) -> Any:
    """Find the route that LND would try next and leave it in ``scratch.route`` and ``scratch.sent``.

    Args:
        network: The network.
        balances: Balances in msat by direction, reduced by what is in flight.
        scratch: Working space; holds what the sender knows and the HTLCs in flight.
        sender: Paying node.
        target: Receiving node, another one.
        amount: Amount to deliver in msat.
        fee_limit: Most fees in msat.
        now: Simulated time in ms.

    Returns:
        Number of hops, 0 when there is no route.
    """
    row = own_hop_row(network, sender)
    if network.hops[row, target] == UNREACHABLE:
        return np.int64(0)
    apart = min(network.hops[row, target], MAX_BOUND_HOPS)
    boosted = scratch.knowledge.counter[BOOSTED]
    likely = SUCCESS_PROBABILITY if boosted else HOP_PROBABILITY
    cost = np.float64(ATTEMPT_COST_MSAT + amount * ATTEMPT_COST_PPM // 1_000_000)
    limit = FAR
    if not boosted:
        limit = np.int64(cost * (1.0 / likely + network.bound[0, apart, apart - 1] + FIRST_GUESS))
    step = 1.0 / likely - 1.0
    reached = False
    while True:
        plan = (row, network.bound[boosted, apart], cost, step, limit)
        reached = _search(network, balances, scratch, sender, target, amount, fee_limit, now, plan)
        if reached or limit == FAR:
            break
        limit = FAR
    if not reached:
        return np.int64(0)
    return _unwind(network, scratch, sender, target, amount)


@fused
def _unwind(network: Any, scratch: Any, sender: Any, target: Any, amount: Any) -> Any:
    """Read the route from the labels, sender first; return its number of hops."""
    node, hops = np.int64(sender), np.int64(0)
    while node != target:
        direction = scratch.label[node, DIRECTION]
        node = np.int64(network.destination[direction])
        scratch.route[hops] = direction
        scratch.sent[hops] = amount if node == target else scratch.label[node, RECEIVED]
        hops += 1
    return hops


@outlined
def find_route_called(
    network: Any, balances: Any, scratch: Any, sender: Any, target: Any, amount: Any, fee_limit: Any, now: Any
) -> Any:
    """``find_route`` as a call, for callers that are not in a hurry: it need not be compiled into them."""
    return find_route(network, balances, scratch, sender, target, amount, fee_limit, now)
