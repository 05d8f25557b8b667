"""What simulator and real nodes are compared on: random networks, and payments in which LND leaves no choice."""

import os
import random

import numpy as np

from lnsim_gym.benchmarks.parity.drawing import random_policies
from lnsim_gym.network import Channel, Topology
from tests.oracle.network import OracleNetwork


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


def fee_limit_msat(options, amount_msat):
    return int(options.fee_limit_msat(np.int64(amount_msat)))


def ties_met(topology, options, balances_msat, batch):
    """Return how often LND meets two equally good ways in these payments, of which it takes one at random."""
    attempt_cost = options.attempt_cost_sat, options.attempt_cost_ppm
    network = OracleNetwork(topology, np.asarray(balances_msat), max_parts=options.max_parts, attempt_cost=attempt_cost)
    for source, destination, amount_msat, *_ in zip(*(column.tolist() for column in batch), strict=True):
        network.pay(source, destination, amount_msat, fee_limit_msat(options, amount_msat))
    return network.ties
