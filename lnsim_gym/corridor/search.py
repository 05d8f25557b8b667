"""What the ways of payments cost, to and from every own channel and around the own node: compiled searches.

Weights are those of LND's ``findPath`` (routing/pathfind.go): fees, plus ``RiskFactorBillionths`` of the amount for
each block that it is locked; routes are compared by weight plus attempt cost over the probability of success, 0.6 for
each hop that was not tried before and 0.95 for the sender's own. Searches look only at what can carry the amount at the
begin of a step, as LND's senders end there after some attempts.

All kernels of a module are made of this module and of rooms below (see ``compiled.cache.ABOVE_KERNELS``).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

import numpy as np

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.backends.simulator.estimator import HOP_PROBABILITY, SUCCESS_PROBABILITY
from lnsim_gym.backends.simulator.fees import forwarding_fee_msat, inbound_fee_msat
from lnsim_gym.backends.simulator.search import RISK_FACTOR_BILLIONTHS
from lnsim_gym.compiled import fused, kernel, outlined

__all__ = ["Found", "Labels", "Ways", "quote", "survey_payments"]

NOWHERE: Final = np.inf
"""Weight of what no route leads to."""
FURTHEST_HOPS: Final = 5.5
"""A search ends where the fee limit and the attempt cost of so many hops are exceeded."""
HOPS_BEYOND: Final = 3
"""Hops that the way on from the own node is taken to have while the ways to it are searched."""
DEAREST_QUOTE: Final = 0.01
"""Weight beyond which no way back is looked for, as a share of the amount."""
QUOTE_PATIENCE: Final = 0.1
"""Share of the attempt cost that counts in quotes: a rebalance tries many routes, and takes the cheapest that works."""


class Labels(NamedTuple):
    """What a search knows of nodes, and its queue."""

    weight_msat: Float64  # (nodes,) of the way between the node and where the search began
    fee_msat: Int64  # (nodes,) the fees in it
    hops: Int64  # (nodes,)
    outbound_msat: Int64  # (nodes,) what the node charges for its next hop
    by: Int64  # (nodes,) direction that it is reached by, -1 where the search began
    settled: Bool  # (nodes,)
    key: Float64  # (directions + 1,) the queue
    queued: Int64  # (directions + 1,)

    @classmethod
    def of(cls, nodes: int, directions: int) -> Self:
        """Make room for searches of a network."""
        whole = [np.empty(nodes, np.int64) for _ in range(4)]
        queue = np.empty(directions + 1), np.empty(directions + 1, np.int64)
        return cls(np.empty(nodes), whole[0], whole[1], whole[2], whole[3], np.empty(nodes, np.bool_), *queue)


class Ways(NamedTuple):
    """Ways of payments between own channels and one of their ends."""

    fee_msat: Any  # (payments, channels) float32
    weight_msat: Any  # (payments, channels) float32: fees and the price of locked time; infinite where there is none
    hops: Any  # (payments, channels) int8


class Found(NamedTuple):
    """Payments that may pass through the own node."""

    amount_msat: Int64  # (payments,)
    limit_msat: Int64  # (payments,) most that is paid in fees
    around: Float64  # (payments,) what the best route around the own node costs, attempts included
    attempt_msat: Float64  # (payments,) the attempt cost
    to_us: Ways
    """From the sender into each own channel, what its peer charges included."""
    onward: Ways
    """From each own channel to the receiver, what the own node charges left out."""

    @classmethod
    def of(cls, payments: int, channels: int) -> Self:
        """Make room for payments."""

        def ways() -> Ways:
            shape = payments, channels
            return Ways(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int8))

        numbers = (np.empty(payments, np.int64), np.empty(payments, np.int64), np.empty(payments), np.empty(payments))
        return cls(*numbers, ways(), ways())


@fused
def _push(labels: Any, size: Any, key: Any, node: Any) -> Any:
    """Put a node into the queue of that length."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if labels.key[parent] <= key:
            break
        labels.key[place], labels.queued[place] = labels.key[parent], labels.queued[parent]
        place = parent
    labels.key[place], labels.queued[place] = key, node


@fused
def _drop_first(labels: Any, left: Any) -> Any:
    """Drop the first entry of the queue, which leaves so many."""
    key, node = labels.key[left], labels.queued[left]
    place, child = 0, 1
    while child < left:
        if child + 1 < left and labels.key[child + 1] < labels.key[child]:
            child += 1
        if key <= labels.key[child]:
            break
        labels.key[place], labels.queued[place] = labels.key[child], labels.queued[child]
        place, child = child, 2 * child + 1
    labels.key[place], labels.queued[place] = key, node


