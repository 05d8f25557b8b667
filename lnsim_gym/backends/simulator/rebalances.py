"""Sending over a pinned route: LND's ``BuildRoute`` and ``SendToRouteV2``, for pushes and circular rebalances."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.channels import can_add
from lnsim_gym.backends.simulator.estimator import forget, recall, remember
from lnsim_gym.backends.simulator.fees import node_fee_msat
from lnsim_gym.backends.simulator.forwarding import PASSED, TEMPORARY_CHANNEL_FAILURE, begin_draws, first_refusal
from lnsim_gym.backends.simulator.gossip import forget_unheard, hear_by_failure, note_unheard, show, show_all
from lnsim_gym.backends.simulator.interpretation import learn_carried, learn_refusal
from lnsim_gym.backends.simulator.layout import quiet
from lnsim_gym.backends.simulator.search import MAX_LOCK_BLOCKS
from lnsim_gym.backends.simulator.settling import settle
from lnsim_gym.compiled import fused, outlined
from lnsim_gym.payments import SURE_ROUTE_HOPS, RebalanceReason

__all__ = ["attempt", "send_over"]

APPLIED: Final = int(RebalanceReason.NONE)
INSUFFICIENT_LOCAL_BALANCE: Final = int(RebalanceReason.INSUFFICIENT_LOCAL_BALANCE)
AMOUNT_OUT_OF_RANGE: Final = int(RebalanceReason.AMOUNT_OUT_OF_RANGE)
REFUSED: Final = int(RebalanceReason.TEMPORARY_CHANNEL_FAILURE)
OTHER: Final = int(RebalanceReason.OTHER)


@fused
def _build_route(network: Any, balances: Any, work: Any, route: Any, length: Any, amount: Any) -> Any:
    """Price a route from its end into ``work.sent`` and return why it cannot be used, or ``APPLIED``."""
    blocks = np.int64(0)
    for hop in range(length - 1, -1, -1):
        direction = route[hop]
        policy = network.policy[direction]
        work.sent[hop] = amount
        work.lock[hop] = policy.time_lock
        if amount < policy.min_htlc_msat or amount > policy.max_htlc_msat:
            return AMOUNT_OUT_OF_RANGE
        if hop > 0:
            blocks += policy.time_lock
            amount += node_fee_msat(network, network.links, route[hop - 1], direction, amount)
    if blocks > MAX_LOCK_BLOCKS:
        return OTHER
    return APPLIED if can_add(network, balances, work.htlcs, route[0], work.sent[0]) else INSUFFICIENT_LOCAL_BALANCE


@fused
def _first_refusal(network: Any, links: Any, balances: Any, work: Any, busy: Any, length: Any) -> Any:
    """Return the position of the first forwarder that refuses, 0 when none does, why, and what ``first_refusal`` does.

    A forwarder also refuses to send an HTLC back over the channel it came from.
    """
    if links is None:
        for hop in range(1, length):
            if work.route[hop] == work.route[hop - 1] ^ 1:
                return hop, TEMPORARY_CHANNEL_FAILURE, -1
            if not can_add(network, balances, work.htlcs, work.route[hop], work.sent[hop]):
                return hop, TEMPORARY_CHANNEL_FAILURE, -1
        return 0, PASSED, -1
    return first_refusal(network, links, balances, work, busy, length)


@outlined
def send_over(
    network: Any,
    balances: Any,
    work: Any,
    memory: Any,
    route: Any,
    length: Any,
    amount_msat: Any,
    now_ms: Any,
    earned_msat: Any,
) -> Any:
    """Send an amount over a pinned route, settled at once or refused.

    Args:
        network: ``Network``.
        balances: Balances in msat by direction, shape (directions,), changed when it settles.
        work: ``Scratch.work`` of this thread.
        memory: ``Memory`` of this network; the first node learns from the outcome.
        route: Direction indices in order; one (push), or a cycle over distinct channels (circular).
        length: How many of them count, 1 to ``SURE_ROUTE_HOPS``.
        amount_msat: Amount that is to arrive at the end, in msat.
        now_ms: Simulated time in ms.
        earned_msat: Forwarding fees by node, added to when it settles, shape (nodes,); (0,) where they are not counted.

    Returns:
        ``RebalanceReason`` (0: it was applied), routing fees in msat, position of the node that failed the HTLC or -1.
    """
    if length < 1 or length > SURE_ROUTE_HOPS or amount_msat <= 0:
        return OTHER, np.int64(0), np.int64(-1)
    note_unheard(network, network.links, work, network.source[route[0]], now_ms)
    sent = attempt(network, balances, work, memory, route, length, amount_msat, now_ms, earned_msat)
    forget_unheard(network.links, work.knowledge)
    return sent[0], sent[1], sent[2][0]


@outlined
def attempt(
    network: Any,
    balances: Any,
    work: Any,
    memory: Any,
    route: Any,
    length: Any,
    amount_msat: Any,
    now_ms: Any,
    earned_msat: Any,
) -> Any:
    """Do what ``send_over`` does, for a sender of whom it was noted what it has not heard of (``note_unheard``).

    Returns:
        ``RebalanceReason``, routing fees in msat, and the refusal as ``learn_refusal`` takes it; its position is 0
        where the sender itself refused and -1 where nobody did.
    """
    busy = work
    work = quiet(work)
    for hop in range(length):  # into an array of the type that payments use, so that nothing is compiled twice
        work.route[hop] = route[hop]
    show(network, network.links, work.knowledge)
    reason = _build_route(network, balances, work, work.route, length, amount_msat)
    show_all(network, network.links, work.knowledge)
    if reason != APPLIED:
        position = np.int64(0 if reason == OTHER else -1)
        return reason, np.int64(0), (position, np.int64(PASSED), np.int64(-1))
    sender = np.int64(network.source[work.route[0]])
    begin_draws(network.links, memory, work.knowledge)
    refused, failure, told = _first_refusal(network, network.links, balances, work, busy, length)
    refusal = (np.int64(refused), np.int64(failure), np.int64(told))
    if refused > 0:
        hear_by_failure(network.links, work.knowledge, told, sender)
    if memory.first.size > 0:
        recall(network.source, work.knowledge, memory, sender)
        if refused > 0:
            learn_refusal(network, network.links, work.knowledge, work.route, work.sent, refusal, now_ms)
        else:
            learn_carried(network.source, network.links, work.knowledge, work.route, work.sent, length)
        remember(work.knowledge, memory, sender)
        forget(network.source, work.knowledge)
    if refused > 0:
        return REFUSED if failure == TEMPORARY_CHANNEL_FAILURE else OTHER, np.int64(0), refusal
    settle(network.source, balances, earned_msat, work.route, work.sent, length)
    return APPLIED, work.sent[0] - amount_msat, (np.int64(-1), refusal[1], refusal[2])
