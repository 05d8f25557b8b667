"""``findPath``: LND's backward Dijkstra, line by line (routing/pathfind.go), and ``newRoute``."""

import heapq
from dataclasses import dataclass

ATTEMPT_COST_MSAT = 100_000
ATTEMPT_COST_PPM = 1000
MIN_PROBABILITY = 0.01
RISK_FACTOR_BILLIONTHS = 15
CLTV_LIMIT = 2016
FINAL_CLTV_DELTA = 80
BLOCK_PADDING = 3
MAX_HOPS = 20
"""The onion holds 20 to 22 hops, depending on their amounts."""


class NoPathFound(Exception):
    """``errNoPathFound``."""


class InsufficientBalance(Exception):
    """``errInsufficientBalance``."""


@dataclass
class NodeWithDist:
    dist: int
    weight: int
    received: int
    cltv: int
    probability: float
    next_hop: int
    """Direction taken from here."""
    hops: int


def find_path(network, mission_control, source, target, amount, fee_limit, now_ms):
    """Return the directions of the best route, source first.

    ``network`` offers ``incoming[node]`` (directions into a node), ``source``, ``destination``, ``policy``,
    ``capacity_msat`` and ``bandwidth(direction, amount)``; its ``ties`` is increased where two ways are equal.
    """
    bandwidths = [network.bandwidth(direction ^ 1, 0) for direction in network.incoming[source]]
    if sum(bandwidths) < amount:
        raise InsufficientBalance
    if max(bandwidths, default=0) < amount:
        raise NoPathFound

    attempt_cost = float(ATTEMPT_COST_MSAT + amount * ATTEMPT_COST_PPM // 1_000_000)
    cltv_limit = CLTV_LIMIT - FINAL_CLTV_DELTA - BLOCK_PADDING
    distance = {}
    heap = []
    node = target
    partial = NodeWithDist(0, 0, amount, 0, 1.0, -1, 0)
    while True:
        for direction in network.incoming[node]:
            origin = network.source[direction]
            if origin == target:
                continue
            candidate = _process_edge(
                network,
                mission_control,
                source,
                direction,
                partial,
                amount,
                fee_limit,
                cltv_limit,
                attempt_cost,
                now_ms,
            )
            if candidate is None:
                continue
            network.ties += _tie(candidate, distance.get(origin))
            if not _better(candidate, distance.get(origin)):
                continue
            distance[origin] = candidate
            heapq.heappush(heap, (candidate.dist, -candidate.probability, origin, direction))
        node = None
        while heap and node is None:
            dist, _, candidate_node, direction = heapq.heappop(heap)
            if (distance[candidate_node].dist, distance[candidate_node].next_hop) == (dist, direction):
                node = candidate_node
                partial = distance[candidate_node]
        if node is None or node == source:
            break
    if source not in distance:
        raise NoPathFound
    route = []
    node = source
    while node != target:
        route.append(distance[node].next_hop)
        node = network.destination[distance[node].next_hop]
    return route


def _process_edge(network, mission_control, source, direction, to, amount, fee_limit, cltv_limit, attempt_cost, now_ms):
    """``getEdge`` and ``processEdge``: the way of ``to`` extended by a direction, or nothing."""
    origin = network.source[direction]
    policy = network.policy[direction]
    capacity = network.capacity_msat[direction]
    to_send = to.received
    if to_send > capacity or not policy.min_htlc_msat <= to_send <= policy.max_htlc_msat:
        return None
    if origin == source and to_send > network.bandwidth(direction, to_send):
        return None
    if to_send - amount > fee_limit:
        return None
    edge_probability = mission_control.probability(origin, network.destination[direction], to_send, capacity, now_ms)
    if edge_probability == 0:
        return None
    fee = delta = 0
    if origin != source:
        fee = policy.fee(to_send)
        delta = policy.time_lock_delta
    if to.cltv + delta > cltv_limit:
        return None
    probability = to.probability * edge_probability
    if probability < MIN_PROBABILITY or to.hops + 1 > MAX_HOPS:
        return None
    weight = to.weight + fee + to_send * delta * RISK_FACTOR_BILLIONTHS // 1_000_000_000
    dist = int(float(weight) + attempt_cost / probability)
    return NodeWithDist(dist, weight, to_send + fee, to.cltv + delta, probability, direction, to.hops + 1)


def _tie(candidate, current):
    if current is None or candidate.next_hop == current.next_hop:
        return False
    return (candidate.dist, candidate.probability) == (current.dist, current.probability)


def _better(candidate, current):
    """LND keeps the first of two equal ways, in an order left to chance; here that is document order."""
    if current is None:
        return True
    rank, current_rank = ((label.dist, -label.probability, label.next_hop) for label in (candidate, current))
    return rank < current_rank


def hop_amounts(network, route, amount):
    """``newRoute``: the amount over each hop, priced from the end."""
    amounts = [amount]
    for direction in reversed(route[1:]):
        amounts.append(amounts[-1] + network.policy[direction].fee(amounts[-1]))
    return amounts[::-1]
