"""``findPath``: LND's backward Dijkstra, line by line (routing/pathfind.go), and ``newRoute``."""

import heapq
from dataclasses import dataclass

MIN_PROBABILITY = 0.01
RISK_FACTOR_BILLIONTHS = 15
CLTV_LIMIT = 2016
FINAL_CLTV_DELTA = 80
BLOCK_PADDING = 3
ONION_BYTES = 1300
"""``sphinx.MaxRoutingPayloadSize``."""
FRAME_BYTES = 1 + 32
"""Length and HMAC of a payload."""
EXPIRY_BYTES = 2 + 2
CHANNEL_ID_BYTES = 2 + 8
PAYMENT_ADDRESS_BYTES = 2 + 32


class NoPathFound(Exception):
    """``errNoPathFound``."""


class InsufficientBalance(Exception):
    """``errInsufficientBalance``."""


@dataclass
class Edge:
    """``unifiedEdge``: what a sender takes the channels between two nodes for."""

    direction: int
    inbound_fee: int
    """Of the node it leads to, capped from below by minus that node's outbound fee."""
    time_lock_delta: int
    capacity_msat: int


@dataclass
class NodeWithDist:
    dist: int
    weight: int
    received: int
    """``netAmountReceived``: without the node's inbound fee."""
    outbound_fee: int
    cltv: int
    probability: float
    next_hop: Edge | None
    onion_bytes: int
    """``routingInfoSize``."""