@fused
def _begin(labels: Any, node: Any) -> Any:
    """Begin a search at a node."""
    labels.weight_msat[:] = NOWHERE
    labels.settled[:] = False
    labels.weight_msat[node] = 0.0
    labels.fee_msat[node], labels.hops[node], labels.outbound_msat[node], labels.by[node] = 0, 0, 0, -1
    _push(labels, 0, 0.0, node)


@fused
def _penalty(hops: Any) -> Any:
    """Return by how much so many untried hops multiply the attempt cost."""
    return HOP_PROBABILITY ** (-np.float64(hops))


@fused
def _is_open(network: Any, direction: Any, amount: Any, sender: Any) -> Any:
    """Return whether a sender takes a direction for an amount; its own it takes though they are disabled."""
    policy = network.policy[direction]
    if network.links.disabled[direction] != 0 and network.source[direction] != sender:
        return False
    return policy.min_htlc_msat <= amount <= policy.max_htlc_msat


@fused
def _carries(network: Any, balances: Any, direction: Any, amount: Any, sender: Any) -> Any:
    """Return whether a sender takes a direction for an amount, and can."""
    spendable_msat = balances[direction] - network.policy[direction].keep_msat
    return amount <= spendable_msat and _is_open(network, direction, amount, sender)


@fused
def _outbound_msat(network: Any, direction: Any, amount: Any) -> Any:
    """Return what the node charges that a direction leads out of."""
    policy = network.policy[direction]
    return forwarding_fee_msat(policy.fee_base_msat, policy.fee_rate_ppm, np.int64(amount))


@fused
def _inbound_msat(network: Any, direction: Any, amount: Any, outbound: Any) -> Any:
    """Return what the node charges that a direction leads to, on top of its outbound fee: in all no less than 0."""
    terms = network.links.inbound[direction ^ 1]
    charged = inbound_fee_msat(terms.fee_base_msat, terms.fee_rate_ppm, np.int64(amount) + outbound)
    return max(charged, -np.int64(outbound))


@fused
def _risk_msat(network: Any, direction: Any, amount: Any) -> Any:
    """Return the price of the time that an amount is locked over a direction."""
    return RISK_FACTOR_BILLIONTHS * 1e-9 * np.float64(amount) * network.policy[direction].time_lock


@fused
def _arrival_msat(network: Any, labels: Any, node: Any, direction: Any, target: Any, amount: Any) -> Any:
    """Return what a node charges for what comes by a direction, on the way that a backward search found from it."""
    if node == target:
        return np.int64(0)
    outbound = labels.outbound_msat[node]
    return _inbound_msat(network, direction, amount + labels.fee_msat[node] - outbound, outbound)


@outlined
def _back(
    network: Any,
    balances: Any,
    labels: Any,
    ends: Any,
    amount: Any,
    limit: Any,
    attempt: Any,
    is_peer: Any,
    peers: Any,
) -> Any:
    """Find the ways from all nodes to a receiver, up to the sender and the peers of the own node.

    Returns:
        What the best route from the sender costs, attempts included, infinite where there is none.
    """
    own, sender, target = ends
    cut, around = limit + attempt * _penalty(FURTHEST_HOPS), NOWHERE
    _begin(labels, target)
    size = 1
    while size > 0:
        key, node = labels.key[0], labels.queued[0]
        size -= 1
        _drop_first(labels, size)
        if labels.settled[node]:
            continue
        labels.settled[node] = True
        peers -= is_peer[node]
        if key > cut or (peers == 0 and key > around):
            break
        for place in range(network.first_incoming[node], network.first_incoming[node + 1]):
            direction = np.int64(network.incoming[place])
            near = np.int64(network.source[direction])
            received = amount + labels.fee_msat[node]
            if near == own or labels.settled[near]:
                continue
            inbound = _arrival_msat(network, labels, node, direction, target, amount)
            sent = received + inbound
            if not _carries(network, balances, direction, sent, sender):
                continue
            if near == sender:
                if sent - amount <= limit:
                    cost = labels.weight_msat[node] + inbound
                    around = min(around, cost + attempt * _penalty(labels.hops[node]) / SUCCESS_PROBABILITY)
                continue
            outbound = _outbound_msat(network, direction, sent)
            weight = labels.weight_msat[node] + inbound + outbound + _risk_msat(network, direction, sent)
            reached = weight + attempt * _penalty(labels.hops[node] + 1)
            known = labels.weight_msat[near]
            if known == NOWHERE or reached < known + attempt * _penalty(labels.hops[near]):
                labels.weight_msat[near], labels.hops[near] = weight, labels.hops[node] + 1
                labels.fee_msat[near], labels.outbound_msat[near] = sent + outbound - amount, outbound
                _push(labels, size, reached, near)
                size += 1
    return around


