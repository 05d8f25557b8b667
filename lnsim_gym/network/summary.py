"""What a network holds, in numbers."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.network.cutting import component_of
from lnsim_gym.network.topology import Topology

__all__ = ["QUANTILES", "NetworkSummary", "summarise"]

QUANTILES: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


class NetworkSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A network in numbers; quantiles are in the order of ``QUANTILES``."""

    nodes: int
    channels: int
    capacity_sat: int
    """Of all channels together."""
    parts: int
    """Connected parts."""
    nodes_of_largest_part: int
    parallel_channels: int
    """Channels between two nodes that share more than one."""
    disabled_directions: int
    inbound_fee_directions: int
    """Directions whose announcing node charges, or gives, for what arrives over them."""
    given_balances: int
    """Channels whose start balances are given."""
    channels_per_node: tuple[float, ...]
    channel_capacity_sat: tuple[float, ...]
    fee_base_msat: tuple[float, ...]
    fee_rate_ppm: tuple[float, ...]
    time_lock_delta: tuple[float, ...]


def summarise(topology: Topology) -> NetworkSummary:
    """Sum a network up."""
    arrays = topology.arrays
    parts = np.unique(component_of(topology.ends, len(topology.nodes)), return_counts=True)[1]
    sharing = np.unique(np.sort(topology.ends, axis=1), axis=0, return_counts=True)[1]
    return NetworkSummary(
        nodes=len(topology.nodes),
        channels=len(topology.channels),
        capacity_sat=int(arrays.capacity_sat.sum()),
        parts=len(parts),
        nodes_of_largest_part=int(parts.max()),
        parallel_channels=int(sharing[sharing > 1].sum()),
        disabled_directions=int(arrays.disabled.sum()),
        inbound_fee_directions=int(np.count_nonzero(arrays.inbound_fee_base_msat | arrays.inbound_fee_rate_ppm)),
        given_balances=int((topology.given_initiator_msat >= 0).sum()),
        channels_per_node=_quantiles(np.bincount(arrays.source, minlength=len(topology.nodes))),
        channel_capacity_sat=_quantiles(arrays.capacity_sat),
        fee_base_msat=_quantiles(arrays.fee_base_msat),
        fee_rate_ppm=_quantiles(arrays.fee_rate_ppm),
        time_lock_delta=_quantiles(arrays.time_lock_delta),
    )


def _quantiles(column: Int64) -> tuple[float, ...]:
    """Return the quantiles of a column; zeros when it is empty."""
    return tuple(np.quantile(column, QUANTILES).tolist()) if column.size else (0.0,) * len(QUANTILES)
