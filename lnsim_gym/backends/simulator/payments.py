"""One payment from start to end: LND's payment loop with retries (routing/payment_lifecycle.go).

Ask for a route, send the payment over it; when a forwarder refuses, the sender learns which pair failed at which
amount and asks again. In one part no other HTLC is in flight, so balances change only when the payment settles.
Payments in several parts are the business of ``parts``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lnsim_gym.backends.simulator.channels import can_add
from lnsim_gym.backends.simulator.estimator import forget, learn_carried, learn_failure, recall, remember
from lnsim_gym.backends.simulator.layout import quiet
from lnsim_gym.backends.simulator.parts import MIN_SHARD_MSAT, pay_in_parts
from lnsim_gym.backends.simulator.reach import UNCOUNTED, is_hopeless
from lnsim_gym.backends.simulator.search import direct_channel, find_route, survey
from lnsim_gym.backends.simulator.settling import (
    ERROR,
    INSUFFICIENT_BALANCE,
    NO_ROUTE,
    NONE,
    TIMEOUT,
    blank,
    settle,
    write_part,
)
from lnsim_gym.compiled import fused, inlined

__all__ = ["fee_limit_msat", "first_refusal", "pay"]


@fused
def fee_limit_msat(settings: Any, amount: Any) -> Any:
    """Return the fee limit in msat for an amount in msat (``PaymentOptions.fee_limit_msat``)."""
    if amount <= 1000 * settings.fee_limit_base_sat:
        return amount
    return amount * settings.fee_limit_ppm // 1_000_000


@fused
def first_refusal(network: Any, balances: Any, work: Any, hops: Any) -> Any:
    """Return the position of the first forwarder that refuses the route in ``work``, 0 when none does."""
    for hop in range(1, hops):
        if not can_add(network, balances, work.htlcs, work.route[hop], work.sent[hop]):
            return hop
    return 0


@inlined
def _settle_single(balances: Any, work: Any, amount: Any, hops: Any, outcomes: Any, index: Any) -> Any:
    """Settle the route in ``work`` as the whole payment and write its outcome."""
    settle(balances, work.route, work.sent, hops)
    outcomes.fee_msat[index] = work.sent[0] - amount
    outcomes.parts[index] = 1
    write_part(outcomes, index, np.int64(0), amount, work.route, hops)
    blank(outcomes, index, np.int64(1))


@inlined
def _pay_at_once(network: Any, balances: Any, work: Any, ends: Any, amount: Any, limits: Any, outcome: Any) -> Any:
    """Send a payment in one part, retrying until it settles or no route is left; return the failure reason."""
    sender, target = ends
    fee_limit, max_attempts, now, _, _, remembers = limits
    outcomes, index = outcome
    attempts = 0
    while attempts < max_attempts:
        hops = find_route(network, balances, work, sender, target, amount, fee_limit, now)
        if hops == 0:
            return NO_ROUTE
        attempts += 1
        outcomes.attempts[index] = attempts
        refused = first_refusal(network, balances, work, hops)
        if refused == 0:
            _settle_single(balances, work, amount, hops, outcomes, index)
            if remembers:
                learn_carried(network.source, work.knowledge, work.route, work.sent, hops)
            return NONE
        if refused > 1:
            learn_carried(network.source, work.knowledge, work.route, work.sent, refused)
        learn_failure(network.source, work.knowledge, work.route[refused], work.sent[refused], now)
    return TIMEOUT


@fused
def _can_carry(network: Any, balances: Any, work: Any, direction: Any, amount: Any) -> Any:
    """Return whether one of the sender's own channels can carry an amount."""
    policy = network.policy[direction]
    if amount < policy.min_htlc_msat or amount > policy.max_htlc_msat:
        return False
    return can_add(network, balances, work.htlcs, direction, amount)


@inlined
def _send_whole(network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, limits: Any, outcome: Any) -> Any:
    """Send a payment in one part and return the failure reason."""
    work, (sender, target) = quiet(scratch.work), ends
    direct = direct_channel(network, sender, target)
    if direct >= 0 and _can_carry(network, balances, work, np.uint32(direct), amount):  # no other route can be cheaper
        return _send_directly(balances, work, direct, amount, outcome)
    counts = limits[4] != 0
    if counts or is_hopeless(network, balances, work, sender, target, amount):
        largest, total = survey(network, balances, work, sender)
        if total < amount:
            return INSUFFICIENT_BALANCE
        if largest < amount:
            return NO_ROUTE
        if not counts:
            outcome[0].attempts[outcome[1]] = UNCOUNTED
            return NO_ROUTE
    return _pay_at_once(network, balances, work, ends, amount, limits, outcome)


