"""What a forwarder may do where channels are parallel, from LND's ``handlePacketAdd`` and ``CheckHtlcForward``."""

import itertools
import math
from collections import Counter

import numpy as np

from lnsim_gym.network.routes import settled_hops


def fee_asked_msat(topology, received, direction, amount_msat):
    """Smallest fee for which a node forwards an amount into a direction after receiving it over another one."""
    policy, incoming = policy_of(topology, direction), policy_of(topology, received ^ 1)
    outbound = policy.fee_base_msat + amount_msat * policy.fee_rate_ppm % 2**64 // 10**6
    rate = max(-(10**7), min(incoming.inbound_fee_rate_ppm, 10**7))
    product = rate * (amount_msat + outbound)
    return outbound + incoming.inbound_fee_base_msat + (abs(product) // 10**6 * (1 if product >= 0 else -1))


def policy_of(topology, direction):
    both = topology.policies[direction // 2]
    return both.peer if direction % 2 else both.initiator


def choices(topology, balances_msat, received, towards, taken_msat, passed_on_msat):
    """Directions into which a forwarder may pass an HTLC on; LND draws one of them with equal chances.

    Args:
        topology: The network.
        balances_msat: Before the payment, shape (channels, 2).
        received: Direction over which the HTLC came.
        towards: Node that it is meant for next.
        taken_msat: Amount that came.
        passed_on_msat: Amount to pass on.
    """
    arrays = topology.arrays
    spendable = topology.spendable_msat(balances_msat).reshape(-1)
    beside = np.flatnonzero((arrays.source == arrays.destination[received]) & (arrays.destination == towards))
    return [
        direction
        for direction in beside.tolist()
        if arrays.min_htlc_msat[direction] <= passed_on_msat <= arrays.max_htlc_msat[direction]
        and passed_on_msat <= spendable[direction]
        and passed_on_msat <= taken_msat
        and taken_msat - passed_on_msat >= fee_asked_msat(topology, received, direction, passed_on_msat)
    ]


def assert_legal_route(topology, balances_msat, route, sent_msat, drawn=None):
    """Hold every forwarder's choice on a settled route to what LND allows, and count it by its place among these."""
    destination = topology.arrays.destination
    drawn = Counter() if drawn is None else drawn
    for (received, direction), (taken, passed_on) in zip(
        itertools.pairwise(route), itertools.pairwise(sent_msat), strict=True
    ):
        allowed = choices(topology, balances_msat, received, destination[direction], taken, passed_on)
        assert direction in allowed, (route, sent_msat, direction, allowed)
        if len(allowed) > 1:
            drawn[len(allowed), allowed.index(direction)] += 1


def assert_legal_payments(topology, before_and_after, outcomes, drawn=None):
    """The same for the payments of a batch that were made one after the other in one part each."""
    for payment, (before, _) in enumerate(before_and_after):
        for route, sent_msat in settled_hops(topology, outcomes, payment):
            assert_legal_route(topology, before, route, sent_msat, drawn)


def chi_square(drawn):
    """Return the statistic of choices that should have equal chances, and its degrees of freedom."""
    statistic = freedom = 0
    for count in {count for count, _ in drawn}:
        seen = [drawn[count, place] for place in range(count)]
        expected = sum(seen) / count
        statistic += sum((each - expected) ** 2 / expected for each in seen)
        freedom += count - 1
    return statistic, freedom


def assert_equal_chances(drawn):
    """Refuse choices that are less likely than one in a million (the bound of Laurent and Massart)."""
    statistic, freedom = chi_square(drawn)
    print(
        f"{drawn.total()} choices among parallel channels, chi-square {statistic:.1f} of {freedom} degrees of freedom"
    )
    log_odds = math.log(1e6)
    assert statistic <= freedom + 2 * math.sqrt(freedom * log_odds) + 2 * log_odds, drawn
