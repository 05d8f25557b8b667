"""What every generator of networks draws with: a seeded source, quantiles, initiators, names and start balances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.errors import TopologyError
from lnsim_gym.network.limits import DEFAULT_FEE_PER_KW, channel_reserve_sat, least_initiator_sat, owned_total_sat
from lnsim_gym.network.policies import ChannelPolicies
from lnsim_gym.network.topology import MAX_FUNDING_SAT, Channel, Topology

__all__ = ["Share", "assemble", "make_rng", "quantile", "require_size", "with_initiators"]

Share = Sequence[float] | None
"""Bounds of an initiator's uniform share of its channel's balance, or None where it owns everything."""


MOST_CHANNELS: Final = 1_000_000
"""Most channels that are drawn, and most nodes; the public network has a tenth of that."""


def require_size(what: str, nodes: int, least: int, channels: int) -> None:
    """Refuse too few nodes, and more nodes or channels than memory may hold."""
    if nodes < least:
        raise TopologyError(f"{what} needs at least {least} nodes, got {nodes}")
    if max(nodes, channels) > MOST_CHANNELS:
        raise TopologyError(
            f"{what} may have up to {MOST_CHANNELS:,} nodes and channels, got {nodes:,} nodes and {channels:,} channels"
        )


def make_rng(seed: int, *more: int) -> np.random.Generator:
    """Return the source of a generator's draws.

    Raises:
        TopologyError: A seed is below 0.
    """
    for one in (seed, *more):
        if one < 0:
            raise TopologyError(f"a generator needs a seed of at least 0, got {one}")
    return np.random.default_rng([seed, *more] if more else seed)


def with_initiators(ends: Int64, rng: np.random.Generator) -> Int64:
    """Draw the initiator of each channel and put it first, shape (channels, 2)."""
    swapped = rng.random(len(ends)) < 0.5
    return np.where(swapped[:, None], ends[:, ::-1], ends)


def assemble(
    nodes: int,
    ends: Int64,
    capacity_sat: Int64,
    policies: Sequence[ChannelPolicies | None],
    rng: np.random.Generator,
    initiator_share: Share,
    names: Sequence[str] | None = None,
) -> Topology:
    """Draw start balances, name the nodes ``n0``, ``n1``, ... unless names are given, and build the topology."""
    names = tuple(names or (f"n{index}" for index in range(nodes)))
    balances = _initiator_balances_sat(capacity_sat, rng, initiator_share)
    channels = tuple(
        Channel(
            initiator=names[initiator], peer=names[peer], capacity_sat=sat, initiator_balance_sat=balance, policies=both
        )
        for (initiator, peer), sat, balance, both in zip(
            ends.tolist(), capacity_sat.tolist(), balances, policies, strict=True
        )
    )
    return Topology(nodes=names, channels=channels, wumbo=bool((capacity_sat > MAX_FUNDING_SAT).any()))


def _initiator_balances_sat(capacity_sat: Int64, rng: np.random.Generator, share: Share) -> Sequence[int | None]:
    """Draw start balances in sat between both sides' reserves, or leave them to the capacity."""
    if share is None:
        return [None] * len(capacity_sat)
    if len(share) != 2 or not 0 <= share[0] <= share[1] <= 1:
        raise TopologyError(f"initiator_share must be two bounds, 0 <= low <= high <= 1, got {list(share)}")
    total_sat = owned_total_sat(capacity_sat, DEFAULT_FEE_PER_KW)
    wanted = np.rint(total_sat * rng.uniform(share[0], share[1], len(capacity_sat))).astype(np.int64)
    reserve_sat = channel_reserve_sat(capacity_sat)
    balances: list[int | None] = np.clip(wanted, least_initiator_sat(capacity_sat), total_sat - reserve_sat).tolist()
    return balances


def quantile(quantiles: Mapping[float, float], unit: Float64) -> Int64:
    """Return the integers at uniform numbers, from quantiles interpolated in the logarithm."""
    logs = np.log([*quantiles.values()])
    return np.rint(np.exp(np.interp(unit, [*quantiles], logs))).astype(np.int64)
