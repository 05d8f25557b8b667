"""A payment in several parts: LND's payment loop with parts under way at once, on a simulated clock.

Follows routing/payment_lifecycle.go and routing/payment_session.go: while something remains to be sent, ask for a
route for all of it, else for half of it, and so on, and launch the part without waiting; only when nothing remains
read the result that came back first. A part takes ``FORWARD_MS`` for each hop, and as long for each hop back when a
forwarder refuses it; every hop it has reached holds its HTLC until then. Parts that arrive wait for the rest, and
settle together or are released together.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.channels import can_add, hold, release
from lnsim_gym.backends.simulator.forwarding import PASSED, TEMPORARY_CHANNEL_FAILURE, forward
from lnsim_gym.backends.simulator.interpretation import learn_carried, learn_refusal
from lnsim_gym.backends.simulator.search import find_route_called, survey
from lnsim_gym.backends.simulator.settling import (
    INSUFFICIENT_BALANCE,
    NO_ROUTE,
    NONE,
    TIMEOUT,
    blank,
    settle,
    write_part,
)
from lnsim_gym.compiled import fused, outlined

__all__ = ["MIN_SHARD_MSAT", "pay_in_parts"]

MIN_SHARD_MSAT: Final = 10_000_000
"""Smallest part LND splits down to (``DefaultShardMinAmt``)."""
LAUNCH_MS: Final = 5
"""Time that finding a route and sending a part takes the sender, in ms."""
FORWARD_MS: Final = 40
"""Time that an HTLC takes over one hop, and its failure back, in ms."""
NEVER: Final = 2**62

FORWARDING: Final = 0
RETURNING: Final = 1
RETURNED: Final = 2
ARRIVED: Final = 3


@outlined
def _launch(balances: Any, work: Any, parts: Any, hops: Any, part: Any, clock: Any) -> Any:
    """Send the route found last as that part."""
    for hop in range(hops):
        parts.route[part, hop] = work.route[hop]
        parts.sent[part, hop] = work.sent[hop]
        parts.lock[part, hop] = work.lock[hop]
    parts.hops[part] = hops
    parts.reached[part] = 1
    parts.stage[part] = FORWARDING
    parts.next_ms[part] = clock + FORWARD_MS
    hold(balances, work.htlcs, work.route[0], work.sent[0])


@fused
def _forward(network: Any, links: Any, balances: Any, work: Any, parts: Any, part: Any, hop: Any) -> Any:
    """Return why a forwarder refuses a part, or ``PASSED``, and a direction; see ``forward``."""
    asked = np.int64(parts.route[part, hop])
    if links is None:
        passes = can_add(network, balances, work.htlcs, asked, parts.sent[part, hop])
        return PASSED if passes else TEMPORARY_CHANNEL_FAILURE, asked if passes else np.int64(-1)
    return forward(network, balances, work, parts.route[part], parts.sent[part], parts.lock[part], hop)


@outlined
def _advance(network: Any, balances: Any, work: Any, parts: Any, part: Any) -> Any:
    """Do the next thing that happens to a part."""
    reached = parts.reached[part]
    if parts.stage[part] == RETURNING:
        release(balances, work.htlcs, parts.route[part, reached - 1], parts.sent[part, reached - 1])
        parts.reached[part] = reached - 1
        if reached > 1:
            parts.next_ms[part] += FORWARD_MS
        else:
            parts.stage[part] = RETURNED
    elif reached == parts.hops[part]:
        parts.stage[part] = ARRIVED
    else:
        failure, named = _forward(network, network.links, balances, work, parts, part, np.int64(reached))
        if failure == PASSED:
            parts.route[part, reached] = named
            hold(balances, work.htlcs, named, parts.sent[part, reached])
            parts.reached[part] = reached + 1
        else:
            parts.stage[part] = RETURNING
            parts.refused[part] = reached
            parts.failure[part] = failure
            parts.told[part] = named
        parts.next_ms[part] += FORWARD_MS


@outlined
def _first_in_stages(parts: Any, count: Any, lowest: Any, highest: Any) -> Any:
    """Return the part in a range of stages whose time is least, the one launched first among equals, or -1."""
    first = -1
    least = NEVER
    for part in range(count):
        if lowest <= parts.stage[part] <= highest and parts.next_ms[part] < least:
            first = part
            least = parts.next_ms[part]
    return first


@outlined
def _run_until(network: Any, balances: Any, work: Any, parts: Any, count: Any, clock: Any) -> Any:
    """Let everything happen that happens up to a time."""
    while True:
        part = _first_in_stages(parts, count, FORWARDING, RETURNING)
        if part < 0 or parts.next_ms[part] > clock:
            return
        _advance(network, balances, work, parts, part)


@outlined
def _wait(network: Any, balances: Any, work: Any, parts: Any, count: Any) -> Any:
    """Let things happen until a part has returned; return it, or -1 when all have arrived."""
    while True:
        part = _first_in_stages(parts, count, RETURNED, RETURNED)
        if part >= 0:
            return part
        part = _first_in_stages(parts, count, FORWARDING, RETURNING)
        if part < 0:
            return -1
        _advance(network, balances, work, parts, part)


@outlined
def _forget_part(parts: Any, part: Any, count: Any) -> Any:
    """Close the gap that a part leaves in the list of parts, keeping their order."""
    for later in range(part + 1, count):
        for hop in range(parts.hops[later]):
            parts.route[later - 1, hop] = parts.route[later, hop]
            parts.sent[later - 1, hop] = parts.sent[later, hop]
            parts.lock[later - 1, hop] = parts.lock[later, hop]
        parts.hops[later - 1] = parts.hops[later]
        parts.reached[later - 1] = parts.reached[later]
        parts.refused[later - 1] = parts.refused[later]
        parts.failure[later - 1] = parts.failure[later]
        parts.told[later - 1] = parts.told[later]
        parts.stage[later - 1] = parts.stage[later]
        parts.next_ms[later - 1] = parts.next_ms[later]


@fused
def _next_part(
    network: Any, balances: Any, work: Any, ends: Any, amount: Any, fee_limit: Any, may_split: Any, now: Any
) -> Any:
    """Find a route for what remains, or for half of it and so on (``RequestRoute``).

    Returns:
        Number of hops (0 when there is no route), the amount to deliver, and the failure reason.
    """
    sender, target = ends
    hops = np.int64(0)
    reason = NO_ROUTE
    while True:
        largest, total = survey(network, balances, work, sender)
        if total < amount:
            reason = INSUFFICIENT_BALANCE
            break
        if largest >= amount:
            hops = find_route_called(network, balances, work, sender, target, amount, fee_limit, now)
        if hops > 0:
            reason = NONE
            break
        amount //= 2
        if not may_split or amount < MIN_SHARD_MSAT:
            break
    return hops, amount, reason


@outlined
def _finish(network: Any, balances: Any, scratch: Any, count: Any, outcome: Any, settled: Any) -> Any:
    """Settle all parts, or release them; every pair that carried one is known to pass its amount."""
    outcomes, index = outcome
    parts = scratch.parts
    for part in range(count):
        route = parts.route[part]
        sent = parts.sent[part]
        hops = np.int64(parts.hops[part])
        for hop in range(hops):
            release(balances, scratch.work.htlcs, route[hop], sent[hop])
        learn_carried(network.source, network.links, scratch.work.knowledge, route, sent, hops)
        if settled:
            settle(network.source, balances, outcomes.earned_msat, route, sent, hops)
            outcomes.fee_msat[index] += sent[0] - sent[hops - 1]
            write_part(network.links, outcomes, index, part, sent[hops - 1], route, sent, hops)
    if settled:
        outcomes.parts[index] = count
        blank(outcomes, index, count)


@outlined
def pay_in_parts(network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, limits: Any, outcome: Any) -> Any:
    """Send a payment in up to ``limits.max_parts`` parts under way at once; return the failure reason.

    Args:
        network: ``Network``.
        balances: Balances in msat by direction.
        scratch: ``Scratch`` of this thread.
        ends: Sender and receiver.
        amount: Amount to deliver in msat.
        limits: ``Limits``.
        outcome: ``OutcomeRow`` to fill.
    """
    max_attempts = limits.max_attempts
    now = limits.now_ms
    max_parts = limits.max_parts
    parts = scratch.parts
    work = scratch.work
    remaining = amount
    budget = limits.fee_msat
    count = np.int64(0)
    attempts = 0
    reason = NONE
    clock = np.int64(0)
    while True:
        if remaining > 0 and reason == NONE and attempts < max_attempts:
            _run_until(network, balances, work, parts, count, clock)
            split = count + 1 < max_parts
            hops, part, reason = _next_part(network, balances, work, ends, remaining, budget, split, now)
            if hops > 0:
                _launch(balances, work, parts, hops, count, clock)
                clock += LAUNCH_MS
                budget -= work.sent[0] - part
                remaining -= part
                count += 1
                attempts += 1
                outcome.columns.attempts[outcome.index] = attempts
            continue
        if remaining > 0 and reason == NONE:
            reason = TIMEOUT
        back = _wait(network, balances, work, parts, count)
        if back < 0:
            _finish(network, balances, scratch, count, outcome, reason == NONE)
            return reason
        clock = max(clock, parts.next_ms[back])
        route = parts.route[back]
        sent = parts.sent[back]
        refusal = (parts.refused[back], parts.failure[back], parts.told[back])
        part = sent[parts.hops[back] - 1]
        budget += sent[0] - part
        remaining += part
        learn_refusal(network, network.links, work.knowledge, route, sent, refusal, now)
        _forget_part(parts, back, count)
        count -= 1
