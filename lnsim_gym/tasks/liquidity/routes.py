"""The routes that a rebalance may take: single channels for ``push``; for ``circular`` cycles, or pairs of channels.

A cycle is known beforehand, hop by hop. Of a pair only the channel is known by which the amount leaves its node and the
one by which it comes back: the route between them is found when the action is applied. Large networks have more cycles
than can be listed, but no more pairs than channels squared, and none of them needs to be stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import ConfigError, did_you_mean
from lnsim_gym.network import Topology

__all__ = [
    "MAX_CYCLES",
    "NO_OP",
    "ChannelPairs",
    "CircularRoutes",
    "Operation",
    "RebalanceRoutes",
    "exceeds_fee_limit",
    "node_of_name",
    "rebalance_routes",
]

NO_OP: Final = -1
"""Route index that stands for doing nothing."""
MAX_CYCLES: Final = 20_000
"""Most cycles that are listed."""

Operation = Literal["push", "circular"]
CircularRoutes = Literal["listed", "found"]


@dataclass(frozen=True, slots=True)
class RebalanceRoutes:
    """The routes an operation offers, each in two orientations; row ``2 * r + 1`` is row ``2 * r`` reversed.

    For ``push``, route r is channel r, and the even row lets the initiator pay the peer.
    """

    directions: npt.NDArray[np.int32]  # (rows, longest) direction indices from the paying node, padded with -1
    hops: Int64  # (rows,)
    smallest_capacity_sat: Int64  # (rows,) capacity of the smallest channel of the route: the unit of sizes

    @property
    def what(self) -> str:
        """What a row is, for errors."""
        return f"a row in 0..{len(self.hops) - 1}"

    @property
    def offered(self) -> str:
        """What the routes are, for errors about others."""
        longest = self.directions.shape[1]
        if longest == 1:
            return "one channel"
        return f"a cycle of at most {longest} channels, its directions in order from the paying node"

    def has(self, row: int) -> bool:
        """Whether there is such a row."""
        return 0 <= row < len(self.hops)

    def row_of(self, route: Sequence[int]) -> int | None:
        """Return the row of a route given by its direction indices, None when it is none of these."""
        hops = len(route)
        if not 0 < hops <= self.directions.shape[1]:
            return None
        fits = (self.hops == hops) & (self.directions[:, :hops] == list(route)).all(axis=1)
        return int(fits.argmax()) if fits.any() else None

    def unit_sat(self, row: Any) -> Any:
        """Return the capacity that sizes are shares of, in sat, for a row or an array of rows."""
        return self.smallest_capacity_sat[row]

    def route(self, row: int) -> tuple[int, ...]:
        """Return the direction indices of a row, empty for ``NO_OP``."""
        return () if row == NO_OP else tuple(self.directions[row, : self.hops[row]].tolist())


class ChannelPairs:
    """Pairs of channels of one node: an amount leaves by one and comes back by the other, over a route yet to be found.

    A row is the direction by which the amount leaves the node, times the number of directions, plus the direction by
    which it comes back.

    Args:
        topology: The network.
        own_node: Index of the only node whose channels may be paired; None for those of any node.

    Raises:
        ConfigError: No node that counts has two channels.
    """

    def __init__(self, topology: Topology, own_node: int | None = None) -> None:
        arrays = topology.arrays
        self.directions = len(arrays.source)
        """Directions of the network."""
        order = np.argsort(arrays.source, kind="stable")
        degrees = np.bincount(arrays.source, minlength=len(topology.nodes))
        counting = np.arange(len(topology.nodes)) == own_node if own_node is not None else degrees > 0
        if degrees[counting].max(initial=0) < 2:
            who = "no node has" if own_node is None else f"node {topology.nodes[own_node]!r} does not have"
            raise ConfigError(f"operation 'circular' pairs two channels of a node, but {who} two; use 'push'")
        self.width = int(degrees[counting].max())
        """Channels of the node that has most of them."""
        self.ends: Int64 = np.flatnonzero(counting[arrays.source]).astype(np.int64)
        """Directions out of the nodes that count, in order, shape (ends,)."""
        self._source = arrays.source
        self._capacity_sat = arrays.capacity_sat
        self._leaving = order.astype(np.int64)
        self._first = np.concatenate([[0], np.cumsum(degrees)])

    @property
    def what(self) -> str:
        """What a row is, for errors."""
        return f"leaving direction * {self.directions} + returning direction of two channels of one node as the row"

    @property
    def offered(self) -> str:
        """What the routes are, for errors about others."""
        return "two directions, that by which an amount leaves a node and that by which it comes back to it"

    def row_of(self, route: Sequence[int]) -> int | None:
        """Return the row of a route given by its direction indices, of which the first and the last one count.

        None when they are no such pair.
        """
        if len(route) < 2 or not all(0 <= leg < self.directions for leg in (route[0], route[-1])):
            return None
        row = int(self.row(route[0], route[-1] ^ 1))
        return row if self.has(row) else None

    def row(self, leave: Any, back: Any) -> Any:
        """Return the row of two channels of a node, both given by the direction out of it; for numbers and arrays."""
        return leave * self.directions + (back ^ 1)

    def legs(self, row: Any) -> tuple[Any, Any]:
        """Return the direction by which the amount leaves, and the one by which it comes back."""
        return row // self.directions, row % self.directions

    def has(self, row: int) -> bool:
        """Whether a row pairs two channels of a node that counts."""
        if not 0 <= row < self.directions**2:
            return False
        leave, back = self.legs(row)
        counts = self.ends[min(np.searchsorted(self.ends, leave), len(self.ends) - 1)] == leave
        return bool(counts and self.pairs(np.array(leave), np.array(back ^ 1)))

    def pairs(self, leave: Int64, back: Int64) -> Any:
        """Return whether directions out of nodes are of one node and of different channels, for arrays of one shape."""
        return (self._source[leave] == self._source[back]) & (leave >> 1 != back >> 1)

    def unit_sat(self, row: Any) -> Any:
        """Return the capacity that sizes are shares of, in sat: that of the smaller channel."""
        leave, back = self.legs(row)
        return np.minimum(self._capacity_sat[leave >> 1], self._capacity_sat[back >> 1])

    def nth_of_node(self, end: Int64, place: Int64) -> Int64:
        """Return the direction out of the node of an end over that node's channel at a place in its order.

        Args:
            end: Directions, shape (n,).
            place: Places from 0, shape (n,).

        Returns:
            Shape (n,), -1 where the node has no so many channels.
        """
        first, last = self._first[self._source[end]], self._first[self._source[end] + 1]
        return np.where(first + place < last, self._leaving[np.minimum(first + place, last - 1)], -1)

    def place_in_node(self, end: Int64) -> Int64:
        """Return the place of each direction among those out of its node, the reverse of ``nth_of_node``."""
        places = np.empty(self.directions, np.int64)
        places[self._leaving] = np.arange(self.directions) - self._first[self._source[self._leaving]]
        return places[end]

    @cached_property
    def least_unit_sat(self) -> Int64:
        """Least capacity that sizes of pairs with each end are shares of, in sat, shape (ends,); 0 without a pair."""
        capacity_sat = self._capacity_sat[self._leaving >> 1]
        by_capacity = np.lexsort((capacity_sat, self._source[self._leaving]))
        smallest = self._leaving[by_capacity]
        first, last = self._first[self._source[self.ends]], self._first[self._source[self.ends] + 1]
        alone = last - first < 2
        least = smallest[first]
        other = np.where(least == self.ends, smallest[np.minimum(first + 1, last - 1)], least)
        units = np.minimum(self._capacity_sat[self.ends >> 1], self._capacity_sat[other >> 1])
        return np.where(alone, 0, units)


def node_of_name(topology: Topology, name: str, setting: str) -> int:
    """Return the index of a node that a setting names.

    Raises:
        ConfigError: There is no such node.
    """
    if name not in topology.node_index:
        raise ConfigError(
            f"{setting} names an unknown node {name!r}.{did_you_mean(name, topology.nodes)} "
            f"Known are {len(topology.nodes):,} nodes, such as {', '.join(topology.nodes[:5])}"
        )
    return topology.node_index[name]


def rebalance_routes(
    operation: Operation, topology: Topology, max_hops: int = 3, own_node: int | None = None
) -> RebalanceRoutes:
    """List the routes of an operation on a topology, in a fixed order.

    ``push`` has one route per channel, in channel order. ``circular`` has one per simple cycle and paying node on
    it, cycles of at most ``max_hops`` channels, ordered by paying node, then length, then node indices.

    Args:
        operation: The operation.
        topology: The network.
        max_hops: Longest cycle, in channels.
        own_node: Index of the only node that pays cycles; any node by default.

    Raises:
        ConfigError: The topology has no route, or more than ``MAX_CYCLES`` cycles.
    """
    if not topology.channels:
        raise ConfigError(f"operation {operation!r} needs a topology with at least one channel")
    capacity_sat = topology.arrays.capacity_sat
    if operation == "push":
        directions = np.arange(2 * len(capacity_sat), dtype=np.int32)[:, None]
        return RebalanceRoutes(directions, np.ones(len(directions), np.int64), np.repeat(capacity_sat, 2))
    forward = _cycles(topology, max_hops, range(len(topology.nodes)) if own_node is None else [own_node])
    if not forward:
        raise ConfigError(
            f"operation {operation!r} finds no route of up to {max_hops} hops on this topology; use 'push'"
        )
    if len(forward) > MAX_CYCLES:
        raise ConfigError(
            f"operation {operation!r} finds more than {MAX_CYCLES:,} cycles of up to {max_hops} hops: set "
            "circular_routes='found', name one node as own_node, or lower circular_max_hops"
        )
    rows = [row for route in forward for row in (route, tuple(d ^ 1 for d in reversed(route)))]
    directions = np.full((len(rows), max(map(len, rows))), -1, np.int32)
    for row, route in zip(directions, rows, strict=True):
        row[: len(route)] = route
    return RebalanceRoutes(
        directions=directions,
        hops=np.array([len(route) for route in rows], np.int64),
        smallest_capacity_sat=np.array([min(capacity_sat[d >> 1] for d in route) for route in rows], np.int64),
    )


def _cycles(topology: Topology, max_hops: int, starts: Iterable[int]) -> list[tuple[int, ...]]:
    """List each simple cycle once per paying node on it, as directions, in one of its two orientations.

    Ends early, with more than ``MAX_CYCLES``, where there are more.
    """
    arrays = topology.arrays
    leaving: list[list[tuple[int, int]]] = [[] for _ in topology.nodes]
    for direction, (source, peer) in enumerate(zip(arrays.source.tolist(), arrays.destination.tolist(), strict=True)):
        leaving[source].append((peer, direction))
    found: list[tuple[int, ...]] = []
    for start in starts:
        cycles: list[tuple[int, list[int], tuple[int, ...]]] = []
        paths: list[tuple[list[int], tuple[int, ...]]] = [([start], ())]
        peers = {peer for peer, _ in leaving[start]}
        while paths:
            nodes, route = paths.pop()
            for peer, direction in leaving[nodes[-1]]:
                if peer == start:
                    if _closes(nodes, route, direction):
                        cycles.append((len(nodes), nodes, (*route, direction)))
                elif peer not in nodes and (len(nodes) < max_hops - 1 or (len(nodes) < max_hops and peer in peers)):
                    paths.append(([*nodes, peer], (*route, direction)))
            if len(found) + len(cycles) > MAX_CYCLES:
                return found + [cycle for *_, cycle in cycles]
        found += [cycle for *_, cycle in sorted(cycles)]
    return found


def _closes(nodes: list[int], route: tuple[int, ...], direction: int) -> bool:
    """Return whether a direction back to the first node closes a cycle, in the one orientation that is listed."""
    if len(route) == 1:  # over two channels between the same nodes
        return direction >> 1 > route[0] >> 1
    return len(route) > 1 and nodes[1] < nodes[-1]


def exceeds_fee_limit(fee_msat: Any, amount_msat: Any, limit_ppm: Any) -> Any:
    """Return whether the fees of a rebalance are more than it may pay; for numbers and arrays, and compiled in kernels.

    Args:
        fee_msat: Routing fees.
        amount_msat: Amount that is to arrive.
        limit_ppm: Most that the fees may be, in millionths of the amount, rounded down to msat.
    """
    return fee_msat > amount_msat * limit_ppm // 1_000_000
