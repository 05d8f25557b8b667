"""Random networks, balances and payments for holding the engine to the oracle; drawn from a ``random.Random``."""

import itertools
import warnings

import msgspec
import numpy as np

from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.limits import channel_reserve_sat, max_value_in_flight_msat

SMALL_FEES = (0, 1, 1000, 1001, 5000)


def random_topology(rng, *, nodes=None, default_rate=False, max_capacity_sat=3_000_000, public=False):
    """Draw 2..12 nodes and some of the pairs between them, with uneven policies and fee rates.

    With ``public``, as the public network has them: parallel channels, inbound fees, disabled directions, fees that
    nobody would pay.
    """
    count = nodes or rng.randint(2, 12)
    pairs = list(itertools.combinations(range(count), 2))
    rng.shuffle(pairs)
    chosen = pairs[: rng.randint(1, min(len(pairs), 3 * count))]
    if public:
        chosen += [rng.choice(chosen) for _ in range(rng.randint(1, 2 * len(chosen)))]
    names = tuple(f"n{index}" for index in range(count))
    channels = tuple(
        random_channel(rng, names[a], names[b], default_rate, max_capacity_sat, public=public) for a, b in chosen
    )
    with warnings.catch_warnings():  # a disconnected network is as good a case as any
        warnings.simplefilter("ignore")
        return Topology(nodes=names, channels=channels)


def random_channel(rng, one, other, default_rate, max_capacity_sat, *, public=False):
    initiator, peer = (one, other) if rng.random() < 0.5 else (other, one)
    capacity_sat = rng.choice([1_000_000, rng.randint(120_000, max_capacity_sat)])
    fee_per_kw = 2500 if default_rate or rng.random() < 0.5 else rng.randint(253, 20_000)
    policies = random_policies(rng, capacity_sat)
    if public:
        policies = ChannelPolicies(
            initiator=public_policy(rng, policies.initiator), peer=public_policy(rng, policies.peer)
        )
    return Channel(initiator=initiator, peer=peer, capacity_sat=capacity_sat, fee_per_kw=fee_per_kw, policies=policies)


def random_policies(rng, capacity_sat, *, uneven_fees=False):
    """Draw both directions' policies; with ``uneven_fees`` few ways cost the same, so that LND has few ties."""
    return ChannelPolicies(
        initiator=random_policy(rng, capacity_sat, uneven_fees), peer=random_policy(rng, capacity_sat, uneven_fees)
    )


def random_policy(rng, capacity_sat, uneven_fees):
    ceiling_msat = int(max_value_in_flight_msat(capacity_sat))
    min_htlc_msat = rng.choice([1, 1000, 1000, 1000, rng.randint(1, 5_000_000)])
    return Policy(
        fee_base_msat=rng.randint(0, 30_000) if uneven_fees else rng.choice([*SMALL_FEES, rng.randint(0, 30_000)]),
        fee_rate_ppm=rng.choice([0, 1, 10, rng.randint(0, 3000), rng.randint(0, 30_000)]),
        time_lock_delta=rng.choice([24, 40, 80, 144, rng.randint(24, 2016)]),
        min_htlc_msat=min_htlc_msat,
        max_htlc_msat=rng.choice([None, None, rng.randint(max(min_htlc_msat, ceiling_msat // 10), ceiling_msat)]),
    )


def public_policy(rng, policy):
    """Give a policy what the public network has besides: inbound fees, the disabled bit, fees that close it."""
    more = {}
    if rng.random() < 0.4:
        more["inbound_fee_base_msat"] = rng.choice([0, 0, -1000, 1000, rng.randint(-30_000, 5000)])
        more["inbound_fee_rate_ppm"] = rng.choice([0, -1, -300, 77, rng.randint(-30_000, 5000), -(2**31)])
    if rng.random() < 0.1:
        more["disabled"] = True
    if rng.random() < 0.05:
        more.update(fee_base_msat=2**31 - 1, fee_rate_ppm=rng.choice([2**31 - 1, 2**32 - 1]))
    return msgspec.structs.replace(policy, **more)


def random_change(rng, topology, *, public):
    """Draw a direction and a policy for it, with its largest HTLC filled in."""
    direction = rng.randrange(2 * len(topology.channels))
    policy = random_policy(rng, topology.channels[direction // 2].capacity_sat, uneven_fees=False)
    return direction, topology.checked_policy(direction, public_policy(rng, policy) if public else policy)


def random_balances(rng, topology):
    """Draw balances that a running channel may have, shape (channels, 2): the initiator keeps its reserve."""
    rows = []
    for total, capacity_sat in zip(
        topology.owned_total_msat.tolist(), topology.arrays.capacity_sat.tolist(), strict=True
    ):
        reserve = 1000 * int(channel_reserve_sat(capacity_sat))
        kind = rng.random()
        if kind < 0.15:
            initiator = total
        elif kind < 0.4:
            initiator = reserve + rng.randint(0, min(30_000_000, total - reserve))
        elif kind < 0.5:
            initiator = total - rng.randint(0, min(2 * reserve, total - reserve))
        else:
            initiator = rng.randint(reserve, total)
        rows.append([initiator, total - initiator])
    return np.array(rows, np.int64)


def random_amount(rng, largest_msat=1_000_000_000):
    kind = rng.random()
    if kind < 0.1:
        return rng.randint(1, 1_000_000)
    if kind < 0.3:
        return 1000 * rng.randint(1, 100_000)
    return rng.randint(1, largest_msat) if kind < 0.6 else int(10 ** rng.uniform(4, np.log10(largest_msat)))


def random_payment(rng, topology):
    """Draw sender, receiver, amount and fee limit."""
    sender, receiver = rng.sample(range(len(topology.nodes)), 2)
    amount = random_amount(rng)
    limit = rng.choice([0, amount // 20, amount // 20, amount, rng.randint(0, 1_000_000), 10**9])
    return sender, receiver, amount, limit


def random_route(rng, topology):
    """Draw a push, or a cycle over pairwise different nodes; now and then there and back over one channel."""
    arrays = topology.arrays
    first = rng.randrange(len(arrays.source))
    if rng.random() < 0.3:
        return [first]
    if rng.random() < 0.1:
        return [first, first ^ 1]
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
            return [*route, homeward[0]]
        onward = [d for d in onward if d not in homeward]
        if not onward:
            return [*route, homeward[0]] if homeward else [first]
        route.append(rng.choice(onward))
        seen.add(int(arrays.destination[route[-1]]))
