"""Networks like the public Lightning network: degrees, capacities, policies, and what plain graphs leave out.

Figures that the draws follow, and where they were measured:

============================ ===================================================================================
degrees, channels by size    12,041 nodes with 46,978 channels, November 2024 (plebdashboard, ``node_rank.csv``)
fee rates                    quantiles of August 2026 (1ML); a tenth of all ends at 0 ppm (plebdashboard, 2024)
base fees                    40 % at 0 (plebdashboard, 2024), median 437 msat (1ML, 2026)
time locks, max_htlc         99 well-linked nodes, March 2024 (Warnet, ``LN_100.json``); disabled ends likewise
parallel channels            8.9 % of pairs, 18.9 % of channels, December 2020 (CLoTH)
inbound fees                 2 % of ends in February 2025, 95 % of them without a base (rust-lightning, issue 3590)
one operator's node          1,299 nodes of 10 to 60 channels: medians 18 channels, 67 M sat (plebdashboard, 2024)
============================ ===================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.errors import ConfigError, TopologyError
from lnsim_gym.network.drawing import Share, assemble, make_rng, quantile, require_size, with_initiators
from lnsim_gym.network.limits import max_value_in_flight_msat
from lnsim_gym.network.policies import ChannelPolicies, Policy
from lnsim_gym.network.topology import MAX_WUMBO_FUNDING_SAT, MIN_FUNDING_SAT, Topology

__all__ = [
    "DEGREE_QUANTILES",
    "OWN_NODE",
    "PUBLIC_CAPACITY_QUANTILES_SAT",
    "PUBLIC_FEE_RATE_QUANTILES_PPM",
    "placed",
    "public",
]

DEGREE_QUANTILES: Final[Mapping[float, float]] = {0.0: 1, 0.25: 1, 0.50: 2, 0.75: 4, 0.90: 12, 0.95: 26, 0.99: 97}
"""Channels of a node by quantile. The last percent, up to 2,493 channels in 12,041 nodes, is ``_hub_degree``."""
PUBLIC_CAPACITY_QUANTILES_SAT: Final[Mapping[float, float]] = {
    0.0: MIN_FUNDING_SAT,
    0.096: 100_000,
    0.364: 1_000_000,
    0.849: 10_000_000,
    0.985: 100_000_000,
    1.0: 500_000_000,
}
"""Channel capacities in sat by quantile, from the numbers of channels that carry a size; the last one is a guess."""
PUBLIC_FEE_RATE_QUANTILES_PPM: Final[Mapping[float, float]] = {
    0.10: 1,
    0.25: 1,
    0.50: 150,
    0.75: 633,
    0.95: 2_863,
    1.0: 10_000,
}
"""Fee rates in ppm by quantile; a tenth of all ends is at 0. The last one is a guess."""
_CALL: Final = re.compile(r"\s*public\s*\((.*)\)\s*", re.DOTALL)
OWN_NODE: Final = "own"
"""Name of the node that ``own_channels`` adds."""

_HUB_SHARE: Final = 2_493 / 12_041
"""Channels of the largest node for each node of the network."""
_FREE_RATE: Final = 0.10
_BASE_QUANTILES_MSAT: Final[Mapping[float, float]] = {0.40: 10, 0.50: 437, 0.58: 1_000, 0.97: 1_000, 1.0: 5_000}
_FREE_BASE: Final = 0.40
_TIME_LOCKS: Final[Mapping[int, float]] = {80: 0.34, 40: 0.25, 144: 0.15, 34: 0.10, 100: 0.10, 60: 0.06}
"""Shares of time locks; the three least ones are guesses."""
_MAX_HTLC_QUANTILES: Final[Mapping[float, float]] = {0.0: 0.01, 0.05: 0.10, 0.10: 0.45, 0.25: 0.99, 1.0: 0.99}
_INBOUND_QUANTILES_PPM: Final[Mapping[float, float]] = {0.0: 10, 0.50: 150, 1.0: 1_000}
"""Sizes of inbound discounts: no source has them."""
_INBOUND_WITH_BASE: Final = 0.05
_SIZE_WEIGHT: Final = 0.95
"""How much of a channel's capacity follows from its two nodes, the rest being the channel's own: with it the capacities
of nodes are those of November 2024 (median 1.1 M sat, 90 % below 44.5 M, 99 % below 1,090 M), and those of nodes with
10 to 60 channels (quartiles 28.6, 66.7 and 140 M sat) up to half above."""
_SMALLER_WEIGHT: Final = 0.6
"""How much of that comes from the node with fewer channels."""
_WEALTH_WEIGHT: Final = 0.6
"""How much the wealth of nodes counts beside their numbers of channels, which it does not depend on."""
_NODE_PRICE_WEIGHT: Final = 0.75
"""How much of a fee rate is the node's own level; the rest differs from channel to channel."""