@outlined
def _forth(
    network: Any, balances: Any, labels: Any, ends: Any, amount: Any, cut: Any, attempt: Any, is_peer: Any, peers: Any
) -> Any:
    """Find the ways from a sender to the peers of the own node; fees upon fees are left out.

    The label of a node holds what it costs to get there: what the node itself charges depends on where it goes on.
    ``ends`` has the own node, the sender, and 1 where the sender charges for its hop, as a peer does.
    """
    own, sender, charges = ends
    scale, payer = attempt / HOP_PROBABILITY**HOPS_BEYOND, np.int64(-1) if charges else np.int64(sender)
    _begin(labels, sender)
    size = 1
    while size > 0:
        key, node = labels.key[0], labels.queued[0]
        size -= 1
        _drop_first(labels, size)
        if labels.settled[node]:
            continue
        labels.settled[node] = True
        peers -= is_peer[node]
        if key > cut or peers == 0:
            break
        for place in range(network.first_incoming[node], network.first_incoming[node + 1]):
            direction = np.int64(network.incoming[place]) ^ 1
            far = np.int64(network.source[direction ^ 1])
            if far == own or labels.settled[far] or not _carries(network, balances, direction, amount, payer):
                continue
            fee, risk = _hop_msat(network, labels, direction, amount, node != sender or charges != 0)
            weight = labels.weight_msat[node] + fee + risk
            reached = weight + scale * (_penalty(labels.hops[node] + 1) - 1.0)
            known = labels.weight_msat[far]
            if known == NOWHERE or reached < known + scale * (_penalty(labels.hops[far]) - 1.0):
                labels.weight_msat[far], labels.hops[far] = weight, labels.hops[node] + 1
                labels.fee_msat[far], labels.by[far] = labels.fee_msat[node] + fee, direction
                _push(labels, size, reached, far)
                size += 1


@fused
def _hop_msat(network: Any, labels: Any, direction: Any, amount: Any, charges: Any) -> Any:
    """Return fee and price of locked time of one more hop of a forward search."""
    if not charges:
        return np.int64(0), 0.0
    fee = _outbound_msat(network, direction, amount)
    by = labels.by[network.source[direction]]
    if by >= 0:
        fee += _inbound_msat(network, by, amount, fee)
    return fee, _risk_msat(network, direction, amount)


@fused
def _note_onward(network: Any, labels: Any, out: Any, target: Any, amount: Any, ways: Any, row: Any) -> Any:
    """Write down the ways on from every own channel; return the least fee of one."""
    least = NOWHERE
    for channel in range(out.shape[0]):
        direction = out[channel]
        peer = np.int64(network.destination[direction])
        ways.fee_msat[row, channel], ways.weight_msat[row, channel], ways.hops[row, channel] = 0, NOWHERE, 0
        if not labels.settled[peer] or network.links.disabled[direction] != 0:
            continue
        inbound = _arrival_msat(network, labels, peer, direction, target, amount)
        fee = labels.fee_msat[peer] + inbound
        ways.fee_msat[row, channel], ways.hops[row, channel] = fee, labels.hops[peer]
        risk = _risk_msat(network, direction, amount + fee)
        ways.weight_msat[row, channel] = labels.weight_msat[peer] + inbound + risk
        least = min(least, np.float64(fee))
    return least


@fused
def _note_to_us(network: Any, labels: Any, out: Any, sender: Any, amount: Any, ways: Any, row: Any) -> Any:
    """Write down the ways into every own channel."""
    for channel in range(out.shape[0]):
        direction = out[channel] ^ 1
        peer = np.int64(network.source[direction])
        ways.fee_msat[row, channel], ways.weight_msat[row, channel], ways.hops[row, channel] = 0, NOWHERE, 0
        if not labels.settled[peer] or not _is_open(network, direction, amount, sender):
            continue
        fee, risk = _hop_msat(network, labels, direction, amount, peer != sender)
        ways.fee_msat[row, channel], ways.hops[row, channel] = labels.fee_msat[peer] + fee, labels.hops[peer] + 1
        ways.weight_msat[row, channel] = labels.weight_msat[peer] + fee + risk


