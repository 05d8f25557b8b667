"""Networks made to measure: ring, complete, star, scale-free graphs, and networks like the public one (``public``).

Every function returns a validated ``Topology`` and is a pure function of its arguments: the same seed gives the
same network in every process. Reading networks from files is the business of ``importers``; naming them in a
configuration that of ``load``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import TopologyError
from lnsim_gym.network.drawing import Share, assemble, make_rng, quantile, require_size, with_initiators
from lnsim_gym.network.policies import ChannelPolicies, Policy
from lnsim_gym.network.public import public
from lnsim_gym.network.topology import MAX_FUNDING_SAT, MAX_WUMBO_FUNDING_SAT, MIN_FUNDING_SAT, Topology

__all__ = [
    "CAPACITY_QUANTILES_SAT",
    "FEE_RATE_QUANTILES_PPM",
    "GENERATORS",
    "complete",
    "public",
    "ring",
    "scale_free",
    "star",
]

CAPACITY_QUANTILES_SAT: Final[Mapping[float, float]] = {
    0.0: MIN_FUNDING_SAT,
    0.10: 61_000,
    0.25: 185_000,
    0.50: 800_000,
    0.75: 3_000_000,
    0.90: 10_000_000,
    0.99: 20_000_000,
    1.0: 100_000_000,
}
"""Channel capacities in sat by quantile: public network, December 2020 (6,006 nodes, 30,457 channels).