def placed(topology: Any, *, graph: int | None = None, position: int | None = None) -> str:
    """Return a call of ``public`` as settings hold it, with another graph, or another place of the own node in it.

    Args:
        topology: The call, such as ``"public(own_channels = 18)"``.
        graph: Its ``seed``; left as it is by default.
        position: Its ``own_seed``; left as it is by default.

    Raises:
        ConfigError: It is something else, or names itself what is to be set.
    """
    chosen = {name: seed for name, seed in (("seed", graph), ("own_seed", position)) if seed is not None}
    call = _CALL.fullmatch(topology) if isinstance(topology, str) else None
    if call is None or any(re.search(rf"\b{name}\b", call[1]) for name in chosen):
        raise ConfigError(
            f'expected a topology "public(...)" that leaves {" and ".join(chosen)} open, got {topology!r}'
        )
    arguments = ", ".join([*filter(None, [call[1].strip()]), *(f"{name} = {seed}" for name, seed in chosen.items())])
    return f"public({arguments})"


def public(
    nodes: int = 1_000,
    channels: int | None = None,
    seed: int = 0,
    *,
    parallel_share: float = 0.189,
    disabled_share: float = 0.035,
    inbound_share: float = 0.02,
    own_channels: int = 0,
    own_capacity_sat: int = 67_000_000,
    own_seed: int = 0,
    initiator_share: Share = None,
) -> Topology:
    """Return a connected network with the public one's degrees, capacities and policies; see the module for sources.

    Node degrees are drawn from quantiles and realised by preferential attachment to them. Large and rich nodes
    have large channels (a Gaussian copula), and a node's fee rates lie around a level of its
    own (likewise). All figures are parameters of the public network as a whole, not of any node of it.

    Args:
        nodes: Number of nodes, at least 4, the own one not counted.
        channels: Number of channels without those of the own node; by default as the degrees have it.
        seed: Fixes all of the network but the own node.
        parallel_share: Share of channels whose two nodes have more than one with each other.
        disabled_share: Share of channel ends that are disabled.
        inbound_share: Share of channel ends with an inbound discount.
        own_channels: Channels of a further node named ``own``, to as many peers, drawn by their degrees; 0 for none.
        own_capacity_sat: Capacity of all own channels together, in sat.
        own_seed: Decides where in the network the own node is, and nothing else.
        initiator_share: Bounds of the initiator's uniform share of the balance; by default it owns everything.

    Raises:
        TopologyError: An argument is out of range.
    """
    require_size("a network like the public one", nodes, 4, (channels or 0) + own_channels)
    for name, share in (("parallel", parallel_share), ("disabled", disabled_share), ("inbound", inbound_share)):
        if not 0 <= share <= 1:
            raise TopologyError(f"{name}_share must lie in 0..1, got {share}")
    rng = make_rng(seed)
    degree = _draw_degrees(nodes, rng)
    count = max(nodes - 1, round(degree.sum() / 2)) if channels is None else channels
    ends = with_initiators(_join(degree, count, parallel_share, rng), rng)
    capacity_sat = _draw_capacities_sat(degree, ends, rng)
    policies = _draw_policies(ends, capacity_sat, disabled_share, inbound_share, rng)
    names = [f"n{index}" for index in range(nodes)]
    if own_channels:
        own = _place_own(degree, own_channels, own_capacity_sat, own_seed, disabled_share, inbound_share, seed)
        ends, capacity_sat = np.concatenate([ends, own[0]]), np.concatenate([capacity_sat, own[1]])
        policies += own[2]
        names.append(OWN_NODE)
    return assemble(len(names), ends, capacity_sat, policies, rng, initiator_share, names)