@fused
def _may_pass(network: Any, out: Any, found: Any, row: Any) -> Any:
    """Return whether a payment would pass through the own node if that charged nothing."""
    limit, attempt = np.float64(found.limit_msat[row]), found.attempt_msat[row]
    to_us, onward = found.to_us, found.onward
    for back in range(out.shape[0]):
        peer = network.destination[out[back]]
        if to_us.weight_msat[row, back] == NOWHERE:
            continue
        for leave in range(out.shape[0]):
            if network.destination[out[leave]] == peer or onward.weight_msat[row, leave] == NOWHERE:
                continue
            if to_us.fee_msat[row, back] + onward.fee_msat[row, leave] > limit:
                continue
            weight = to_us.weight_msat[row, back] + onward.weight_msat[row, leave]
            hops = to_us.hops[row, back] + onward.hops[row, leave]
            if weight + attempt * _penalty(hops) / SUCCESS_PROBABILITY < found.around[row]:
                return True
    return False


@kernel
def survey_payments(
    network: Any, balances: Any, out: Any, is_peer: Any, batch: Any, costs: Any, labels: Any, found: Any
) -> int:
    """Survey the payments of a step, and keep those that may pass through the own node.

    Args:
        network: ``Network`` with links, as it is in the step.
        balances: Balances in msat by direction at its begin, shape (directions,).
        out: Directions out of the own node, shape (channels,).
        is_peer: 1 for each of its peers, else 0, shape (nodes,).
        batch: Sender and receiver indices, amounts and fee limits in msat, each of shape (payments,).
        costs: The attempt cost: msat, and share of the amount.
        labels: ``Labels``.
        found: ``Found`` with room for all payments, filled from its first row on.

    Returns:
        How many are kept.
    """
    source, destination, amount_msat, limit_msat = batch
    own, peers, row = np.int64(network.source[out[0]]), is_peer.sum(), 0
    for payment in range(source.shape[0]):
        sender, target, amount = source[payment], destination[payment], amount_msat[payment]
        if own in (sender, target):
            continue
        attempt, limit = costs[0] + amount * costs[1], limit_msat[payment]
        ends = own, sender, target
        reachable = peers - is_peer[sender]  # nobody pays by way of the sender
        around = _back(network, balances, labels, ends, amount, limit, attempt, is_peer, reachable)
        if _note_onward(network, labels, out, target, amount, found.onward, row) > limit:
            continue
        cut = limit + attempt * _penalty(FURTHEST_HOPS)
        _forth(network, balances, labels, (own, sender, 0), amount, cut, attempt, is_peer, peers)
        _note_to_us(network, labels, out, sender, amount, found.to_us, row)
        found.amount_msat[row], found.limit_msat[row] = amount, limit
        found.around[row], found.attempt_msat[row] = around, attempt
        if _may_pass(network, out, found, row):
            row += 1
    return row


@kernel
def quote(
    network: Any,
    balances: Any,
    out: Any,
    is_peer: Any,
    amount_msat: Any,
    attempt_msat: Any,
    labels: Any,
    quotes_ppm: Any,
) -> None:
    """Quote circular rebalances of an amount between all pairs of own channels.

    Args:
        network: See ``survey_payments``.
        balances: See ``survey_payments``.
        out: See ``survey_payments``.
        is_peer: See ``survey_payments``.
        amount_msat: The amount.
        attempt_msat: The attempt cost for it.
        labels: ``Labels``.
        quotes_ppm: Filled with fees in ppm by channel to leave and to come back by, infinite where no route leads,
            shape (channels, channels).
    """
    own, peers = np.int64(network.source[out[0]]), is_peer.sum()
    quotes_ppm[:] = NOWHERE
    for leave in range(out.shape[0]):
        first = np.int64(network.destination[out[leave]])
        if network.links.disabled[out[leave]] != 0:
            continue
        ends, cut = (own, first, 1), DEAREST_QUOTE * amount_msat
        _forth(network, balances, labels, ends, amount_msat, cut, QUOTE_PATIENCE * attempt_msat, is_peer, peers)
        for back in range(out.shape[0]):
            direction = out[back] ^ 1
            last, most_msat = np.int64(network.source[direction]), network.policy[direction].max_htlc_msat
            is_reached = last != first and labels.settled[last]
            if is_reached and network.links.disabled[direction] == 0 and amount_msat <= most_msat:
                fee, _ = _hop_msat(network, labels, direction, amount_msat, True)
                quotes_ppm[leave, back] = 1e6 * (labels.fee_msat[last] + fee) / amount_msat
