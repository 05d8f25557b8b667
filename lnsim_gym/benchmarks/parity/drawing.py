"""Random networks such as the public one, policies up to their limits, amounts and routes."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.limits import (
    DEFAULT_FEE_PER_KW,
    channel_reserve_sat,
    max_value_in_flight_msat,
    owned_total_sat,
)

__all__ = [
    "public_network",
    "public_policy",
    "random_amount_msat",
    "random_policies",
    "random_policy",
    "random_route",
]

SMALL_FEES_MSAT: Final = (0, 1, 1000, 1001, 5000)
SIZES_SAT: Final = (20_000, 1_000_000, 16_777_215, 100_000_000)
"""Capacities that are drawn more often than others: the least, the usual, the largest without wumbo, and 1 BTC."""
CLOSED_MSAT: Final = 2**31 - 1
CLOSED_PPM: Final = 2**31 - 1
"""What operators announce for a channel that is closed for outbound."""


def public_network(rng: Random) -> Topology:
    """Draw a connected network of 5..12 nodes with what the public one has.

    Parallel channels, some of them alike, inbound fees of both signs, disabled ends, ends closed for outbound, channels
    of 20,000 sat to 1 BTC, and now and then a policy at the limits of what LND accepts.
    """
    names = tuple(f"n{index}" for index in range(rng.randint(5, 12)))
    pairs = {(rng.randrange(node), node) for node in range(1, len(names))}
    while len(pairs) < 1.3 * len(names):
        first, second = sorted(rng.sample(range(len(names)), 2))
        pairs.add((first, second))
    channels: list[Channel] = []
    for pair in sorted(pairs):
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
            alike = channels and rng.random() < 0.5
            capacity_sat = channels[-1].capacity_sat if alike else _random_size_sat(rng)
            initiator, peer = rng.sample([names[node] for node in pair], 2)
            channels.append(_public_channel(rng, initiator, peer, capacity_sat))
    return Topology(nodes=names, channels=tuple(channels), wumbo=True)


def _random_size_sat(rng: Random) -> int:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(SIZES_SAT)
    return rng.randint(20_000, 200_000) if kind < 0.5 else rng.randint(200_000, 3_000_000)


def _public_channel(rng: Random, initiator: str, peer: str, capacity_sat: int) -> Channel:
    total_sat = int(owned_total_sat(capacity_sat, DEFAULT_FEE_PER_KW))
    reserve_sat = max(int(channel_reserve_sat(capacity_sat)), 1_000)
    both_disabled = rng.random() < 0.06
    policies = [public_policy(rng, capacity_sat, disabled=both_disabled) for _ in range(2)]
    return Channel(
        initiator=initiator,
        peer=peer,
        capacity_sat=capacity_sat,
        initiator_balance_sat=min(max(int(total_sat * rng.uniform(0.05, 0.95)), reserve_sat), total_sat - reserve_sat),
        policies=ChannelPolicies(initiator=policies[0], peer=policies[1]),
    )


def public_policy(rng: Random, capacity_sat: int, *, disabled: bool = False) -> Policy:
    """Draw a policy of which LND accepts every field.

    Args:
        rng: Draws it.
        capacity_sat: Capacity of the channel.
        disabled: Whether it is disabled in any case.
    """
    policy = random_policy(rng, capacity_sat, uneven_fees=True)
    changes: dict[str, Any] = {"disabled": disabled or rng.random() < 0.08}
    kind = rng.random()
    if kind < 0.3:
        changes |= {"inbound_fee_base_msat": rng.randint(-6000, 2000), "inbound_fee_rate_ppm": rng.randint(-3000, 1000)}
    elif kind < 0.34:
        changes |= {
            "inbound_fee_base_msat": rng.choice([-(2**31), -1, 0, 2**31 - 1]),
            "inbound_fee_rate_ppm": rng.choice([-(2**31), -(10**6), 0, 2**31 - 1]),
        }
    if rng.random() < 0.06:
        changes |= {"fee_base_msat": CLOSED_MSAT, "fee_rate_ppm": CLOSED_PPM}
    elif rng.random() < 0.05:
        changes |= {"fee_base_msat": rng.choice([0, 2**32 - 1]), "fee_rate_ppm": rng.choice([0, 2**32 - 1])}
    if rng.random() < 0.05:
        ceiling_msat = int(max_value_in_flight_msat(capacity_sat))
        changes |= rng.choice(
            [
                {"min_htlc_msat": 1, "max_htlc_msat": 1},
                {"min_htlc_msat": ceiling_msat, "max_htlc_msat": ceiling_msat},
                {"time_lock_delta": 2016},
            ]
        )
    return msgspec.structs.replace(policy, **changes)


def random_policies(rng: Random, capacity_sat: int, *, uneven_fees: bool = False) -> ChannelPolicies:
    """Draw both directions' policies, as ``random_policy`` does."""
    return ChannelPolicies(
        initiator=random_policy(rng, capacity_sat, uneven_fees), peer=random_policy(rng, capacity_sat, uneven_fees)
    )


def random_policy(rng: Random, capacity_sat: int, uneven_fees: bool) -> Policy:
    """Draw a policy without inbound fees.

    Args:
        rng: Draws it.
        capacity_sat: Capacity of the channel.
        uneven_fees: Whether few ways are to cost the same, so that LND has few equally good ones.
    """
    ceiling_msat = int(max_value_in_flight_msat(capacity_sat))
    min_htlc_msat = rng.choice([1, 1000, 1000, 1000, rng.randint(1, 5_000_000)])
    return Policy(
        fee_base_msat=rng.randint(0, 30_000) if uneven_fees else rng.choice([*SMALL_FEES_MSAT, rng.randint(0, 30_000)]),
        fee_rate_ppm=rng.choice([0, 1, 10, rng.randint(0, 3000), rng.randint(0, 30_000)]),
        time_lock_delta=rng.choice([24, 40, 80, 144, rng.randint(24, 2016)]),
        min_htlc_msat=min_htlc_msat,
        max_htlc_msat=rng.choice([None, None, rng.randint(max(min_htlc_msat, ceiling_msat // 10), ceiling_msat)]),
    )


def random_amount_msat(rng: Random, largest_msat: int = 1_000_000_000) -> int:
    """Draw an amount from 1 msat on: a few msat, whole satoshis, or anything."""
    kind = rng.random()
    if kind < 0.1:
        return rng.randint(1, 1_000_000)
    if kind < 0.3:
        return 1000 * rng.randint(1, 100_000)
    return rng.randint(1, largest_msat) if kind < 0.6 else int(10 ** rng.uniform(4, np.log10(largest_msat)))


def random_route(rng: Random, topology: Topology) -> tuple[int, ...]:
    """Draw a push, or a cycle over pairwise different nodes; now and then there and back over one channel."""
    arrays = topology.arrays
    first = rng.randrange(len(arrays.source))
    if rng.random() < 0.3:
        return (first,)
    if rng.random() < 0.1:
        return first, first ^ 1
    route = [first]
    home = arrays.source[first]
    seen = {int(arrays.destination[first])}
    while True:
        onward = [
            int(d)
            for d in np.flatnonzero(arrays.source == arrays.destination[route[-1]])
            if d // 2 != route[-1] // 2 and int(arrays.destination[d]) not in seen
        ]
        homeward = [d for d in onward if arrays.destination[d] == home]
        if homeward and rng.random() < 0.5:
            return (*route, homeward[0])
        onward = [d for d in onward if d not in homeward]
        if not onward:
            return (*route, homeward[0]) if homeward else (first,)
        route.append(rng.choice(onward))
        seen.add(int(arrays.destination[route[-1]]))