def _place_own(
    degree: Int64,
    channels: int,
    capacity_sat: int,
    own_seed: int,
    disabled_share: float,
    inbound_share: float,
    seed: int,
) -> tuple[Int64, Int64, list[ChannelPolicies]]:
    """Draw the own node's channels: their ends, shape (channels, 2), their capacities in sat, and their policies."""
    nodes = len(degree)
    if not 1 <= channels <= nodes:
        raise TopologyError(f"own_channels must lie in 0..{nodes}, one for each peer, got {channels}")
    least_sat, most_sat = channels * MIN_FUNDING_SAT, channels * MAX_WUMBO_FUNDING_SAT
    if not least_sat <= capacity_sat <= most_sat:
        raise TopologyError(
            f"own_capacity_sat of {channels} channels must lie in {least_sat:,}..{most_sat:,}, got {capacity_sat:,}"
        )
    rng = make_rng(seed, own_seed)
    peers = rng.choice(nodes, channels, replace=False, p=degree / degree.sum())
    share = np.exp(0.8 * rng.standard_normal(channels))
    spare_sat = capacity_sat - least_sat
    own_sat = MIN_FUNDING_SAT + (spare_sat * share / share.sum()).astype(np.int64)
    own_sat[0] += capacity_sat - own_sat.sum()
    ends = with_initiators(np.stack([np.full(channels, nodes), peers], axis=1).astype(np.int64), rng)
    own_sat = np.minimum(own_sat, MAX_WUMBO_FUNDING_SAT)
    return ends, own_sat, _draw_policies(ends, own_sat, disabled_share, inbound_share, rng)


def _draw_degrees(nodes: int, rng: np.random.Generator) -> Int64:
    """Draw how many channels each node wants, shape (nodes,), the largest first."""
    hub = max(DEGREE_QUANTILES[0.99], _HUB_SHARE * nodes)
    degree = quantile({**DEGREE_QUANTILES, 1.0: hub}, rng.random(nodes))
    return np.sort(np.minimum(degree, nodes - 1))[::-1]


def _join(degree: Int64, channels: int, parallel_share: float, rng: np.random.Generator) -> Int64:
    """Return the two ends of each channel, shape (channels, 2), of a connected network with degrees near those wanted.

    The share of channels in pairs with several is made of pairs with 2.39 channels on average, as measured.

    Raises:
        TopologyError: There are fewer channels than a connected network has, or more than there are pairs.
    """
    nodes = len(degree)
    doubled = round(channels * parallel_share / 2.39) if parallel_share else 0
    pairs = channels - min(max(round(channels * parallel_share) - doubled, 0), channels - (nodes - 1))
    most = nodes * (nodes - 1) // 2
    if channels < nodes - 1 or pairs > most:
        raise TopologyError(
            f"a connected network of {nodes:,} nodes has at least {nodes - 1:,} channels, and at most {most:,} pairs "
            f"of nodes with one, got {channels:,} channels"
        )
    before = np.cumsum(degree, dtype=np.float64)
    newcomer = np.arange(1, nodes)
    partner = np.searchsorted(before, rng.random(nodes - 1) * before[newcomer - 1], side="right")
    tree = np.stack([np.minimum(partner, newcomer - 1), newcomer], axis=1)
    joined = np.concatenate([tree, _more_pairs(tree, degree, pairs - (nodes - 1), rng)])
    return np.concatenate([joined, _doubles(joined, degree, doubled, channels - pairs, rng)]).astype(np.int64)


def _more_pairs(tree: Int64, degree: Int64, count: int, rng: np.random.Generator) -> Int64:
    """Draw pairs of nodes that are not joined yet, by what their degrees still lack, shape (count, 2)."""
    nodes = len(degree)
    taken = np.unique(tree[:, 0] * nodes + tree[:, 1])
    fresh = np.zeros(0, np.int64)
    while len(fresh) < count:
        joined = np.concatenate([taken, fresh])
        have = np.bincount(np.concatenate(np.divmod(joined, nodes)), minlength=nodes)
        lack = np.maximum(degree - have, 0.02 * degree)
        drawn = rng.choice(nodes, (max(64, count - len(fresh)), 2), p=lack / lack.sum())
        low, high = drawn.min(axis=1), drawn.max(axis=1)
        keys = np.unique((low * nodes + high)[low < high])
        keys = keys[~np.isin(keys, joined)]
        fresh = np.concatenate([fresh, rng.permutation(keys)[: count - len(fresh)]])
    return np.stack(np.divmod(fresh, nodes), axis=1)


def _doubles(joined: Int64, degree: Int64, pairs: int, count: int, rng: np.random.Generator) -> Int64:
    """Draw the further channels of pairs that have several, more among large nodes, shape (count, 2)."""
    if not count:
        return np.zeros((0, 2), np.int64)
    weight = np.sqrt(degree[joined].prod(axis=1).astype(np.float64))
    pairs = min(max(pairs, 1), len(joined), count)
    chosen = rng.choice(len(joined), pairs, replace=False, p=weight / weight.sum())
    doubles: Int64 = joined[np.concatenate([chosen, rng.choice(chosen, count - pairs)])]
    return doubles


