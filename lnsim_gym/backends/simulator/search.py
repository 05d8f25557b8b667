"""LND's ``findPath`` as an A* search that provably returns the same route (routing/pathfind.go).

LND runs Dijkstra from the target back to the sender. The distance of a node is the weight of its path to the
target (fees and a price for locked time) plus the attempt cost over the path's success probability, cut to an
integer; each node keeps the one path of least distance. A step away from the target with probability ``p`` raises
the distance by at least ``C / P * (1 / p - 1)``, where ``P``, the probability so far, is at most ``p_max ** hops``.
Summed over the hops that still separate a node from the sender this is a consistent lower bound that depends on
the topology alone, so a queue ordered by distance plus bound finalises every node it expands with the very path
Dijkstra would keep, and leaves the others alone. The sum is lowered by 3 msat a hop, which covers the rounding.

Ties, which LND breaks at random (it iterates Go maps), go to the higher probability, then to the direction that
comes first in the topology.

The data flow of one search: ``_search`` expands one node after another, from the target on, and offers the path from
it to the target to the nodes that have a channel to it. ``_relax`` (a forwarding node) and ``_relax_sender`` write the
offer into the neighbour's ``LABEL`` when it beats what stands there; a forwarding node so labelled goes into the queue
under its key, distance plus bound. Labels are the only memory of the search: the route is read off them at the end by
``_unwind``. Nothing is cleared between searches: a label counts only while its stamp is current, a queue entry while
its key is.

With links, the channels between two nodes are one edge (``unified``), and an edge weighs what the near node charges
plus what the far node charges for it, never less than 0; so distances grow along a path there too, and the bound holds.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.backends.simulator.bounds import BOUND, DETOUR, LEAST_COSTS_MSAT, MAX_DETOUR_HOPS, hops_from
from lnsim_gym.backends.simulator.channels import can_add, spendable
from lnsim_gym.backends.simulator.estimator import (
    HOP_PROBABILITY,
    SUCCESS_PROBABILITY,
    own_probability,
    probability,
)
from lnsim_gym.backends.simulator.fees import forwarding_fee_msat
from lnsim_gym.backends.simulator.gossip import show, show_all
from lnsim_gym.backends.simulator.layout import BOOSTED, MANY_NODES, MAX_BOUND_HOPS, UNREACHABLE
from lnsim_gym.backends.simulator.reach import MIN_PROBABILITY, is_hopeless
from lnsim_gym.backends.simulator.unified import NO_DIRECTION, foreign_edge, is_further_channel, own_edge
from lnsim_gym.compiled import fused, inlined, outlined
from lnsim_gym.payments import SURE_ROUTE_HOPS

__all__ = ["MAX_LOCK_BLOCKS", "direct_channel", "find_route", "find_route_called", "survey"]

RISK_FACTOR_BILLIONTHS: Final = 15
"""Price of locking 1 msat for one block, in billionths (``RiskFactorBillionths``)."""
MAX_LOCK_BLOCKS: Final = 2016 - 80 - 3
"""Largest sum of time lock deltas: LND's limit less the invoice's final delta and the block padding."""
FAR: Final = np.int64(2**62)
"""More than any distance."""
ONE_HOP: Final = 2**32
"""One hop in the ``lock`` of a label."""
SURE_FORWARDERS: Final = SURE_ROUTE_HOPS - 1
"""Forwarders that fit into the onion whatever they forward."""
ONION_BYTES: Final = 1300
"""What the onion holds (``MaxRoutingPayloadSize``)."""
HOP_BYTES: Final = 49
"""What a forwarder takes of it, less the bytes of its amount: at heights of two bytes, as chains of real nodes have."""
LAST_HOP_BYTES: Final = 73
"""What the receiver takes of it, less the bytes of its amount, which it is told twice."""
BLOCKS: Final = 2**32 - 1
"""Mask of the blocks in the ``lock`` of a label."""
NO_PLACE: Final = -1
"""Stands for the place of a direction that there is not."""
LOOK_UP_COST: Final = 8
"""How many incoming directions are gone through in about the time that one is looked up in."""
SLACK_PER_HOP: Final = 3
"""What rounding to whole msat may cost per hop, in msat."""
LEAST_GUESSED_MSAT: Final = 30_000.0
"""What guesses take an attempt to cost where it costs less: fees alone then keep routes apart by as much."""
FIRST_GUESS: Final = 1.1
"""The first search gives up at this many attempt costs above the lower bound; see ``LEAST_GUESSED_MSAT``."""
NEXT_GUESS: Final = 0.5
"""The next one at this many above the least that the one before left, each further one at twice as many."""
LAST_GUESS: Final = 16.0
"""A search that would go further has no limit at all, in attempt costs."""


class Path(NamedTuple):
    """The path from a node to the target of a search, as its label holds it."""

    weight: Any  # msat: fees and the price of locked time
    received_msat: Any  # what the node must get, less its inbound fee
    probability: Any
    lock: Any  # see LABEL
    outbound_fee_msat: Any  # what the node charges into its direction; used with links only
    is_target: Any


class Bounds(NamedTuple):
    """What keeps a search from looking at nodes that cannot lead to the route."""

    hops_to: Any  # (nodes,) hops from the sender
    costs: Any  # (MAX_BOUND_HOPS + 1,) row of ``BOUND``: least further cost by hops from the sender, in attempt costs
    attempt_cost_msat: Any
    step_cost: Any  # least cost of one more hop, in attempt costs over the probability so far
    limit: Any  # only routes of less distance are looked for; ``FAR`` for any
    hops_back: Any  # (nodes,) hops from the target; looked at only where it is close
    detours: Any  # (MAX_DETOUR_HOPS + 1, MAX_DETOUR_HOPS + 1) the same by hops from the target too: table of ``DETOUR``
    is_close: Any  # whether to go by ``detours``


@fused
def survey(network: Any, balances: Any, work: Any, sender: Any) -> Any:
    """Return the largest bandwidth of the sender's own channels and their sum, in msat (``getOutgoingBalance``)."""
    largest, total = np.int64(0), np.int64(0)
    for place in range(network.first_incoming[sender], network.first_incoming[sender + 1]):
        free = spendable(network, balances, work.htlcs, network.incoming[place] ^ 1)
        total += free
        largest = free if free > largest else largest  # ``max`` would take longer to compile
    return largest, total


