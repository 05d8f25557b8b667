"""One payment from start to end: LND's payment loop with retries (routing/payment_lifecycle.go).

Ask for a route, send the payment over it; when a forwarder refuses, the sender learns which pair failed at which
amount and asks again. In one part no other HTLC is in flight, so balances change only when the payment settles.
Payments in several parts are the business of ``parts``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.estimator import forget, recall, remember
from lnsim_gym.backends.simulator.forwarding import begin_draws, first_refusal
from lnsim_gym.backends.simulator.forwards import note_forward
from lnsim_gym.backends.simulator.gossip import forget_unheard, has_heard_all, note_unheard
from lnsim_gym.backends.simulator.interpretation import learn_carried, learn_refusal
from lnsim_gym.backends.simulator.layout import MANY_NODES, Limits, OutcomeRow, quiet
from lnsim_gym.backends.simulator.parts import FORWARD_MS, MIN_SHARD_MSAT, pay_in_parts
from lnsim_gym.backends.simulator.reach import UNCOUNTED, is_unroutable
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

__all__ = ["fee_limit_msat", "pay", "pay_whole"]

NEVER: Final = -1
"""Stands for the number of attempts after which nothing is checked."""


@fused
def fee_limit_msat(settings: Any, amount: Any) -> Any:
    """Return the fee limit in msat for an amount in msat (``PaymentOptions.fee_limit_msat``)."""
    if amount <= 1000 * settings.fee_limit_base_sat:
        return amount
    return amount * settings.fee_limit_ppm // 1_000_000


@inlined
def _settle_single(network: Any, balances: Any, work: Any, amount: Any, hops: Any, outcome: Any) -> Any:
    """Settle the route in ``work`` as the whole payment and write its outcome."""
    outcomes, index = outcome
    settle(network.source, balances, outcomes.earned_msat, work.route, work.sent, hops)
    outcomes.fee_msat[index] = work.sent[0] - amount
    outcomes.parts[index] = 1
    write_part(network.links, outcomes, index, np.int64(0), amount, work.route, work.sent, hops)
    blank(outcomes, index, np.int64(1))


@inlined
def _pay_at_once(
    network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, limits: Any, check: Any, outcome: Any
) -> Any:
    """Send a payment in one part, retrying until it settles or no route is left; return the failure reason.

    After ``check`` attempts it is given up, its attempts uncounted, if no route at all could carry it.
    """
    work = quiet(scratch.work)
    sender, target = ends
    attempts, elapsed_ms = 0, np.int64(0)
    while elapsed_ms < limits.timeout_ms:
        if attempts == check and is_unroutable(network, balances, work, sender, target, amount):
            reason = _unaffordable(network, balances, work, sender, amount)
            if reason == NONE:
                outcome.columns.attempts[outcome.index] = UNCOUNTED
                return NO_ROUTE
            return reason
        hops = find_route(network, balances, work, sender, target, amount, limits.fee_msat, limits.now_ms)
        if hops == 0:
            return NO_ROUTE
        attempts += 1
        outcome.columns.attempts[outcome.index] = attempts
        refusal = first_refusal(network, network.links, balances, work, scratch.work, hops)
        note_forward(network, outcome.columns, work.route, work.sent, hops, np.int64(refusal[0]), np.int64(refusal[1]))
        if refusal[0] == 0:
            _settle_single(network, balances, work, amount, hops, outcome)
            if limits.remembers:
                learn_carried(network.source, network.links, work.knowledge, work.route, work.sent, hops)
            return NONE
        learn_refusal(network, network.links, work.knowledge, work.route, work.sent, refusal, limits.now_ms)
        elapsed_ms += 2 * FORWARD_MS * np.int64(refusal[0])
    return TIMEOUT


@fused
def _unaffordable(network: Any, balances: Any, work: Any, sender: Any, amount: Any) -> Any:
    """Return why the sender's own channels cannot carry an amount at once, or ``NONE``."""
    largest, total = survey(network, balances, work, sender)
    if total < amount:
        return INSUFFICIENT_BALANCE
    return NO_ROUTE if largest < amount else NONE


@inlined
def _send_whole(network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, limits: Any, outcome: Any) -> Any:
    """Send a payment in one part and return the failure reason."""
    work = quiet(scratch.work)
    sender, target = ends
    direct = direct_channel(network, network.links, balances, work, sender, target, amount, limits.now_ms)
    if direct >= 0:
        return _send_directly(network, balances, work, direct, amount, outcome)
    check = NEVER
    # One who has not heard of a policy learns it from attempts, whatever becomes of the payment.
    if limits.counts_attempts == 0 and has_heard_all(network.links, work.knowledge):
        # A look over a large network takes longer than a first attempt, which mostly succeeds.
        check = 1 if network.first_incoming.shape[0] > MANY_NODES else 0
    if check != 0:
        reason = _unaffordable(network, balances, work, sender, amount)
        if reason != NONE:
            return reason
    return _pay_at_once(network, balances, scratch, ends, amount, limits, check, outcome)


@inlined
def _send_in_parts(network: Any, balances: Any, scratch: Any, ends: Any, amount: Any, limits: Any, outcome: Any) -> Any:
    """Send a payment, in several parts if it must be, and return the failure reason."""
    work = scratch.work
    sender, target = ends
    direct = direct_channel(network, network.links, balances, work, sender, target, amount, limits.now_ms)
    if direct >= 0:
        return _send_directly(network, balances, work, direct, amount, outcome)
    if amount < 2 * MIN_SHARD_MSAT or limits.max_parts == 1:
        return _send_whole(network, balances, scratch, ends, amount, limits, outcome)
    _, total = survey(network, balances, work, sender)
    if total < amount:
        return INSUFFICIENT_BALANCE
    return pay_in_parts(network, balances, scratch, ends, amount, limits, outcome)


@inlined
def _send_directly(network: Any, balances: Any, work: Any, direct: Any, amount: Any, outcome: Any) -> Any:
    """Settle a payment over the channel that joins its two nodes."""
    work.route[0] = direct
    work.sent[0] = amount
    outcome.columns.attempts[outcome.index] = 1
    _settle_single(network, balances, work, amount, np.int64(1), outcome)
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
        now_ms: Simulated time in ms, never falling between payments of one network; matters to what senders remember
            and to what they have heard of.
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
    """Make one payment with ``send``: ``_send_whole`` or ``_send_in_parts``; see ``pay``."""
    index = np.int64(index)
    outcomes.attempts[index] = 0
    outcomes.fee_msat[index] = 0
    outcomes.parts[index] = 0
    reason = ERROR
    if source != destination and amount_msat > 0:
        remembers = memory.first.size > 0
        if remembers:
            recall(network.source, scratch.work.knowledge, memory, source)
        begin_draws(network.links, memory, scratch.work.knowledge)
        note_unheard(network, network.links, scratch.work, source, now_ms)
        limits = Limits(
            fee_limit_msat,
            settings.timeout_ms,
            now_ms,
            settings.max_parts,
            settings.counts_attempts,
            remembers,
            settings.drawn_times,
        )
        ends = (np.uint32(source), np.uint32(destination))
        outcome = OutcomeRow(outcomes, index)
        reason = send(network, balances, scratch, ends, amount_msat, limits, outcome)
        if remembers:
            remember(scratch.work.knowledge, memory, source)
        forget(network.source, scratch.work.knowledge)
        forget_unheard(network.links, scratch.work.knowledge)
    if reason != NONE:
        blank(outcomes, index, np.int64(0))
    outcomes.failure_reason[index] = reason
    outcomes.succeeded[index] = reason == NONE
    return reason == NONE
