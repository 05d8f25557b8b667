"""Circular rebalances whose route is found when they are sent, with only the first and the last channel given.

LND's ``SendPaymentV2`` with ``outgoing_chan_ids``, ``last_hop_pubkey`` and ``allow_self_payment``
(routing/payment_session.go): a payment to oneself whose search sees no other channel of one's own. The search of
``search`` runs up to the node from which the amount comes back; the channel over which it does is put behind. What that
node adds or takes off for the channel that the amount comes to it by is not known to the search, but paid.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.channels import can_add
from lnsim_gym.backends.simulator.estimator import forget, recall
from lnsim_gym.backends.simulator.fees import forwarding_fee_msat, route_fees_msat
from lnsim_gym.backends.simulator.gossip import forget_unheard, note_unheard, show, show_all
from lnsim_gym.backends.simulator.interpretation import learn_refusal
from lnsim_gym.backends.simulator.layout import quiet
from lnsim_gym.backends.simulator.rebalances import attempt
from lnsim_gym.backends.simulator.search import find_route_called
from lnsim_gym.compiled import fused, outlined
from lnsim_gym.payments import MAX_ROUTE_HOPS, SURE_ROUTE_HOPS, RebalanceReason

__all__ = ["send_around"]

APPLIED: Final = int(RebalanceReason.NONE)
INSUFFICIENT_LOCAL_BALANCE: Final = int(RebalanceReason.INSUFFICIENT_LOCAL_BALANCE)
AMOUNT_OUT_OF_RANGE: Final = int(RebalanceReason.AMOUNT_OUT_OF_RANGE)
FEE_LIMIT_EXCEEDED: Final = int(RebalanceReason.FEE_LIMIT_EXCEEDED)
NO_ROUTE: Final = int(RebalanceReason.NO_ROUTE)
HIDDEN_MSAT: Final = 2**60
"""What a balance is lowered by while a search is not to use its channel end: more than any balance."""


@outlined
def _lower_own(network: Any, balances: Any, sender: Any, leave: Any, by_msat: Any) -> Any:
    """Lower what the sender holds in every channel but one."""
    for place in range(network.first_incoming[sender], network.first_incoming[sender + 1]):
        direction = network.incoming[place] ^ 1
        if direction != leave:
            balances[direction] -= by_msat


@fused
def _way_back(network: Any, balances: Any, work: Any, leave: Any, back: Any, amount: Any, fee_limit: Any) -> Any:
    """Return why an amount cannot be sent whatever lies between, or ``APPLIED``, and the fee for the way back."""
    show(network, network.links, work.knowledge)
    policy = network.policy[back]
    fee = forwarding_fee_msat(policy.fee_base_msat, policy.fee_rate_ppm, amount)
    in_range = policy.min_htlc_msat <= amount <= policy.max_htlc_msat
    show_all(network, network.links, work.knowledge)
    if not in_range:
        return np.int64(AMOUNT_OUT_OF_RANGE), fee
    if fee > fee_limit:
        return np.int64(FEE_LIMIT_EXCEEDED), fee
    if not can_add(network, balances, None, leave, amount + fee):
        return np.int64(INSUFFICIENT_LOCAL_BALANCE), fee
    return np.int64(APPLIED), fee


@fused
def _fees_msat(network: Any, work: Any, route: Any, length: Any, amount: Any) -> Any:
    """Return what a route costs, as far as the sender has heard."""
    show(network, network.links, work.knowledge)
    fees = route_fees_msat(network, route, length, amount)
    show_all(network, network.links, work.knowledge)
    return fees


@fused
def _write(route: Any, found: Any, hops: Any, back: Any) -> Any:
    """Write a route that was found, and the direction behind it."""
    for hop in range(hops):
        route[hop] = found[hop]
    route[hops] = back
    for hop in range(hops + 1, MAX_ROUTE_HOPS):
        route[hop] = -1


@outlined
def send_around(
    network: Any,
    balances: Any,
    work: Any,
    memory: Any,
    leave: Any,
    back: Any,
    amount_msat: Any,
    fee_limit_msat: Any,
    attempts: Any,
    now_ms: Any,
    earned_msat: Any,
    route: Any,
    sent_msat: Any,
) -> Any:
    """Send an amount out over one channel of a node and back over another, retrying as payments do.

    Args:
        network: ``Network``.
        balances: Balances in msat by direction, shape (directions,), changed when it settles.
        work: ``Scratch.work`` of this thread.
        memory: ``Memory`` of this network.
        leave: Direction out of the node.
        back: Direction into the same node, over another channel.
        amount_msat: Amount that is to arrive, in msat.
        fee_limit_msat: Most that may be paid in fees, in msat.
        attempts: Most routes to try.
        now_ms: Simulated time in ms.
        earned_msat: Forwarding fees by node, added to when it settles, shape (nodes,); (0,) where they are not counted.
        route: Filled with the directions of the last route tried, -1 beyond its end, shape (MAX_ROUTE_HOPS,).
        sent_msat: Filled with what went over each of them, 0 beyond its end and where nothing did, of the same shape.

    Returns:
        ``RebalanceReason`` (0: it was applied), routing fees in msat, position of the node that failed the last HTLC
        or -1.
    """
    for hop in range(MAX_ROUTE_HOPS):
        route[hop] = -1
        sent_msat[hop] = 0
    sender, last_hop = np.int64(network.source[leave]), np.int64(network.source[back])
    reason, fee_msat, position = np.int64(NO_ROUTE), np.int64(0), np.int64(-1)
    alone = quiet(work)
    remembers = memory.first.size > 0
    note_unheard(network, network.links, work, sender, now_ms)
    for _ in range(attempts):
        reason, last_fee_msat = _way_back(network, balances, work, leave, back, amount_msat, fee_limit_msat)
        if reason != APPLIED:
            position = np.int64(-1)
            break
        if remembers:
            recall(network.source, work.knowledge, memory, sender)
        _lower_own(network, balances, sender, leave, np.int64(HIDDEN_MSAT))
        carried, left = amount_msat + last_fee_msat, fee_limit_msat - last_fee_msat
        hops = find_route_called(network, balances, alone, sender, last_hop, carried, left, now_ms)
        _lower_own(network, balances, sender, leave, -np.int64(HIDDEN_MSAT))
        if remembers:  # sending recalls it anew
            forget(network.source, work.knowledge)
        if hops == 0 or hops >= SURE_ROUTE_HOPS:
            reason, position = np.int64(NO_ROUTE), np.int64(-1)
            break
        _write(route, work.route, hops, back)
        if _fees_msat(network, work, route, hops + 1, amount_msat) > fee_limit_msat:
            reason, position = np.int64(FEE_LIMIT_EXCEEDED), np.int64(-1)
            break
        sent = attempt(network, balances, work, memory, route, hops + 1, amount_msat, now_ms, earned_msat)
        reason, fee_msat, position = np.int64(sent[0]), np.int64(sent[1]), sent[2][0]
        for hop in range(hops + 1 if reason == APPLIED else 0):  # of parallel channels, those that were taken
            route[hop] = work.route[hop]
            sent_msat[hop] = work.sent[hop]
        if position < 1:  # no forwarder refused it
            break
        if not remembers:  # where senders remember, sending took care of it
            learn_refusal(network, network.links, work.knowledge, work.route, work.sent, sent[2], now_ms)
    if not remembers:
        forget(network.source, work.knowledge)
    forget_unheard(network.links, work.knowledge)
    return reason, fee_msat, position