@fused
def direct_channel(
    network: Any, links: Any, balances: Any, work: Any, sender: Any, target: Any, amount: Any, now: Any
) -> Any:
    """Return the direction to a neighbour that LND would send an amount over, or -1: no other route can be better."""
    if hops_from(network, work, sender)[target] != 1:
        return -1
    place = network.first_incoming[sender]
    while network.neighbour[place] != target:
        place += 1
    direction = np.uint32(network.incoming[place] ^ 1)
    if links is not None:
        if own_probability(work.knowledge, links.pair[direction], now) != SUCCESS_PROBABILITY:
            return -1
        path = Path(np.int64(0), np.int64(amount), 1.0, np.int64(0), np.int64(0), True)
        edge = own_edge(network, balances, work, np.int64(links.place[direction]), path)
        return -1 if edge.direction == NO_DIRECTION else edge.direction
    policy = network.policy[direction]
    if amount < policy.min_htlc_msat or amount > policy.max_htlc_msat:
        return -1
    return np.int64(direction) if can_add(network, balances, work.htlcs, direction, amount) else -1


@fused
def _push(queue: Any, queued: Any, key: Any, node: Any) -> Any:
    """Put a node into a queue of that length."""
    place = queued
    while place > 0:
        parent = (place - 1) >> 1
        if queue[parent].key <= key:
            break
        queue[place].key = queue[parent].key
        queue[place].node = queue[parent].node
        place = parent
    queue[place].key = key
    queue[place].node = node