@inlined
def _send_in_parts(network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, limits: Any, outcome: Any) -> Any:
    """Send a payment, in several parts if it must be, and return the failure reason."""
    work, (sender, target) = scratch.work, ends
    direct = direct_channel(network, sender, target)
    if direct >= 0 and _can_carry(network, balances, work, np.uint32(direct), amount):
        return _send_directly(balances, work, direct, amount, outcome)
    if amount < 2 * MIN_SHARD_MSAT or limits[3] == 1:
        return _send_whole(network, balances, scratch, ends, amount, limits, outcome)
    _, total = survey(network, balances, work, sender)
    if total < amount:
        return INSUFFICIENT_BALANCE
    return pay_in_parts(network, balances, scratch, ends, amount, limits[:3], limits[3], outcome)


@inlined
def _send_directly(balances: Any, work: Any, direct: Any, amount: Any, outcome: Any) -> Any:
    """Settle a payment over the channel that joins its two nodes."""
    work.route[0] = direct
    work.sent[0] = amount
    outcome[0].attempts[outcome[1]] = 1
    _settle_single(balances, work, amount, np.int64(1), outcome[0], outcome[1])
    return NONE


@inlined
def pay(
    network: Any,
    balances: Any,
    scratch: Any,
    memory: Any,
    settings: Any,
    source: Any,
    destination: Any,
    amount_msat: Any,
    fee_limit_msat: Any,
    now_ms: Any,
    outcomes: Any,
    index: Any,
) -> Any:
    """Make one payment, to its end, and write its outcome into row ``index`` of ``outcomes``.

    Args:
        network: ``Network``.
        balances: Balances in msat by direction, shape (directions,), changed when the payment settles.
        scratch: ``Scratch`` of this thread.
        memory: ``Memory`` of this network.
        settings: ``Settings``.
        source: Node index of the sender.
        destination: Node index of the receiver.
        amount_msat: Amount to deliver in msat.
        fee_limit_msat: Most that may be paid in fees, in msat.
        now_ms: Simulated time in ms, never falling between payments of one network; matters to memory only.
        outcomes: ``Outcomes`` of this network.
        index: Row to fill.

    Returns:
        Whether the payment settled.
    """
    return _pay_with(
        _send_in_parts,
        network,
        balances,
        scratch,
        memory,
        settings,
        source,
        destination,
        amount_msat,
        fee_limit_msat,
        now_ms,
        outcomes,
        index,
    )


@inlined
def pay_whole(
    network: Any,
    balances: Any,
    scratch: Any,
    memory: Any,
    settings: Any,
    source: Any,
    destination: Any,
    amount_msat: Any,
    fee_limit_msat: Any,
    now_ms: Any,
    outcomes: Any,
    index: Any,
) -> Any:
    """Make one payment in one part, whatever the settings say; as ``pay``, at half the compile time."""
    return _pay_with(
        _send_whole,
        network,
        balances,
        scratch,
        memory,
        settings,
        source,
        destination,
        amount_msat,
        fee_limit_msat,
        now_ms,
        outcomes,
        index,
    )


@inlined
def _pay_with(
    send: Any,
    network: Any,
    balances: Any,
    scratch: Any,
    memory: Any,
    settings: Any,
    source: Any,
    destination: Any,
    amount_msat: Any,
    fee_limit_msat: Any,
    now_ms: Any,
    outcomes: Any,
    index: Any,
) -> Any:
    """Make one payment with a way of sending it; see ``pay``."""
    index = np.int64(index)
    outcomes.attempts[index] = 0
    outcomes.fee_msat[index] = 0
    outcomes.parts[index] = 0
    reason = ERROR
    if source != destination and amount_msat > 0:
        if memory.first.size > 0:
            recall(network.source, scratch.work.knowledge, memory, source)
        counts, remembers = settings.counts_attempts, memory.first.size > 0
        limits = (fee_limit_msat, settings.max_attempts, now_ms, settings.max_parts, counts, remembers)
        ends = (np.uint32(source), np.uint32(destination))
        outcome = (outcomes, index)
        reason = send(network, balances, scratch, ends, amount_msat, limits, outcome)
        if memory.first.size > 0:
            remember(scratch.work.knowledge, memory, source)
        forget(network.source, scratch.work.knowledge)
    if reason != NONE:
        blank(outcomes, index, np.int64(0))
    outcomes.failure_reason[index] = reason
    outcomes.succeeded[index] = reason == NONE
    return reason == NONE