The two ends are not of the snapshot: LND's smallest channel, and 1 BTC.
"""
FEE_RATE_QUANTILES_PPM: Final[Mapping[float, float]] = {0.0: 1, 0.50: 1, 0.90: 300, 0.99: 4_000, 1.0: 10_000}
"""Fee rates in ppm by quantile: public network, December 2020. The two ends are not of the snapshot."""

_FEE_BASE_MARKS: Final = 5_000
"""Base fees lie 2 msat apart from 1,000 msat, each used once while there are enough: LND breaks ties at random."""


def ring(nodes: int, *, capacity_sat: int = 1_000_000, seed: int = 0, initiator_share: Share = None) -> Topology:
    """Return nodes in a circle, each joined to the next.

    Args:
        nodes: Number of nodes, at least 3.
        capacity_sat: Capacity of every channel in sat.
        seed: Decides which end of each channel is its initiator, and the start balances.
        initiator_share: Bounds of the initiator's uniform share of the balance; by default it owns everything.

    Raises:
        TopologyError: An argument is out of range.
    """
    require_size("a ring", nodes, 3, nodes)
    first = np.arange(nodes)
    return _uniform(nodes, np.stack([first, (first + 1) % nodes], axis=1), capacity_sat, seed, initiator_share)


def complete(nodes: int, *, capacity_sat: int = 1_000_000, seed: int = 0, initiator_share: Share = None) -> Topology:
    """Return nodes that are all joined to each other.

    Args:
        nodes: Number of nodes, at least 2.
        capacity_sat: Capacity of every channel in sat.
        seed: Decides which end of each channel is its initiator, and the start balances.
        initiator_share: Bounds of the initiator's uniform share of the balance; by default it owns everything.

    Raises:
        TopologyError: An argument is out of range.
    """
    require_size("a complete network", nodes, 2, nodes * (nodes - 1) // 2)
    return _uniform(nodes, np.stack(np.triu_indices(nodes, k=1), axis=1), capacity_sat, seed, initiator_share)


def star(nodes: int, *, capacity_sat: int = 1_000_000, seed: int = 0, initiator_share: Share = None) -> Topology:
    """Return a hub, node 0, with every other node as a leaf.

    Args:
        nodes: Number of nodes with the hub, at least 2.
        capacity_sat: Capacity of every channel in sat.
        seed: Decides which end of each channel is its initiator, and the start balances.
        initiator_share: Bounds of the initiator's uniform share of the balance; by default it owns everything.

    Raises:
        TopologyError: An argument is out of range.
    """
    require_size("a star", nodes, 2, nodes - 1)
    leaves = np.arange(1, nodes)
    return _uniform(nodes, np.stack([np.zeros_like(leaves), leaves], axis=1), capacity_sat, seed, initiator_share)


def scale_free(
    nodes: int, channels: int, seed: int = 0, *, wumbo: bool = True, initiator_share: Share = None
) -> Topology:
    """Return a connected Barabási-Albert graph with the public network's capacities and fee rates.

    Each new node joins ``m`` nodes drawn in proportion to their degree, with the largest ``m`` for which
    ``m * (nodes - m) <= channels``; channels between random pairs fill up the number. Capacities and fee rates are
    drawn by inverse transform from the quantiles of the public network of December 2020
    (``CAPACITY_QUANTILES_SAT``, ``FEE_RATE_QUANTILES_PPM``), interpolated linearly in the logarithm. The initiator
    is a random end.

    Args:
        nodes: Number of nodes, at least 2.
        channels: Number of channels, at least ``nodes - 1``.
        seed: Fixes the whole network.
        wumbo: Whether channels above 16,777,215 sat may exist; when not, larger draws are cut to that.
        initiator_share: Bounds of the initiator's uniform share of the balance; by default it owns everything.

    Raises:
        TopologyError: An argument is out of range.
    """
    require_size("a scale-free network", nodes, 2, channels)
    most = nodes * (nodes - 1) // 2
    if not nodes - 1 <= channels <= most:
        raise TopologyError(
            f"a connected network of {nodes:,} nodes has {nodes - 1:,}..{most:,} channels, got {channels:,}"
        )
    rng = make_rng(seed)
    ends = _preferential_attachment(nodes, channels, rng)
    largest_sat = MAX_WUMBO_FUNDING_SAT if wumbo else MAX_FUNDING_SAT
    capacity_sat = np.minimum(quantile(CAPACITY_QUANTILES_SAT, rng.random(channels)), largest_sat)
    fee_rate_ppm = quantile(FEE_RATE_QUANTILES_PPM, rng.random(2 * channels))
    marks = rng.choice(_FEE_BASE_MARKS, 2 * channels, replace=2 * channels > _FEE_BASE_MARKS)
    policies = [
        Policy(fee_base_msat=base, fee_rate_ppm=rate)
        for base, rate in zip((1000 + 2 * marks).tolist(), fee_rate_ppm.tolist(), strict=True)
    ]
    pairs = [ChannelPolicies(initiator=policies[2 * c], peer=policies[2 * c + 1]) for c in range(channels)]
    return assemble(nodes, with_initiators(ends, rng), capacity_sat, pairs, rng, initiator_share)


GENERATORS: Final[Mapping[str, Callable[..., Topology]]] = {
    "ring": ring,
    "complete": complete,
    "star": star,
    "scale_free": scale_free,
    "public": public,
}
"""The generators by the name a configuration uses."""


def _uniform(nodes: int, ends: Int64, capacity_sat: int, seed: int, initiator_share: Share) -> Topology:
    """Return a topology whose channels all have one capacity and default policies."""
    rng = make_rng(seed)
    capacities_sat = np.full(len(ends), capacity_sat)
    return assemble(nodes, with_initiators(ends, rng), capacities_sat, [None] * len(ends), rng, initiator_share)


def _preferential_attachment(nodes: int, channels: int, rng: np.random.Generator) -> Int64:
    """Return the two ends of each channel, shape (channels, 2): preferential attachment, then random pairs."""
    per_node = next(m for m in range(nodes // 2, 0, -1) if m * (nodes - m) <= channels)
    drawn_by_degree = [0] * per_node + list(range(1, per_node + 1))
    edges = [(0, node) for node in range(1, per_node + 1)]
    for node in range(per_node + 1, nodes):
        targets: dict[int, None] = {}
        while len(targets) < per_node:
            for place in rng.integers(len(drawn_by_degree), size=per_node - len(targets)).tolist():
                targets[drawn_by_degree[place]] = None
        edges.extend((target, node) for target in targets)
        drawn_by_degree.extend(targets)
        drawn_by_degree.extend([node] * per_node)
    return np.array(edges + _random_pairs(nodes, channels - len(edges), set(edges), rng), np.int64)


def _random_pairs(
    nodes: int, count: int, taken: set[tuple[int, int]], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Draw pairs of nodes without repetition that are not taken yet, smaller index first."""
    if 2 * (len(taken) + count) > nodes * (nodes - 1) // 4:
        first, second = np.triu_indices(nodes, k=1)
        free = [pair for pair in zip(first.tolist(), second.tolist(), strict=True) if pair not in taken]
        return [free[place] for place in rng.choice(len(free), count, replace=False).tolist()]
    fresh: dict[tuple[int, int], None] = {}
    while len(fresh) < count:
        for one, other in rng.integers(nodes, size=(count - len(fresh), 2)).tolist():
            pair = (min(one, other), max(one, other))
            if one != other and pair not in taken:
                fresh[pair] = None
    return list(fresh)
