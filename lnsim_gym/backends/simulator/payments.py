"""One payment from start to end: LND's payment loop with retries, in one part or in several.

Follows routing/payment_lifecycle.go and routing/payment_session.go: ask for a route for what remains, send it,
and read results only when nothing remains to be sent. A part that a forwarder refuses teaches the sender which
pair failed at which amount; parts that arrive wait for the rest. In one part no HTLC of another payment is in
flight, so balances change only when the payment settles.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.base import MAX_ROUTE_HOPS, FailureReason
from lnsim_gym.backends.simulator.channels import NON_DUST_MSAT, can_add
from lnsim_gym.backends.simulator.estimator import forget, learn_carried, learn_failure, recall, remember
from lnsim_gym.backends.simulator.layout import MAX_HTLC, MIN_HTLC
from lnsim_gym.backends.simulator.search import find_route, survey
from lnsim_gym.compiled import fused, inlined, outlined

__all__ = ["fee_limit_msat", "first_refusal", "pay", "settle"]

MIN_SHARD_MSAT: Final = 10_000_000
"""Smallest part LND splits down to (``DefaultShardMinAmt``)."""
NONE: Final = int(FailureReason.NONE)
TIMEOUT: Final = int(FailureReason.TIMEOUT)
NO_ROUTE: Final = int(FailureReason.NO_ROUTE)
ERROR: Final = int(FailureReason.ERROR)
INSUFFICIENT_BALANCE: Final = int(FailureReason.INSUFFICIENT_BALANCE)


@fused
def fee_limit_msat(settings: Any, amount: Any) -> Any:
    """Return the fee limit in msat for an amount in msat (``PaymentOptions.fee_limit_msat``)."""
    if amount <= 1000 * settings.fee_limit_base_sat:
        return amount
    return amount * settings.fee_limit_ppm // 1_000_000


@fused
def first_refusal(network: Any, balances: Any, scratch: Any, hops: Any) -> Any:
    """Return the position of the first forwarder that refuses the route in ``scratch``, 0 when none does."""
    for hop in range(1, hops):
        if not can_add(network, balances, scratch.htlcs, scratch.route[hop], scratch.sent[hop]):
            return hop
    return 0


@fused
def settle(balances: Any, route: Any, sent: Any, hops: Any) -> Any:
    """Move the amounts of a settled route from each channel's sending end to the other."""
    for hop in range(hops):
        balances[route[hop]] -= sent[hop]
        balances[route[hop] ^ 1] += sent[hop]


@fused
def _write_part(outcomes: Any, index: Any, part: Any, amount: Any, route: Any, hops: Any) -> Any:
    """Write the amount and route of a settled part."""
    outcomes.part_amount_msat[index, part] = amount
    for hop in range(MAX_ROUTE_HOPS):
        outcomes.part_route[index, part, hop] = route[hop] if hop < hops else -1


@fused
def _blank(outcomes: Any, index: Any, first: Any) -> Any:
    """Blank the parts of an outcome from one on."""
    for part in range(first, outcomes.part_amount_msat.shape[1]):
        outcomes.part_amount_msat[index, part] = 0
        for hop in range(MAX_ROUTE_HOPS):
            outcomes.part_route[index, part, hop] = -1


@inlined
def _settle_single(balances: Any, scratch: Any, amount: Any, hops: Any, outcomes: Any, index: Any) -> Any:
    """Settle the route in ``scratch`` as the whole payment and write its outcome."""
    settle(balances, scratch.route, scratch.sent, hops)
    outcomes.fee_msat[index] = scratch.sent[0] - amount
    outcomes.parts[index] = 1
    _write_part(outcomes, index, 0, amount, scratch.route, hops)
    _blank(outcomes, index, 1)


