"""The payment engine as others call it: compiled functions on one network's slices, and ready-made kernels.

Functions for use inside a compiled kernel (no allocation, no Python objects; for network ``e`` of a stack pass
``network_at(networks, e, e)``, or ``linked_network_at`` of the same where networks have links, ``balances[e]``,
``memory_at(memories, e)`` and the thread's own ``Scratch``):

``pay(network, balances, scratch, memory, settings, source, destination, amount_msat, fee_limit_msat, now_ms,
outcomes, index) -> settled``
    One payment to its end; everything about it is written into row ``index`` of ``outcomes``.
``pay_whole`` of the same arguments
    The same for ``max_parts = 1``, at half the compile time.
``send_over(network, balances, scratch.work, memory, route, length, amount_msat, now_ms, earned_msat) ->
(reason, fee_msat, failure_index)``
    A pinned route: push or circular rebalance.
``spendable(network, balances, scratch.work.htlcs, direction) -> msat``
    What a channel end can send.
``fee_limit_msat(settings, amount_msat) -> msat``
    The fee limit of ``PaymentOptions``.
``change_policy(network, network.links, direction, terms, now_ms)``
    Sets the policy of a direction (``Terms``), of which others hear by gossip where ``compile_network`` was told so.
``forwarding_fee_msat(base_msat, rate_ppm, amount_msat) -> msat``
    The fee of a forwarding node.

The structures are made by ``compile_network``, ``make_scratch``, ``make_memory``, ``make_settings`` and
``make_outcomes``; ``balances`` is int64 msat in direction order, shape (directions,), which is a
``(channels, 2)`` array flattened. Everything is deterministic. A balance array must give each initiator at least
its reserve, as real channels do.

Time is int64 ms since the episode began, handed to whatever happens at one, and never falls within a network.

For use from Python: ``pay_batch``, ``send_pinned`` and ``send_found``.
"""

from __future__ import annotations

from typing import Any

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.simulator.channels import spendable
from lnsim_gym.backends.simulator.circular import send_around
from lnsim_gym.backends.simulator.fees import forwarding_fee_msat
from lnsim_gym.backends.simulator.gossip import begin_gossip, change_policy
from lnsim_gym.backends.simulator.layout import (
    Memory,
    Network,
    Outcomes,
    Scratch,
    Settings,
    Terms,
    linked_network_at,
    memory_at,
    network_at,
)
from lnsim_gym.backends.simulator.payments import fee_limit_msat, pay, pay_whole
from lnsim_gym.backends.simulator.prepare import (
    announce_policy,
    compile_network,
    forget_changes,
    make_memory,
    make_outcomes,
    make_scratch,
    make_settings,
    network_view,
    payment_outcomes,
    policy_rows,
    stack,
    with_kept_policies,
    with_own_policies,
    with_policies,
    with_room_for_changes,
)
from lnsim_gym.backends.simulator.reach import UNCOUNTED
from lnsim_gym.backends.simulator.rebalances import send_over
from lnsim_gym.compiled import inlined, kernel

__all__ = [
    "UNCOUNTED",
    "Memory",
    "Network",
    "Outcomes",
    "Scratch",
    "Settings",
    "Terms",
    "announce_policy",
    "begin_gossip",
    "change_policy",
    "compile_network",
    "fee_limit_msat",
    "forget_changes",
    "forwarding_fee_msat",
    "linked_network_at",
    "make_memory",
    "make_outcomes",
    "make_scratch",
    "make_settings",
    "memory_at",
    "network_at",
    "network_view",
    "pay",
    "pay_whole",
    "pay_batch",
    "payment_outcomes",
    "policy_rows",
    "send_found",
    "send_over",
    "send_pinned",
    "spendable",
    "stack",
    "with_kept_policies",
    "with_own_policies",
    "with_policies",
    "with_room_for_changes",
]


