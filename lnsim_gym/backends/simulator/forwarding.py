"""What a forwarding node does with an HTLC: LND's switch (htlcswitch/switch.go) and its links (htlcswitch/link.go).

In a plain network one channel leads to the next node, and senders know its policy, so that a forwarder can only lack
the balance. With links the sender asks for one channel and the forwarder takes any to the same node that will do.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.channels import can_add, hold, release, spendable
from lnsim_gym.backends.simulator.fees import forwarding_fee_msat, inbound_fee_msat
from lnsim_gym.compiled import fused, outlined
from lnsim_gym.traffic.random import advance, word

__all__ = ["PASSED", "TEMPORARY_CHANNEL_FAILURE", "begin_draws", "first_refusal", "forward"]

# BOLT 4 failures, as ``forward`` returns them.
PASSED: Final = 0
TEMPORARY_CHANNEL_FAILURE: Final = 1
FEE_INSUFFICIENT: Final = 2
AMOUNT_BELOW_MINIMUM: Final = 3
INCORRECT_CLTV_EXPIRY: Final = 4


@fused
def begin_draws(links: Any, memory: Any, knowledge: Any) -> Any:
    """Give the next payment of a network a stream of its own for what LND leaves to chance, where there are links."""
    if links is not None:
        memory.draws[0] = advance(memory.draws[0])
        knowledge.draws[0] = word(memory.draws[0])
        knowledge.draws[1] = knowledge.draws[0]


@fused
def first_refusal(network: Any, links: Any, balances: Any, work: Any, busy: Any, hops: Any) -> Any:
    """Return the position of the first forwarder that refuses the route in ``work``, or 0, why, and what that tells.

    The last is the direction whose policy the failure holds, or -1.

    Without links the HTLCs of a payment in one part meet none, not even of its own. With links one may go back over
    the channel it came by, so that they are put into ``busy``, the same working space with HTLCs in flight;
    ``work.route`` afterwards names the channels that were taken.
    """
    if links is None:
        for hop in range(1, hops):
            if not can_add(network, balances, work.htlcs, work.route[hop], work.sent[hop]):
                return hop, TEMPORARY_CHANNEL_FAILURE, -1
        return 0, PASSED, -1
    return _walk(network, balances, busy, hops)


@outlined
def _walk(network: Any, balances: Any, work: Any, hops: Any) -> Any:
    """Do what ``first_refusal`` does where there are links.

    Each channel holds its HTLC meanwhile: the next forwarder may send it back over that very channel.
    """
    reached, failure, named = 1, PASSED, np.int64(-1)
    hold(balances, work.htlcs, work.route[0], work.sent[0])
    while reached < hops:
        failure, named = forward(network, balances, work, work.route, work.sent, work.lock, reached)
        if failure != PASSED:
            break
        work.route[reached] = named
        hold(balances, work.htlcs, work.route[reached], work.sent[reached])
        reached += 1
    for hop in range(reached):
        release(balances, work.htlcs, work.route[hop], work.sent[hop])
    return (0 if failure == PASSED else reached), failure, named


@outlined
def forward(network: Any, balances: Any, work: Any, route: Any, sent: Any, lock: Any, hop: Any) -> Any:
    """Return why a forwarder refuses an HTLC, or ``PASSED``, and a direction (``handlePacketAdd``).

    That is the direction it sends the HTLC over; of a refusal the one whose policy the failure tells, or -1.

    Args:
        network: ``Network`` with links.
        balances: Balances in msat by direction, reduced by what is in flight, this HTLC included.
        work: ``Workspace`` with what is in flight; the choice among channels is drawn from ``work.knowledge.draws``.
        route: Directions: before ``hop`` those that the HTLC took, from there on those that the sender asks for.
        sent: Amounts in msat over each hop.
        lock: Blocks of time lock that the forwarder into each hop is given.
        hop: Position of the forwarder, at least 1.

    Among several links that pass the checks one is drawn, each as likely; that one may still fail to add the HTLC.
    """
    asked, incoming = np.int64(route[hop]), np.int64(route[hop - 1])
    if asked == incoming ^ 1:  # checkCircularForward
        return TEMPORARY_CHANNEL_FAILURE, np.int64(-1)
    links = network.links
    first = np.int64(links.place[asked])
    willing, failure = 0, PASSED
    for place in range(first, first + np.int64(links.parallel[asked])):
        direction = np.int64(network.incoming[place])
        refused = _check(network, balances, work, incoming, direction, sent[hop - 1], sent[hop], lock[hop])
        willing += refused == PASSED
        if direction == asked:
            failure = refused
    if willing == 0:
        return failure, asked
    skipped = np.int64(0)
    if willing > 1:
        work.knowledge.draws[0] = advance(work.knowledge.draws[0])
        skipped = np.int64((word(work.knowledge.draws[0]) >> np.uint64(32)) % np.uint64(willing))
    taken = asked
    for place in range(first, first + np.int64(links.parallel[asked])):
        direction = np.int64(network.incoming[place])
        if _check(network, balances, work, incoming, direction, sent[hop - 1], sent[hop], lock[hop]) != PASSED:
            continue
        if skipped == 0:
            taken = direction
            break
        skipped -= 1
    if can_add(network, balances, work.htlcs, taken, sent[hop]):
        return PASSED, taken
    return TEMPORARY_CHANNEL_FAILURE, taken


@outlined
def _check(
    network: Any, balances: Any, work: Any, incoming: Any, direction: Any, received: Any, amount: Any, lock: Any
) -> Any:
    """Return why the link of a direction does not pass an HTLC on, or ``PASSED`` (``CheckHtlcForward``)."""
    policy, terms = network.policy[direction], network.links.inbound[incoming ^ 1]
    fee = forwarding_fee_msat(policy.fee_base_msat, policy.fee_rate_ppm, amount)
    fee += inbound_fee_msat(terms.fee_base_msat, terms.fee_rate_ppm, amount + fee)
    if received < amount or received - amount < fee:
        return FEE_INSUFFICIENT
    if amount < policy.min_htlc_msat:
        return AMOUNT_BELOW_MINIMUM
    if amount > policy.max_htlc_msat or amount > spendable(network, balances, work.htlcs, direction):
        return TEMPORARY_CHANNEL_FAILURE
    return PASSED if lock >= policy.time_lock else INCORRECT_CLTV_EXPIRY