@inlined
def _pay_at_once(network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, limits: Any, outcome: Any) -> Any:
    """Send a payment in one part, retrying until it settles or no route is left; return the failure reason."""
    sender, target = ends
    fee_limit, max_attempts, now = limits
    outcomes, index = outcome
    attempts = 0
    while attempts < max_attempts:
        hops = find_route(network, balances, scratch, sender, target, amount, fee_limit, now)
        if hops == 0:
            return NO_ROUTE
        attempts += 1
        outcomes.attempts[index] = attempts
        refused = first_refusal(network, balances, scratch, hops)
        if refused == 0:
            _settle_single(balances, scratch, amount, hops, outcomes, index)
            learn_carried(network.source, scratch.knowledge, scratch.route, scratch.sent, hops)
            return NONE
        learn_carried(network.source, scratch.knowledge, scratch.route, scratch.sent, refused)
        learn_failure(network.source, scratch.knowledge, scratch.route[refused], scratch.sent[refused], now)
    return TIMEOUT


@outlined
def _hold(balances: Any, scratch: Any, part: Any, sign: Any) -> Any:
    """Add (1) or remove (-1) the HTLCs of a part in flight."""
    for hop in range(scratch.part_reached[part]):
        direction, sent = scratch.part_route[part, hop], scratch.part_sent[part, hop]
        balances[direction] -= sign * sent
        if sent >= NON_DUST_MSAT:
            scratch.htlcs[direction >> 1] += sign


@outlined
def _launch(network: Any, balances: Any, scratch: Any, part: Any, hops: Any) -> Any:
    """Send the route in ``scratch`` as a part: its HTLCs stay until its result is read."""
    refused = first_refusal(network, balances, scratch, hops)
    scratch.part_hops[part] = hops
    scratch.part_reached[part] = hops if refused == 0 else refused
    for hop in range(hops):
        scratch.part_route[part, hop] = scratch.route[hop]
        scratch.part_sent[part, hop] = scratch.sent[hop]
    _hold(balances, scratch, part, 1)


@outlined
def _first_failed(scratch: Any, parts: Any) -> Any:
    """Return the part that failed first, or -1 when all have arrived."""
    for part in range(parts):
        if scratch.part_reached[part] < scratch.part_hops[part]:
            return part
    return -1


@outlined
def _drop_part(scratch: Any, part: Any, parts: Any) -> Any:
    """Close the gap that a part leaves in the list of parts in flight, keeping their order."""
    for later in range(part + 1, parts):
        for hop in range(scratch.part_hops[later]):
            scratch.part_route[later - 1, hop] = scratch.part_route[later, hop]
            scratch.part_sent[later - 1, hop] = scratch.part_sent[later, hop]
        scratch.part_hops[later - 1] = scratch.part_hops[later]
        scratch.part_reached[later - 1] = scratch.part_reached[later]


@outlined
def _delivered(scratch: Any, part: Any) -> Any:
    """Return what a part in flight is to deliver, in msat."""
    return scratch.part_sent[part, scratch.part_hops[part] - 1]


@outlined
def _read_failure(network: Any, balances: Any, scratch: Any, part: Any, parts: Any, now: Any) -> Any:
    """Read the result of a failed part: undo its HTLCs, learn from it, forget it."""
    _hold(balances, scratch, part, -1)
    reached = scratch.part_reached[part]
    route, sent = scratch.part_route[part], scratch.part_sent[part]
    learn_carried(network.source, scratch.knowledge, route, sent, reached)
    learn_failure(network.source, scratch.knowledge, route[reached], sent[reached], now)
    _drop_part(scratch, part, parts)


@inlined
def _next_part(
    network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, fee_limit: Any, may_split: Any, now: Any
) -> Any:
    """Find a route for what remains, or for half of it and so on (``RequestRoute``).

    Returns:
        Number of hops (0 when there is no route), the amount to deliver, and the failure reason.
    """
    sender, target = ends
    while True:
        largest, total, _ = survey(network, balances, scratch, sender, target)
        if total < amount:
            return np.int64(0), amount, INSUFFICIENT_BALANCE
        if largest >= amount:
            hops = find_route(network, balances, scratch, sender, target, amount, fee_limit, now)
            if hops > 0:
                return hops, amount, NONE
        amount //= 2
        if not may_split or amount < MIN_SHARD_MSAT:
            return np.int64(0), amount, NO_ROUTE


