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
from lnsim_gym.backends.simulator.forwarding import TEMPORARY_CHANNEL_FAILURE
from lnsim_gym.backends.simulator.interpretation import learn_refusal
from lnsim_gym.backends.simulator.layout import quiet
from lnsim_gym.backends.simulator.rebalances import send_over
from lnsim_gym.backends.simulator.search import find_route_called
from lnsim_gym.compiled import fused, outlined
from lnsim_gym.payments import MAX_ROUTE_HOPS, RebalanceReason

__all__ = ["send_around"]

APPLIED: Final = int(RebalanceReason.NONE)
INSUFFICIENT_LOCAL_BALANCE: Final = int(RebalanceReason.INSUFFICIENT_LOCAL_BALANCE)
AMOUNT_OUT_OF_RANGE: Final = int(RebalanceReason.AMOUNT_OUT_OF_RANGE)
FEE_LIMIT_EXCEEDED: Final = int(RebalanceReason.FEE_LIMIT_EXCEEDED)
REFUSED: Final = int(RebalanceReason.TEMPORARY_CHANNEL_FAILURE)
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
def _refusal(network: Any, balances: Any, leave: Any, back: Any, amount: Any, fee: Any, fee_limit: Any) -> Any:
    """Return why an amount cannot be sent whatever lies between, given the fee for the way back, or ``APPLIED``."""
    policy = network.policy[back]
    if amount < policy.min_htlc_msat or amount > policy.max_htlc_msat:
        return AMOUNT_OUT_OF_RANGE
    if fee > fee_limit:
        return FEE_LIMIT_EXCEEDED
    return APPLIED if can_add(network, balances, None, leave, amount + fee) else INSUFFICIENT_LOCAL_BALANCE


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

    Returns:
        ``RebalanceReason`` (0: it was applied), routing fees in msat, position of the node that failed the last HTLC
        or -1.
    """
    for hop in range(MAX_ROUTE_HOPS):
        route[hop] = -1
    sender, last_hop = np.int64(network.source[leave]), np.int64(network.source[back])
    policy = network.policy[back]
    last_fee_msat = forwarding_fee_msat(policy.fee_base_msat, policy.fee_rate_ppm, amount_msat)
    reason = np.int64(_refusal(network, balances, leave, back, amount_msat, last_fee_msat, fee_limit_msat))
    fee_msat, position = np.int64(0), np.int64(-1)
    if reason != APPLIED:
        return reason, fee_msat, position
    alone = quiet(work)
    remembers = memory.first.size > 0
    for _ in range(attempts):
        if remembers:
            recall(network.source, work.knowledge, memory, sender)
        _lower_own(network, balances, sender, leave, np.int64(HIDDEN_MSAT))
        carried, left = amount_msat + last_fee_msat, fee_limit_msat - last_fee_msat
        hops = find_route_called(network, balances, alone, sender, last_hop, carried, left, now_ms)
        _lower_own(network, balances, sender, leave, -np.int64(HIDDEN_MSAT))
        if remembers:  # sending recalls it anew
            forget(network.source, work.knowledge)
        if hops == 0 or hops >= MAX_ROUTE_HOPS:
            reason, position = np.int64(NO_ROUTE), np.int64(-1)
            break
        _write(route, work.route, hops, back)
        if route_fees_msat(network, route, hops + 1, amount_msat) > fee_limit_msat:
            reason, position = np.int64(FEE_LIMIT_EXCEEDED), np.int64(-1)
            break
        sent = send_over(network, balances, work, memory, route, hops + 1, amount_msat, now_ms, earned_msat)
        reason, fee_msat, position = np.int64(sent[0]), np.int64(sent[1]), np.int64(sent[2])
        for hop in range(hops + 1 if reason == APPLIED else 0):  # of parallel channels, those that were taken
            route[hop] = work.route[hop]
        if reason != REFUSED:
            break
        if not remembers:  # where senders remember, sending took care of it
            failure = TEMPORARY_CHANNEL_FAILURE
            learn_refusal(network, network.links, work.knowledge, work.route, work.sent, position, failure, now_ms)
    if not remembers:
        forget(network.source, work.knowledge)
    return reason, fee_msat, position