def _draw_capacities_sat(degree: Int64, ends: Int64, rng: np.random.Generator) -> Int64:
    """Draw the capacity of each channel in sat: large between large nodes and between rich ones, by a copula."""
    score = _normal_scores(degree + rng.random(len(degree)))
    rank = ((score - score.min()) ** 3)[ends]  # among large nodes a difference weighs more than among small ones
    size = _SMALLER_WEIGHT * rank.min(axis=1) + (1 - _SMALLER_WEIGHT) * rank.max(axis=1)
    wealth = np.sqrt(2) * rng.standard_normal(len(degree))[ends].mean(axis=1)
    size = size / max(size.std(), 1e-9) + _WEALTH_WEIGHT * wealth
    size = (size - size.mean()) / max(size.std(), 1e-9)
    latent = _SIZE_WEIGHT * size + np.sqrt(1 - _SIZE_WEIGHT**2) * rng.standard_normal(len(ends))
    return quantile(PUBLIC_CAPACITY_QUANTILES_SAT, _ranks(latent))


def _draw_policies(
    ends: Int64, capacity_sat: Int64, disabled_share: float, inbound_share: float, rng: np.random.Generator
) -> list[ChannelPolicies]:
    """Draw the policies of both directions of each channel."""
    count, nodes = 2 * len(ends), int(ends.max()) + 1
    source = ends.ravel()
    level = rng.standard_normal(nodes)
    price = _NODE_PRICE_WEIGHT * level[source] + np.sqrt(1 - _NODE_PRICE_WEIGHT**2) * rng.standard_normal(count)
    fee_rate_ppm = _or_free(PUBLIC_FEE_RATE_QUANTILES_PPM, _FREE_RATE, _ranks(price))
    fee_base_msat = _or_free(_BASE_QUANTILES_MSAT, _FREE_BASE, rng.random(nodes))[source]
    time_lock = rng.choice(list(_TIME_LOCKS), nodes, p=list(_TIME_LOCKS.values()))[source]
    share = np.interp(rng.random(count), list(_MAX_HTLC_QUANTILES), list(_MAX_HTLC_QUANTILES.values()))
    most_msat = np.repeat(max_value_in_flight_msat(capacity_sat), 2)
    max_htlc_msat = np.minimum((1000 * share * np.repeat(capacity_sat, 2)).astype(np.int64), most_msat)
    inbound_ppm, inbound_msat = _draw_inbound_fees(count, inbound_share, rng)
    columns: dict[str, list[Any]] = {
        "fee_base_msat": fee_base_msat.tolist(),
        "fee_rate_ppm": fee_rate_ppm.tolist(),
        "time_lock_delta": time_lock.tolist(),
        "max_htlc_msat": max_htlc_msat.tolist(),
        "inbound_fee_rate_ppm": inbound_ppm.tolist(),
        "inbound_fee_base_msat": inbound_msat.tolist(),
        "disabled": (rng.random(count) < disabled_share).tolist(),
    }
    policies = [Policy(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    return [ChannelPolicies(initiator=one, peer=other) for one, other in zip(*[iter(policies)] * 2, strict=True)]


def _draw_inbound_fees(count: int, share: float, rng: np.random.Generator) -> tuple[Int64, Int64]:
    """Draw inbound discounts: ppm and base in msat, each of shape (count,), 0 or negative."""
    has_one = rng.random(count) < share
    has_base: Bool = has_one & (rng.random(count) < _INBOUND_WITH_BASE)
    return np.where(has_one, -quantile(_INBOUND_QUANTILES_PPM, rng.random(count)), 0), np.where(has_base, -1_000, 0)


def _or_free(quantiles: Mapping[float, float], free: float, unit: Float64) -> Int64:
    """Return values at uniform numbers, 0 below a share."""
    values = quantile(quantiles, unit)
    values[unit < free] = 0
    return values


def _ranks(values: Float64) -> Float64:
    """Return the rank of each value as a number in (0, 1), evenly spread."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = (np.arange(len(values)) + 0.5) / max(len(values), 1)
    return ranks


def _normal_scores(values: Float64) -> Float64:
    """Return standard normal values in the order of given ones, by a close fit of the logistic law."""
    ranks = _ranks(values)
    return np.asarray(np.log(ranks / (1 - ranks)) / 1.702)