@outlined
def _end_parts(network: Any, balances: Any, scratch: Any, parts: Any, outcomes: Any, index: Any, settled: Any) -> Any:
    """Settle all parts in flight, or release them; every pair that carried one is known to pass its amount."""
    for part in range(parts):
        _hold(balances, scratch, part, -1)
        if scratch.part_reached[part] < scratch.part_hops[part]:
            continue
        route, sent, hops = scratch.part_route[part], scratch.part_sent[part], scratch.part_hops[part]
        learn_carried(network.source, scratch.knowledge, route, sent, hops)
        if settled:
            settle(balances, route, sent, hops)
            outcomes.fee_msat[index] += sent[0] - sent[hops - 1]
            _write_part(outcomes, index, part, sent[hops - 1], route, hops)
    if settled:
        outcomes.parts[index] = parts
        _blank(outcomes, index, parts)


@outlined
def _pay_in_parts(
    network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, limits: Any, max_parts: Any, outcome: Any
) -> Any:
    """Send a payment in up to ``max_parts`` parts; return the failure reason."""
    fee_limit, max_attempts, now = limits
    outcomes, index = outcome
    remaining, budget, parts, attempts, reason = amount, fee_limit, np.int64(0), 0, NONE
    while True:
        while remaining > 0 and reason == NONE:
            if attempts == max_attempts:
                reason = TIMEOUT
                break
            split = parts + 1 < max_parts
            hops, shard, reason = _next_part(network, balances, scratch, ends, remaining, budget, split, now)
            if hops > 0:
                _launch(network, balances, scratch, parts, hops)
                budget -= scratch.sent[0] - shard
                remaining -= shard
                parts += 1
                attempts += 1
                outcomes.attempts[index] = attempts
        failed = _first_failed(scratch, parts)
        if failed < 0:
            _end_parts(network, balances, scratch, parts, outcomes, index, reason == NONE)
            return reason
        shard = _delivered(scratch, failed)
        budget += scratch.part_sent[failed, 0] - shard
        remaining += shard
        _read_failure(network, balances, scratch, failed, parts, now)
        parts -= 1


@fused
def _can_carry(network: Any, balances: Any, scratch: Any, direction: Any, amount: Any) -> Any:
    """Return whether one of the sender's own channels can carry an amount."""
    policy = network.policy[direction]
    if amount < policy[MIN_HTLC] or amount > policy[MAX_HTLC]:
        return False
    return can_add(network, balances, scratch.htlcs, direction, amount)


@inlined
def _send(
    network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, limits: Any, max_parts: Any, outcome: Any
) -> Any:
    """Send a payment and return the failure reason."""
    sender, target = ends
    largest, total, direct = survey(network, balances, scratch, sender, target)
    if total < amount:
        return INSUFFICIENT_BALANCE
    if direct >= 0 and _can_carry(network, balances, scratch, direct, amount):  # no other route can be cheaper
        scratch.route[0] = direct
        scratch.sent[0] = amount
        outcome[0].attempts[outcome[1]] = 1
        _settle_single(balances, scratch, amount, 1, outcome[0], outcome[1])
        return NONE
    if max_parts > 1 and amount >= 2 * MIN_SHARD_MSAT:
        return _pay_in_parts(network, balances, scratch, ends, amount, limits, max_parts, outcome)
    if largest < amount:
        return NO_ROUTE
    return _pay_at_once(network, balances, scratch, ends, amount, limits, outcome)


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
    outcomes.attempts[index] = 0
    outcomes.fee_msat[index] = 0
    outcomes.parts[index] = 0
    reason = ERROR
    if source != destination and amount_msat > 0:
        if memory.first.size > 0:
            recall(network.source, scratch.knowledge, memory, source)
        limits = (fee_limit_msat, settings.max_attempts, now_ms)
        ends = (source, destination)
        outcome = (outcomes, index)
        reason = _send(network, balances, scratch, ends, amount_msat, limits, settings.max_parts, outcome)
        if memory.first.size > 0:
            remember(scratch.knowledge, memory, source)
        forget(network.source, scratch.knowledge)
    if reason != NONE:
        _blank(outcomes, index, 0)
    outcomes.failure_reason[index] = reason
    outcomes.succeeded[index] = reason == NONE
    return reason == NONE
