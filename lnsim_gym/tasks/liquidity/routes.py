"""The routes that a rebalance may take: single channels for ``push``, cycles for ``circular``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology

__all__ = ["MAX_REBALANCE_ROUTES", "NO_OP", "Operation", "RebalanceRoutes", "exceeds_fee_limit", "rebalance_routes"]

NO_OP: Final = -1
"""Route index that stands for doing nothing."""
MAX_REBALANCE_ROUTES: Final = 20_000
"""Most routes an action space may offer."""


Operation = Literal["push", "circular"]


@dataclass(frozen=True, slots=True)
class RebalanceRoutes:
    """The routes an operation offers, each in two orientations; row ``2 * r + 1`` is row ``2 * r`` reversed.

    For ``push``, route r is channel r, and the even row lets the initiator pay the peer.
    """

    directions: npt.NDArray[np.int32]  # (rows, longest) direction indices from the paying node, padded with -1
    hops: Int64  # (rows,)
    smallest_capacity_sat: Int64  # (rows,) capacity of the smallest channel of the route: the unit of sizes

    def route(self, row: int) -> tuple[int, ...]:
        """Return the direction indices of a row, empty for ``NO_OP``."""
        return () if row == NO_OP else tuple(self.directions[row, : self.hops[row]].tolist())


def rebalance_routes(operation: Operation, topology: Topology, max_hops: int = 3) -> RebalanceRoutes:
    """List the routes of an operation on a topology, in a fixed order.

    ``push`` has one route per channel, in channel order. ``circular`` has one per simple cycle and paying node on
    it, cycles of at most ``max_hops`` channels, ordered by paying node, then length, then node indices.

    Raises:
        ConfigError: The topology has no route, or more than ``MAX_REBALANCE_ROUTES``.
    """
    if not topology.channels:
        raise ConfigError(f"operation {operation!r} needs a topology with at least one channel")
    if operation == "push":
        forward: list[tuple[int, ...]] = [(2 * channel,) for channel in range(len(topology.channels))]
    else:
        forward = _cycles(topology, max_hops)
    if not forward:
        raise ConfigError(
            f"operation {operation!r} finds no route of up to {max_hops} hops on this topology; use 'push'"
        )
    if len(forward) > MAX_REBALANCE_ROUTES:
        raise ConfigError(
            f"operation {operation!r} finds {len(forward):,} routes, more than {MAX_REBALANCE_ROUTES:,}: "
            "lower circular_max_hops or use 'push'"
        )
    rows = [row for route in forward for row in (route, tuple(d ^ 1 for d in reversed(route)))]
    directions = np.full((len(rows), max(map(len, rows))), -1, np.int32)
    for row, route in zip(directions, rows, strict=True):
        row[: len(route)] = route
    capacity_sat = topology.arrays.capacity_sat
    return RebalanceRoutes(
        directions=directions,
        hops=np.array([len(route) for route in rows], np.int64),
        smallest_capacity_sat=np.array([min(capacity_sat[d >> 1] for d in route) for route in rows], np.int64),
    )


def _cycles(topology: Topology, max_hops: int) -> list[tuple[int, ...]]:
    """List each simple cycle once per paying node on it, as directions, in one of its two orientations."""
    arrays = topology.arrays
    leaving: list[list[tuple[int, int]]] = [[] for _ in topology.nodes]
    for direction, (source, peer) in enumerate(zip(arrays.source.tolist(), arrays.destination.tolist(), strict=True)):
        leaving[source].append((peer, direction))
    found: list[tuple[int, ...]] = []
    for start in range(len(topology.nodes)):
        cycles: list[tuple[int, list[int], tuple[int, ...]]] = []
        paths: list[tuple[list[int], tuple[int, ...]]] = [([start], ())]
        while paths:
            nodes, route = paths.pop()
            for peer, direction in leaving[nodes[-1]]:
                if peer == start and len(route) >= 2 and nodes[1] < nodes[-1]:
                    cycles.append((len(nodes), nodes, (*route, direction)))
                elif peer not in nodes and len(nodes) < max_hops:
                    paths.append(([*nodes, peer], (*route, direction)))
            if len(found) + len(cycles) > MAX_REBALANCE_ROUTES:
                return found + [cycle for *_, cycle in cycles]
        found += [cycle for *_, cycle in sorted(cycles)]
    return found


def exceeds_fee_limit(fee_msat: Any, amount_msat: Any, limit_ppm: Any) -> Any:
    """Return whether the fees of a rebalance are more than it may pay; for numbers and arrays, and compiled in kernels.

    Args:
        fee_msat: Routing fees.
        amount_msat: Amount that is to arrive.
        limit_ppm: Most that the fees may be, in millionths of the amount, rounded down to msat.
    """
    return fee_msat > amount_msat * limit_ppm // 1_000_000