def amount_bytes(amount):
    """``SizeTUint64``."""
    return -(-amount.bit_length() // 8)


def last_hop_bytes(amount):
    """``lastHopPayloadSize``."""
    return FRAME_BYTES + 2 + amount_bytes(amount) + EXPIRY_BYTES + PAYMENT_ADDRESS_BYTES + amount_bytes(amount)


def hop_bytes(amount):
    """``defaultHopPayloadSize``."""
    return FRAME_BYTES + 2 + amount_bytes(amount) + EXPIRY_BYTES + CHANNEL_ID_BYTES


def find_path(network, mission_control, source, target, amount, fee_limit, now_ms):
    """Return the edges of the best route, source first.

    ``network`` offers ``incoming[node]`` (directions into a node), ``source``, ``destination``, ``known`` (policies),
    ``capacity_msat``, ``attempt_cost`` (sat, and ppm of the amount) and ``bandwidth(direction, amount)``; its ``ties``
    is increased where two ways are equal.
    """
    bandwidths = [network.bandwidth(direction ^ 1, 0) for direction in network.incoming[source]]
    if sum(bandwidths) < amount:
        raise InsufficientBalance
    if max(bandwidths, default=0) < amount:
        raise NoPathFound

    attempt_cost = float(1000 * network.attempt_cost[0] + amount * network.attempt_cost[1] // 1_000_000)
    cltv_limit = CLTV_LIMIT - FINAL_CLTV_DELTA - BLOCK_PADDING
    distance = {}
    heap = []
    node = target
    partial = NodeWithDist(0, 0, amount, 0, 0, 1.0, None, last_hop_bytes(amount))
    while True:
        for origin in sorted({network.source[direction] for direction in network.incoming[node]}):
            if origin == target:
                continue
            edge = get_edge(network, source, origin, node, partial)
            if edge is None:
                continue
            candidate = _process_edge(
                network, mission_control, source, edge, partial, amount, fee_limit, cltv_limit, attempt_cost, now_ms
            )
            if candidate is None:
                continue
            network.ties += _tie(candidate, distance.get(origin))
            if not _better(candidate, distance.get(origin)):
                continue
            distance[origin] = candidate
            heapq.heappush(heap, (candidate.dist, -candidate.probability, origin, edge.direction))
        node = None
        while heap and node is None:
            dist, _, candidate_node, direction = heapq.heappop(heap)
            best = distance[candidate_node]
            if (best.dist, best.next_hop.direction) == (dist, direction):
                node = candidate_node
                partial = best
        if node is None or node == source:
            break
    if source not in distance:
        raise NoPathFound
    route = []
    node = source
    while node != target:
        route.append(distance[node].next_hop)
        node = network.destination[route[-1].direction]
    return route


def get_edge(network, source, origin, node, to):
    """``edgeUnifier.getEdge``: one edge for all channels from a node to the next, or nothing."""
    is_exit = to.next_hop is None
    found, most = None, -(2**63)
    longest = largest = 0
    for direction in network.incoming[node]:
        if network.source[direction] != origin:
            continue
        policy = network.known[direction]
        inbound_fee = 0 if is_exit else network.known[direction ^ 1].inbound_fee(to.received)
        inbound_fee = max(inbound_fee, -to.outbound_fee)
        amount = to.received + inbound_fee
        capacity = network.capacity_msat[direction]
        if amount > capacity or not policy.min_htlc_msat <= amount <= policy.max_htlc_msat:
            continue
        if origin == source:  # getEdgeLocal
            bandwidth = network.bandwidth(direction, amount)
            if amount > bandwidth or bandwidth < most:
                continue
            if found is not None and bandwidth == most:
                network.ties += 1
                if network.rank(direction) < network.rank(found.direction):
                    continue
            most, longest, largest = bandwidth, policy.time_lock_delta, capacity
        else:  # getEdgeNetwork
            if policy.disabled:
                continue
            largest = max(largest, capacity)
            longest = max(longest, policy.time_lock_delta)
            fee = policy.fee(amount) + inbound_fee
            if fee < most:
                continue
            most = fee
        found = Edge(direction, inbound_fee, 0, 0)
    if found is not None:
        found.time_lock_delta, found.capacity_msat = longest, largest
    return found


def _process_edge(network, mission_control, source, edge, to, amount, fee_limit, cltv_limit, attempt_cost, now_ms):
    """``processEdge``: the way of ``to`` extended by an edge, or nothing."""
    origin = network.source[edge.direction]
    to_send = to.received + edge.inbound_fee
    total_fee = to_send - amount
    if total_fee > 0 and total_fee > fee_limit:
        return None
    edge_probability = mission_control.probability(
        origin, network.destination[edge.direction], to_send, edge.capacity_msat, now_ms
    )
    if edge_probability == 0:
        return None
    outbound_fee = delta = 0
    onion_bytes = to.onion_bytes
    if origin != source:
        outbound_fee = network.known[edge.direction].fee(to_send)
        delta = edge.time_lock_delta
        onion_bytes += hop_bytes(to_send)
    if to.cltv + delta > cltv_limit:
        return None
    probability = to.probability * edge_probability
    if probability < MIN_PROBABILITY or onion_bytes > ONION_BYTES:
        return None
    fee = max(edge.inbound_fee + outbound_fee, 0)
    weight = to.weight + fee + to_send * delta * RISK_FACTOR_BILLIONTHS // 1_000_000_000
    dist = int(float(weight) + attempt_cost / probability)
    return NodeWithDist(
        dist, weight, to_send + outbound_fee, outbound_fee, to.cltv + delta, probability, edge, onion_bytes
    )


def _tie(candidate, current):
    if current is None or candidate.next_hop.direction == current.next_hop.direction:
        return False
    return (candidate.dist, candidate.probability) == (current.dist, current.probability)


def _better(candidate, current):
    """LND keeps the first of two equal ways, in an order left to chance; here that is document order."""
    if current is None:
        return True
    rank, current_rank = ((label.dist, -label.probability, label.next_hop.direction) for label in (candidate, current))
    return rank < current_rank


def hop_amounts(network, route, amount):
    """``newRoute``: the amount over each hop, priced from the end; ``route`` holds directions."""
    amounts = [amount]
    for incoming, outgoing in zip(reversed(route[:-1]), reversed(route[1:]), strict=True):
        outbound_fee = network.known[outgoing].fee(amounts[-1])
        inbound_fee = network.known[incoming ^ 1].inbound_fee(amounts[-1] + outbound_fee)
        amounts.append(amounts[-1] + max(outbound_fee + inbound_fee, 0))
    return amounts[::-1]
