"""A payment in several parts: LND's payment loop with parts under way at once, on a simulated clock.

Follows routing/payment_lifecycle.go and routing/payment_session.go: while something remains to be sent, ask for a
route for all of it, else for half of it, and so on, and launch the part without waiting; only when nothing remains
read the result that came back first. A part takes ``FORWARD_MS`` for each hop, and as long for each hop back when a
forwarder refuses it; every hop it has reached holds its HTLC until then. Parts that arrive wait for the rest, and
settle together or are released together.

Among real nodes such times vary, and with them what parts do to each other: they overtake each other, or keep together
as one commitment carries them. Where ``Settings`` ask for it times are drawn, alike or over some octaves. An attempt is
then written down before it is sent, and waits a while in the mailbox of each channel that it is sent over
(htlcswitch/mailbox.go): the next search of the sender, or the next choice of a forwarder, does not see it there yet,
and so may ask too much of that channel.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.channels import can_add, hold, release
from lnsim_gym.backends.simulator.forwarding import PASSED, TEMPORARY_CHANNEL_FAILURE, forward
from lnsim_gym.backends.simulator.forwards import note_forward
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
from lnsim_gym.traffic.random import advance, word

__all__ = ["FORWARD_MS", "MIN_SHARD_MSAT", "pay_in_parts"]

MIN_SHARD_MSAT: Final = 10_000_000
"""Smallest part LND splits down to (``DefaultShardMinAmt``)."""
LAUNCH_MS: Final = 5
"""Time that finding a route and sending a part takes the sender, in ms."""
OCTAVES: Final = 5
"""Octaves over which times are drawn at most, from a quarter of the usual time on."""
FORWARD_MS: Final = 40
"""Time that an HTLC takes over one hop, and its failure back, in ms."""
NEVER: Final = 2**62

QUEUED: Final = 0
FORWARDING: Final = 1
RETURNING: Final = 2
RETURNED: Final = 3
ARRIVED: Final = 4


@outlined
def _random(knowledge: Any) -> Any:
    """Draw a number of 48 bits."""
    knowledge.draws[0] = advance(knowledge.draws[0])
    return np.int64(word(knowledge.draws[0]) >> np.uint64(16))


@outlined
def _time_ms(knowledge: Any, usual_ms: Any, octaves: Any) -> Any:
    """Return how long something takes: the usual time, or one drawn with equal chances for each of some octaves."""
    if octaves == 0:
        return usual_ms
    random = _random(knowledge)
    least_ms = ((usual_ms << (random % octaves)) + 3) >> 2
    return least_ms + (random >> 8) % (1 + least_ms * (octaves - 1) // OCTAVES)


@outlined
def _launch(balances: Any, work: Any, parts: Any, hops: Any, part: Any, clock: Any, octaves: Any) -> Any:
    """Send the route found last as that part."""
    for hop in range(hops):
        parts.route[part, hop] = work.route[hop]
        parts.sent[part, hop] = work.sent[hop]
        parts.lock[part, hop] = work.lock[hop]
    parts.hops[part] = hops
    parts.reached[part] = 0
    parts.next_ms[part] = clock
    _send_on(balances, work, parts, part, octaves)


@outlined
def _send_on(balances: Any, work: Any, parts: Any, part: Any, octaves: Any) -> Any:
    """Send a part over its next hop: onto the channel at once, or into its mailbox first where times are drawn."""
    if octaves == 0:
        _add(balances, work, parts, part, octaves)
    else:
        parts.stage[part] = QUEUED
        parts.next_ms[part] += _time_ms(work.knowledge, np.int64(LAUNCH_MS), octaves)


@outlined
def _add(balances: Any, work: Any, parts: Any, part: Any, octaves: Any) -> Any:
    """Put the HTLC of a part on the channel of its next hop."""
    hop = parts.reached[part]
    hold(balances, work.htlcs, parts.route[part, hop], parts.sent[part, hop])
    parts.reached[part] = hop + 1
    parts.stage[part] = FORWARDING
    parts.next_ms[part] += _time_ms(work.knowledge, np.int64(FORWARD_MS), octaves)


@outlined
def _refuse(work: Any, parts: Any, part: Any, failure: Any, told: Any, octaves: Any) -> Any:
    """Send a part back from the node that it has reached, or give it up where that is its sender."""
    hop = parts.reached[part]
    parts.refused[part] = hop
    parts.failure[part] = failure
    parts.told[part] = told
    parts.stage[part] = RETURNED if hop == 0 else RETURNING
    if hop > 0:
        parts.next_ms[part] += _time_ms(work.knowledge, np.int64(FORWARD_MS), octaves)


@fused
def _forward(network: Any, links: Any, balances: Any, work: Any, parts: Any, part: Any, hop: Any) -> Any:
    """Return why a forwarder refuses a part, or ``PASSED``, and a direction; see ``forward``."""
    asked = np.int64(parts.route[part, hop])
    if links is None:
        passes = can_add(network, balances, work.htlcs, asked, parts.sent[part, hop])
        return PASSED if passes else TEMPORARY_CHANNEL_FAILURE, asked if passes else np.int64(-1)
    return forward(network, balances, work, parts.route[part], parts.sent[part], parts.lock[part], hop)


@outlined
def _advance(network: Any, balances: Any, work: Any, parts: Any, part: Any, octaves: Any) -> Any:
    """Do the next thing that happens to a part."""
    reached = parts.reached[part]
    if parts.stage[part] == QUEUED:
        chosen = np.int64(parts.route[part, reached])
        if can_add(network, balances, work.htlcs, chosen, parts.sent[part, reached]):
            _add(balances, work, parts, part, octaves)
        else:
            _refuse(work, parts, part, TEMPORARY_CHANNEL_FAILURE, chosen, octaves)
    elif parts.stage[part] == RETURNING:
        release(balances, work.htlcs, parts.route[part, reached - 1], parts.sent[part, reached - 1])
        parts.reached[part] = reached - 1
        if reached > 1:
            parts.next_ms[part] += _time_ms(work.knowledge, np.int64(FORWARD_MS), octaves)
        else:
            parts.stage[part] = RETURNED
    elif reached == parts.hops[part]:
        parts.stage[part] = ARRIVED
    else:
        failure, named = _forward(network, network.links, balances, work, parts, part, np.int64(reached))
        if failure == PASSED:
            parts.route[part, reached] = named
            _send_on(balances, work, parts, part, octaves)
        else:
            _refuse(work, parts, part, failure, named, octaves)


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
def _run_until(network: Any, balances: Any, work: Any, parts: Any, count: Any, clock: Any, octaves: Any) -> Any:
    """Let everything happen that happens up to a time."""
    while True:
        part = _first_in_stages(parts, count, QUEUED, RETURNING)
        if part < 0 or parts.next_ms[part] > clock:
            return
        _advance(network, balances, work, parts, part, octaves)


@outlined
def _wait(network: Any, balances: Any, work: Any, parts: Any, count: Any, octaves: Any) -> Any:
    """Let things happen until a part has returned; return it, or -1 when all have arrived."""
    while True:
        part = _first_in_stages(parts, count, RETURNED, RETURNED)
        if part >= 0:
            return part
        part = _first_in_stages(parts, count, QUEUED, RETURNING)
        if part < 0:
            return -1
        _advance(network, balances, work, parts, part, octaves)


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
            note_forward(network, outcomes, route, sent, hops, np.int64(0), np.int64(PASSED))
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
    timeout_ms = limits.timeout_ms
    now = limits.now_ms
    max_parts = limits.max_parts
    parts = scratch.parts
    work = scratch.work
    octaves = np.int64(0) if limits.drawn_times == 0 else 1 + _random(work.knowledge) % OCTAVES
    remaining = amount
    budget = limits.fee_msat
    count = np.int64(0)
    attempts = 0
    reason = NONE
    clock = np.int64(0)
    while True:
        if remaining > 0 and reason == NONE and clock < timeout_ms:
            _run_until(network, balances, work, parts, count, clock, octaves)
            split = count + 1 < max_parts
            hops, part, reason = _next_part(network, balances, work, ends, remaining, budget, split, now)
            if hops > 0:
                attempts += 1
                outcome.columns.attempts[outcome.index] = attempts
                if octaves > 0:
                    clock += _time_ms(work.knowledge, np.int64(LAUNCH_MS), octaves)
                    _run_until(network, balances, work, parts, count, clock, octaves)
                    if not can_add(network, balances, work.htlcs, np.int64(work.route[0]), work.sent[0]):
                        continue  # the sender's own link refuses, which teaches nothing
                _launch(balances, work, parts, hops, count, clock, octaves)
                clock += _time_ms(work.knowledge, np.int64(LAUNCH_MS), octaves)
                budget -= work.sent[0] - part
                remaining -= part
                count += 1
            continue
        if remaining > 0 and reason == NONE:
            reason = TIMEOUT
        back = _wait(network, balances, work, parts, count, octaves)
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
        if parts.refused[back] > 0:  # the sender's own channel teaches nothing
            learn_refusal(network, network.links, work.knowledge, route, sent, refusal, now)
            hops, at = np.int64(parts.hops[back]), np.int64(refusal[0])
            note_forward(network, outcome.columns, route, sent, hops, at, np.int64(refusal[1]))
        _forget_part(parts, back, count)
        count -= 1