@fused
def _drop_first(queue: Any, left: Any) -> Any:
    """Drop the first entry of a queue, which leaves so many."""
    key, node = queue[left].key, queue[left].node
    place, child = 0, 1
    while child < left:
        if child + 1 < left and queue[child + 1].key < queue[child].key:
            child += 1
        if key <= queue[child].key:
            break
        queue[place].key = queue[child].key
        queue[place].node = queue[child].node
        place, child = child, 2 * child + 1
    queue[place].key = key
    queue[place].node = node


@fused
def _next(labels: Any, queue: Any, queued: Any, key: Any, node: Any, limit: Any) -> Any:
    """Return the key and node to expand next, a candidate or the first of the queue, and how many stay queued."""
    while queued > 0 and queue[0].key < key:
        if key < limit:
            _push(queue, queued, key, node)
            queued += 1
        key, node = queue[0].key, np.uint32(queue[0].node)
        queued -= 1
        _drop_first(queue, queued)
        if labels[node].key == key:
            break
        key = FAR  # outdated: the node has a better path since, and another entry for it
    return key, node, queued


@fused
def _relax_sender(network: Any, balances: Any, work: Any, sender: Any, direction: Any, cost: Any, path: Any) -> Any:
    """Offer the sender a path over one of its own channels; return its best distance or ``FAR``.

    The sender knows its balances and charges itself neither fee nor time lock.
    """
    label, policy = work.label[sender], network.policy[direction]
    known = label.stamp == work.searches[0]
    best = label.distance if known else FAR
    received = path.received_msat
    likely = path.probability * SUCCESS_PROBABILITY
    if received > policy.max_htlc_msat or received < policy.min_htlc_msat or likely < MIN_PROBABILITY:
        return best
    if not can_add(network, balances, work.htlcs, direction, received):
        return best
    distance = np.int64(np.float64(path.weight) + cost / likely)
    if known and not _is_better(label, distance, likely, direction):
        return best
    label.stamp = work.searches[0]
    label.distance = distance
    label.received_msat = received
    label.probability = likely
    label.direction = direction
    label.lock = path.lock + ONE_HOP
    return distance


@fused
def _is_better(label: Any, distance: Any, likely: Any, direction: Any) -> Any:
    """Return whether a path beats a label: distance, then probability, then document order."""
    if distance != label.distance:
        return distance < label.distance
    if likely != label.probability:
        return likely > label.probability
    return direction < label.direction


@fused
def _number_bytes(number: Any) -> Any:
    """Return how many bytes a number above 0 takes in the onion, where it has no leading zeros."""
    count = np.int64(1)
    while number >= 256:
        number >>= 8
        count += 1
    return count


@outlined
def _fits_exactly(network: Any, work: Any, direction: Any, sent: Any, path: Any, amount: Any) -> Any:
    """Return what ``_fits_onion`` does, however many hops there are."""
    node = network.destination[direction]
    size = LAST_HOP_BYTES + 2 * _number_bytes(np.int64(amount)) + HOP_BYTES + _number_bytes(np.int64(sent))
    hops = np.int64(path.lock) // ONE_HOP
    for hop in range(1, hops + 1):
        label = work.label[node]
        node = network.destination[label.direction]
        if network.links is not None:
            forwarded = label.received_msat - work.outbound_fee_msat[network.source[label.direction]]
        else:
            forwarded = np.int64(amount) if hop == hops else work.label[node].received_msat
        size += HOP_BYTES + _number_bytes(np.int64(forwarded))
    return size <= ONION_BYTES


@fused
def _fits_onion(network: Any, work: Any, direction: Any, sent: Any, path: Any, amount: Any) -> Any:
    """Return whether the onion holds a path and one more forwarder, which sends so much over a direction to it."""
    sure = path.lock < SURE_FORWARDERS * ONE_HOP
    return sure or _fits_exactly(network, work, direction, sent, path, amount)