def pay_batch(
    network: Network,
    balances: Int64,
    scratch: Scratch,
    memory: Memory,
    settings: Settings,
    payments: tuple[Int64, Int64, Int64, Int64, Int64],
    outcomes: Outcomes,
) -> int:
    """Make payments one after another, as ``pay`` does, and return how many settled.

    Args:
        network: ``Network``.
        balances: Balances in msat by direction, changed in place.
        scratch: ``Scratch``.
        memory: ``Memory``.
        settings: ``Settings``.
        payments: Senders, receivers, amounts and fee limits in msat, and simulated times in ms, each of shape
            (payments,).
        outcomes: ``Outcomes`` with as many rows.
    """
    make = pay_batch_whole if settings.max_parts == 1 else pay_batch_in_parts
    return make(network, balances, scratch, memory, settings, payments, outcomes)


@kernel
def pay_batch_whole(
    network: Any, balances: Any, scratch: Any, memory: Any, settings: Any, payments: Any, outcomes: Any
) -> int:
    """Do what ``pay_batch`` does where ``max_parts`` is 1, at half the compile time."""
    settled: int = _pay_all(pay_whole, network, balances, scratch, memory, settings, payments, outcomes)
    return settled


@kernel
def pay_batch_in_parts(
    network: Any, balances: Any, scratch: Any, memory: Any, settings: Any, payments: Any, outcomes: Any
) -> int:
    """Do what ``pay_batch`` does where payments may be split."""
    settled: int = _pay_all(pay, network, balances, scratch, memory, settings, payments, outcomes)
    return settled


@inlined
def _pay_all(
    pay_next: Any, network: Any, balances: Any, scratch: Any, memory: Any, settings: Any, payments: Any, outcomes: Any
) -> Any:
    """Make payments one after another, each with ``pay_next``: ``pay`` or ``pay_whole``."""
    source, destination, amount_msat, limit_msat, now_ms = payments
    settled = 0
    for index in range(source.size):
        amount = amount_msat[index]
        limit = limit_msat[index]
        now = now_ms[index]
        ends = (source[index], destination[index])
        settled += pay_next(
            network, balances, scratch, memory, settings, ends[0], ends[1], amount, limit, now, outcomes, index
        )
    return settled


@kernel
def send_pinned(
    network: Any,
    balances: Any,
    scratch: Any,
    memory: Any,
    route: Any,
    amount_msat: Any,
    now_ms: Any,
    earned_msat: Any,
) -> tuple[int, int, int]:
    """Send over a pinned route, as ``send_over`` does, with a route array of just the right length."""
    result: tuple[int, int, int] = send_over(
        network, balances, scratch.work, memory, route, route.size, amount_msat, now_ms, earned_msat
    )
    return result


@kernel
def send_found(
    network: Any,
    balances: Any,
    scratch: Any,
    memory: Any,
    ends: tuple[int, int],
    amounts_msat: tuple[int, int],
    attempts: int,
    now_ms: int,
    earned_msat: Any,
    route: Any,
    sent_msat: Any,
) -> tuple[int, int, int]:
    """Send over a route that is found, as ``send_around`` does.

    Args:
        network: ``Network``.
        balances: Balances in msat by direction, changed in place.
        scratch: ``Scratch``.
        memory: ``Memory``.
        ends: Directions to leave and to come back by.
        amounts_msat: Amount that is to arrive, and the most that may be paid in fees.
        attempts: Most routes to try.
        now_ms: Simulated time in ms.
        earned_msat: As for ``send_around``.
        route: Filled, shape (MAX_ROUTE_HOPS,).
        sent_msat: Filled, of the same shape.
    """
    leave, back = ends
    amount_msat, fee_limit_msat = amounts_msat
    result: tuple[int, int, int] = send_around(
        network,
        balances,
        scratch.work,
        memory,
        leave,
        back,
        amount_msat,
        fee_limit_msat,
        attempts,
        now_ms,
        earned_msat,
        route,
        sent_msat,
    )
    return result
