"""What simulator and real nodes are compared on: random networks, and payments in which LND leaves no choice."""

import os
import random

import msgspec
import numpy as np

from lnsim_gym.network import Channel, ChannelPolicies, Topology
from lnsim_gym.network.limits import (
    DEFAULT_FEE_PER_KW,
    channel_reserve_sat,
    max_value_in_flight_msat,
    owned_total_sat,
)
from tests.oracle.network import OracleNetwork
from tests.oracle.scenarios import random_policies, random_policy


def fresh_seed():
    """A seed of our own choosing, or the one to repeat; always shown with the test's output."""
    seed = int(os.environ.get("LNSIM_PARITY_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    print(f"LNSIM_PARITY_SEED={seed}")
    return random.Random(seed)


def random_network(rng):
    """Draw a connected network of 5..12 nodes with uneven policies and start balances that LND opens channels with."""
    names = [f"n{index}" for index in range(rng.randint(5, 12))]
    pairs = {(rng.randrange(node), node) for node in range(1, len(names))}
    while len(pairs) < 1.6 * len(names):
        pairs.add(tuple(sorted(rng.sample(range(len(names)), 2))))
    channels = []
    for pair in sorted(pairs):
        initiator, peer = rng.sample(pair, 2)
        capacity_sat = rng.choice([1_000_000, rng.randint(200_000, 3_000_000)])
        kept = rng.uniform(0.05, 0.95)
        channels.append(
            Channel(
                initiator=names[initiator],
                peer=names[peer],
                capacity_sat=capacity_sat,
                initiator_balance_sat=int(capacity_sat * kept),
                policies=random_policies(rng, capacity_sat, uneven_fees=True),
            )
        )
    return Topology(nodes=tuple(names), channels=tuple(channels))


SIZES_SAT = (20_000, 1_000_000, 16_777_215, 100_000_000)
CLOSED_MSAT = CLOSED_PPM = 2**31 - 1
"""What operators announce for a channel that is closed for outbound."""


def public_network(rng):
    """Draw a connected network of 5..12 nodes with what the public one has.

    Parallel channels, some of them alike, inbound fees of both signs, disabled ends, ends closed for outbound, channels
    of 20,000 sat to 1 BTC, and now and then a policy at the limits of what LND accepts.
    """
    names = tuple(f"n{index}" for index in range(rng.randint(5, 12)))
    pairs = {(rng.randrange(node), node) for node in range(1, len(names))}
    while len(pairs) < 1.3 * len(names):
        pairs.add(tuple(sorted(rng.sample(range(len(names)), 2))))
    channels = []
    for pair in sorted(pairs):
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
            alike = channels and rng.random() < 0.5
            capacity_sat = channels[-1].capacity_sat if alike else random_size(rng)
            initiator, peer = rng.sample([names[node] for node in pair], 2)
            channels.append(public_channel(rng, initiator, peer, capacity_sat))
    return Topology(nodes=names, channels=tuple(channels), wumbo=True)


def random_size(rng):
    kind = rng.random()
    return (
        rng.choice(SIZES_SAT)
        if kind < 0.4
        else rng.randint(*((20_000, 200_000) if kind < 0.5 else (200_000, 3_000_000)))
    )


def public_channel(rng, initiator, peer, capacity_sat):
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


def public_policy(rng, capacity_sat, *, disabled=False):
    """Draw a policy of which LND accepts every field."""
    policy = random_policy(rng, capacity_sat, uneven_fees=True)
    changes = {"disabled": disabled or rng.random() < 0.08}
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


def fee_limit_msat(options, amount_msat):
    return int(options.fee_limit_msat(np.int64(amount_msat)))


def ties_met(topology, options, balances_msat, batch):
    """Return how often LND meets two equally good ways in these payments, of which it takes one at random."""
    network = OracleNetwork(topology, np.asarray(balances_msat), max_parts=options.max_parts)
    for source, destination, amount_msat, *_ in zip(*(column.tolist() for column in batch), strict=True):
        network.pay(source, destination, amount_msat, fee_limit_msat(options, amount_msat))
    return network.ties