@fused
def _relax(network: Any, work: Any, node: Any, direction: Any, terms: Any, path: Any) -> Any:
    """Offer a forwarding node a path; return its new distance, or -1 when it keeps what it has.

    Any check may refuse the path whatever the others say, so their order is free: first those that need the policy
    alone, which is one cache line, then the estimate, then the comparison with what the node has.
    """
    cost, amount, _, now = terms
    received, lock, likely = path.received_msat, path.lock, path.probability
    policy, label = network.policy[direction], work.label[node]
    if received > policy.max_htlc_msat or received < policy.min_htlc_msat:
        return np.int64(-1)
    lock += policy.time_lock
    if lock & BLOCKS > MAX_LOCK_BLOCKS:
        return np.int64(-1)
    likely *= probability(policy.capacity_msat, work.knowledge, node, direction, received, now)
    if likely < MIN_PROBABILITY:
        return np.int64(-1)
    fee = forwarding_fee_msat(policy.fee_base_msat, policy.fee_rate_ppm, received)
    locked = received * policy.time_lock * RISK_FACTOR_BILLIONTHS
    weight = path.weight + fee + np.int64(np.uint64(locked) // np.uint64(1_000_000_000))
    distance = np.int64(np.float64(weight) + cost / likely)
    if label.stamp == work.searches[0] and not _is_better(label, distance, likely, direction):
        return np.int64(-1)
    if not _fits_onion(network, work, direction, received, path, amount):
        return np.int64(-1)
    label.stamp = work.searches[0]
    label.distance = distance
    label.weight = weight
    label.received_msat = received + fee
    label.probability = likely
    label.direction = direction
    label.lock = lock + ONE_HOP
    return distance


@outlined
def _relax_sender_linked(network: Any, balances: Any, work: Any, sender: Any, place: Any, terms: Any, path: Any) -> Any:
    """Do what ``_relax_sender`` does where there are links, for all its channels to a node."""
    cost, amount, fee_limit, now = terms
    label = work.label[sender]
    known = label.stamp == work.searches[0]
    best = label.distance if known else FAR
    edge = own_edge(network, balances, work, place, path)
    if edge.direction == NO_DIRECTION or edge.sent_msat - amount > fee_limit:
        return best
    pair = network.links.pair[np.uint32(edge.direction)]
    likely = path.probability * own_probability(work.knowledge, pair, now)
    if likely < MIN_PROBABILITY:
        return best
    weight = path.weight + max(edge.inbound_fee_msat, np.int64(0))
    distance = np.int64(np.float64(weight) + cost / likely)
    if known and not _is_better(label, distance, likely, np.uint64(edge.direction)):
        return best
    label.stamp = work.searches[0]
    label.distance = distance
    label.received_msat = edge.sent_msat
    label.probability = likely
    label.direction = edge.direction
    label.lock = path.lock + ONE_HOP
    work.outbound_fee_msat[sender] = 0
    return distance


@outlined
def _relax_linked(network: Any, work: Any, node: Any, place: Any, terms: Any, path: Any) -> Any:
    """Do what ``_relax`` does where there are links, for all channels of a node to the next (``processEdge``)."""
    cost, amount, fee_limit, now = terms
    edge = foreign_edge(network, place, path)
    if edge.direction == NO_DIRECTION or edge.sent_msat - amount > fee_limit:
        return np.int64(-1)
    lock = path.lock + edge.time_lock
    if lock & BLOCKS > MAX_LOCK_BLOCKS:
        return np.int64(-1)
    pair = network.links.pair[np.uint32(edge.direction)]
    likely = path.probability * probability(edge.capacity_msat, work.knowledge, node, pair, edge.sent_msat, now)
    if likely < MIN_PROBABILITY:
        return np.int64(-1)
    fee = max(edge.inbound_fee_msat + edge.outbound_fee_msat, np.int64(0))
    weight = path.weight + fee + edge.sent_msat * edge.time_lock * RISK_FACTOR_BILLIONTHS // 1_000_000_000
    distance = np.int64(np.float64(weight) + cost / likely)
    label = work.label[node]
    if label.stamp == work.searches[0] and not _is_better(label, distance, likely, np.uint64(edge.direction)):
        return np.int64(-1)
    if not _fits_onion(network, work, np.uint32(edge.direction), edge.sent_msat, path, amount):
        return np.int64(-1)
    label.stamp = work.searches[0]
    label.distance = distance
    label.weight = weight
    label.received_msat = edge.sent_msat + edge.outbound_fee_msat
    label.probability = likely
    label.direction = edge.direction
    label.lock = lock + ONE_HOP
    work.outbound_fee_msat[node] = edge.outbound_fee_msat
    return distance


@fused
def _offer_sender(
    network: Any, links: Any, balances: Any, work: Any, sender: Any, place: Any, terms: Any, path: Any
) -> Any:
    """Offer the sender a path; see ``_relax_sender``."""
    if links is None:
        return _relax_sender(network, balances, work, sender, network.incoming[place], terms[0], path)
    return _relax_sender_linked(network, balances, work, sender, place, terms, path)


@fused
def _offer(network: Any, links: Any, work: Any, node: Any, place: Any, terms: Any, path: Any) -> Any:
    """Offer a forwarding node a path; see ``_relax``."""
    if links is None:
        return _relax(network, work, node, network.incoming[place], terms, path)
    return _relax_linked(network, work, node, place, terms, path)


@fused
def _may_go_on(links: Any, path: Any, amount: Any, fee_limit: Any) -> Any:
    """Return whether anything may be offered a path onwards.

    In plain networks the fees up to a node are the same over each channel to it; inbound fees differ by channel.
    """
    if links is None:
        return path.received_msat - amount <= fee_limit
    return True


@fused
def _outbound_fee_msat(links: Any, work: Any, node: Any) -> Any:
    """Return what a node charges into the direction of its label; 0 in plain networks, where nothing depends on it."""
    if links is None:
        return np.int64(0)
    return work.outbound_fee_msat[node]


@fused
def _is_closer(links: Any, label: Any, work: Any, distance: Any) -> Any:
    """Return whether a label is sure to beat any path of at least a distance.

    In plain networks a path is worked out in hardly more time than it takes to ask.
    """
    if links is None:
        return False
    return label.stamp == work.searches[0] and label.distance < distance


@fused
def _far_to_go(bounds: Any, hops: Any) -> Any:
    """Return the least distance that so many hops to the sender add, up to ``MAX_BOUND_HOPS``, in msat."""
    return np.int64(bounds.attempt_cost_msat * bounds.costs[hops]) - SLACK_PER_HOP * hops


@fused
def _still_to_go(bounds: Any, node: Any, hops: Any, wide: Any) -> Any:
    """Return the least distance that the path from the sender to a node, so many hops from it, adds, in msat."""
    if wide is None or not bounds.is_close:
        return _far_to_go(bounds, np.int64(hops if hops < MAX_BOUND_HOPS else MAX_BOUND_HOPS))
    back = bounds.hops_back[node]
    back = back if back < MAX_DETOUR_HOPS else MAX_DETOUR_HOPS
    ahead = hops if hops < MAX_DETOUR_HOPS else MAX_DETOUR_HOPS
    return np.int64(bounds.attempt_cost_msat * bounds.detours[np.uint64(back), np.uint64(ahead)])


@fused
def _reach(bounds: Any, distance: Any, limit: Any) -> Any:
    """Return the most hops from the sender at which a node of such a distance can still lead to less than a limit."""
    hops = 0
    if limit == FAR:
        return UNREACHABLE
    while hops < MAX_BOUND_HOPS and distance + _far_to_go(bounds, hops + 1) < limit:
        hops += 1
    # The table ends at MAX_BOUND_HOPS, which stands for that many hops and more.
    return UNREACHABLE if hops == MAX_BOUND_HOPS else hops


@fused
def _steps(network: Any, sender: Any, node: Any, reach: Any, wide: Any) -> Any:
    """Return what to go through for the neighbours of a node within a reach, and whether to look places up.

    That is its incoming directions; or, where only neighbours of the sender and the sender itself are within reach and
    they are far fewer, the incoming directions of the sender and one step more, which stands for the sender.
    """
    first, last = np.uint64(network.first_incoming[node]), np.uint64(network.first_incoming[node + 1])
    if wide is None:
        return first, last, False
    if last - first > np.uint64(LOOK_UP_COST) and reach <= 1:
        own_first, own_last = np.uint64(network.first_incoming[sender]), np.uint64(network.first_incoming[sender + 1])
        if last - first > np.uint64(LOOK_UP_COST) * (own_last - own_first + np.uint64(1)):
            return (own_first if reach == 1 else own_last), own_last + np.uint64(1), True
    return first, last, False


@fused
def _neighbour(
    network: Any, hops_to: Any, sender: Any, node: Any, step: Any, last: Any, looks_up: Any, wide: Any
) -> Any:
    """Return the neighbour of a node that a step of ``_steps`` stands for, its place, and its hops from the sender.

    Where they are no neighbours, so many hops that it is never within reach.
    """
    if wide is None or not looks_up:
        neighbour = network.neighbour[step]
        return neighbour, step, np.int64(hops_to[neighbour])
    neighbour = sender if step + np.uint64(1) == last else network.neighbour[step]
    place = _place_of(network, node, neighbour)
    if place == NO_PLACE:
        return neighbour, step, np.int64(UNREACHABLE + 1)
    return neighbour, np.uint64(place), np.int64(hops_to[neighbour])


@outlined
def _place_of(network: Any, node: Any, neighbour: Any) -> Any:
    """Return the first place in ``network.incoming`` of a direction from a neighbour to a node, or ``NO_PLACE``."""
    first, last = np.int64(network.first_incoming[node]), np.int64(network.first_incoming[node + 1])
    end = last
    while first < last:
        middle = (first + last) >> 1
        if network.neighbour[np.uint64(middle)] < neighbour:
            first = middle + 1
        else:
            last = middle
    return first if first < end and network.neighbour[np.uint64(first)] == neighbour else np.int64(NO_PLACE)


@fused
def _search(  # noqa: PLR0912, PLR0915 - one loop, in which a call would cost as much as what it does
    network: Any,
    balances: Any,
    work: Any,
    sender: Any,
    target: Any,
    amount: Any,
    fee_limit: Any,
    now: Any,
    bounds: Any,
    wide: Any,
) -> Any:
    """Run the search with an upper limit on the distance; return whether the sender was reached.

    Also returns the least distance that a route beyond the limit may have, as far as seen, or ``FAR``. ``wide`` is None
    for the first search in a small network, which is compiled without what pays only where there is much to look at;
    the others return ``FAR`` only where there is no route at all.
    """
    labels, queue = work.label, work.queue
    cost, limit = bounds.attempt_cost_msat, bounds.limit
    work.searches[0] += 1  # outdates every label
    labels[target].stamp = work.searches[0]
    labels[target].distance = -1  # less than any offer, so no path leads through the target
    node, distance, queued = target, np.int64(cost), np.int64(0)
    path = Path(np.int64(0), np.int64(amount), 1.0, np.int64(0), np.int64(0), True)
    terms = (cost, amount, fee_limit, now)
    reached, passed_by = False, FAR
    while True:
        # The best neighbour is kept out of the queue: mostly it is the one to expand next.
        next_key, next_node = FAR, np.uint32(0)
        # This depends on the node alone, so it is checked before its channels rather than at each of them.
        if _may_go_on(network.links, path, amount, fee_limit):
            # The neighbours' distance is at least this node's plus the gain. One whose hops to the sender then add
            # up to the limit would get a key that is never taken from the queue, so it is left without a label: a
            # byte read instead of a policy, a label and an estimate. The limit only falls, so a reach worked out
            # before the loop is at worst too far.
            gain = np.int64(cost / path.probability * bounds.step_cost) - SLACK_PER_HOP
            reach = _reach(bounds, distance + gain, limit)
            first, last, looks_up = _steps(network, sender, node, reach, wide)
            looks_away = looks_up
            for step in range(first, last):
                neighbour, place, hops = _neighbour(network, bounds.hops_to, sender, node, step, last, looks_up, wide)
                looks_away |= hops > reach
                if hops > reach or is_further_channel(network, network.links, place):
                    continue
                if neighbour == sender:
                    found = _offer_sender(network, network.links, balances, work, sender, place, terms, path)
                    if found < limit:  # from now on only shorter routes count
                        limit = found
                        reached = True
                    continue
                if wide is not None and bounds.is_close:
                    least = distance + gain + _still_to_go(bounds, neighbour, hops, wide)
                    if least >= limit:
                        passed_by = min(passed_by, least)
                        continue
                if _is_closer(network.links, labels[neighbour], work, distance + gain):
                    continue
                found = _offer(network, network.links, work, neighbour, place, terms, path)
                if found >= 0:
                    key = found + _still_to_go(bounds, neighbour, hops, wide)
                    labels[neighbour].key = key
                    if key < next_key:  # the new best takes the place of the old one, which is queued instead
                        key, neighbour, next_key, next_node = next_key, next_node, key, neighbour
                    if key < limit:
                        _push(queue, queued, key, neighbour)
                        queued += 1
                    elif key < passed_by:
                        passed_by = key
            if wide is not None and looks_away and reach < UNREACHABLE:
                passed_by = min(passed_by, distance + gain + _far_to_go(bounds, reach + 1))
        next_key, node, queued = _next(labels, queue, queued, next_key, next_node, limit)
        # No key is larger than the distance of the routes it leads to: what is left cannot beat the limit.
        if next_key >= limit:
            return reached, min(passed_by, next_key)
        label = labels[node]
        label.key = -1
        distance = label.distance
        fee = _outbound_fee_msat(network.links, work, node)
        path = Path(label.weight, label.received_msat, label.probability, label.lock, fee, False)


@outlined
def _search_widely(
    network: Any, balances: Any, work: Any, sender: Any, target: Any, amount: Any, fee_limit: Any, now: Any, bounds: Any
) -> Any:
    """``_search`` for large networks and for what the first search did not find."""
    return _search(network, balances, work, sender, target, amount, fee_limit, now, bounds, True)


@inlined
def _hops_back(network: Any, work: Any, sender: Any, target: Any) -> Any:
    """Return the hops from a target, and True; or those from the sender, and False, where only one of them has room."""
    rows = work.hop_rows.owner.size
    if rows > 0 and (np.int64(sender) - np.int64(target)) % rows == 0:
        return hops_from(network, work, sender), False
    return hops_from(network, work, target), True


@fused
def find_route(
    network: Any, balances: Any, work: Any, sender: Any, target: Any, amount: Any, fee_limit: Any, now: Any
) -> Any:
    """Find the route that LND would try next and leave it in ``work.route`` and ``work.sent``.

    Args:
        network: The network; meanwhile it has the policies that the sender has heard of.
        balances: Balances in msat by direction, reduced by what is in flight.
        work: Working space; holds what the sender knows and the HTLCs in flight.
        sender: Paying node.
        target: Receiving node, another one.
        amount: Amount to deliver in msat.
        fee_limit: Most fees in msat.
        now: Simulated time in ms.

    Returns:
        Number of hops, 0 when there is no route.
    """
    sender, target = np.uint32(sender), np.uint32(target)
    hops_to = hops_from(network, work, sender)
    if hops_to[target] == UNREACHABLE:
        return np.int64(0)
    apart = np.int64(hops_to[target])
    if apart > MAX_BOUND_HOPS:
        apart = np.int64(MAX_BOUND_HOPS)
    boosted = work.knowledge.counter[BOOSTED]
    likely = SUCCESS_PROBABILITY if boosted else HOP_PROBABILITY
    cost = np.float64(work.attempt_cost[0] + amount * work.attempt_cost[1] // 1_000_000)
    guessed = cost if cost > LEAST_GUESSED_MSAT else LEAST_GUESSED_MSAT
    step = 1.0 / likely - 1.0
    # Most routes are hardly dearer than the bound allows, so a first search looks no further than that. Only if it
    # finds nothing do others look further, by and by. Once hops may be as likely as those known to pass, the bound
    # is too far below the routes for a guess to be worth its while.
    limit, more = FAR, guessed * NEXT_GUESS
    if not boosted:
        limit = np.int64(cost * (1.0 / likely + BOUND[0, apart, apart - 1]) + guessed * FIRST_GUESS)
    usual = np.int64(cost >= LEAST_COSTS_MSAT[1])
    detours = DETOUR[usual, apart if apart < MAX_DETOUR_HOPS else MAX_DETOUR_HOPS]
    hops_back, is_close, is_small = hops_to, False, network.hops.shape[0] > 0
    few = is_small and network.first_incoming.size <= MANY_NODES
    show(network, network.links, work.knowledge)
    while True:
        bounds = Bounds(hops_to, BOUND[boosted, apart], cost, step, limit, hops_back, detours, is_close)
        if is_small:
            reached, passed_by = _search(network, balances, work, sender, target, amount, fee_limit, now, bounds, None)
        else:
            reached, passed_by = _search_widely(network, balances, work, sender, target, amount, fee_limit, now, bounds)
        if reached or limit == FAR or (not is_small and passed_by == FAR):
            break
        looks_first = not few and not is_close
        if looks_first and is_hopeless(network, balances, work, sender, target, amount, fee_limit, now):
            break
        if few or (is_small and not usual):  # what attempts cost says little, then, and all is searched in no time
            limit = FAR
            continue
        is_small = False
        if not is_close:
            hops_back, is_close = _hops_back(network, work, sender, target)
        limit = np.int64(more + (limit if passed_by == FAR else passed_by))
        more *= 2.0
        if not is_close or more > guessed * LAST_GUESS:
            limit, is_close = FAR, False
    show_all(network, network.links, work.knowledge)
    if not reached:
        return np.int64(0)
    return _unwind(network, network.links, work, sender, target, amount)


@fused
def _unwind(network: Any, links: Any, work: Any, sender: Any, target: Any, amount: Any) -> Any:
    """Read the route from the labels, sender first; return its number of hops.

    Every label on it but the sender's is final: a path is offered onwards only once its node is expanded, and the
    bound is consistent, so nothing better reaches a node after that.
    """
    node, hops = sender, np.int64(0)
    while node != target:
        direction = work.label[node].direction
        if links is not None:
            # The sender's label holds no more than that of the node after it, so its own time lock comes out as 0.
            far = network.destination[direction]
            beyond = np.int64(0) if far == target else work.label[far].lock & BLOCKS
            work.lock[hops] = (work.label[node].lock & BLOCKS) - beyond
            work.sent[hops] = work.label[node].received_msat - work.outbound_fee_msat[node]
            work.route[hops] = direction
            node = far
            hops += 1
            continue
        node = network.destination[direction]
        work.route[hops] = direction
        work.sent[hops] = amount if node == target else work.label[node].received_msat
        hops += 1
    return hops


@outlined
def find_route_called(
    network: Any, balances: Any, work: Any, sender: Any, target: Any, amount: Any, fee_limit: Any, now: Any
) -> Any:
    """``find_route`` as a call, for callers that are not in a hurry: it need not be compiled into them."""
    return find_route(network, balances, work, sender, target, amount, fee_limit, now)
