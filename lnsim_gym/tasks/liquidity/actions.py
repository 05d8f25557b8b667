"""Action spaces: how an agent's action becomes one rebalance, and which actions its own balances allow.

Every scheme offers the same rebalances: an amount over one of the *routes* of the operation, in one of two
orientations. ``push`` moves along single channels, ``circular`` along cycles back to the paying node. Here is
neither execution (backends) nor reward.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int8, Int64
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network import Topology

__all__ = [
    "MAX_REBALANCE_ROUTES",
    "NO_OP",
    "ActionScheme",
    "BoxActions",
    "DiscreteActions",
    "ExactRebalance",
    "MultiDiscreteActions",
    "Operation",
    "RebalanceRoutes",
    "make_actions",
    "rebalance_routes",
]

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
    smallest_capacity_sat: Int64  # (rows,) capacity of the smallest channel on the way: the unit of sizes

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


@dataclass(frozen=True, slots=True)
class ExactRebalance:
    """A rebalance of any amount, which ``LightningNetEnv.step`` takes in place of an action of its space."""

    row: int
    """Row of the environment's ``RebalanceRoutes``; with ``push``, the direction index."""
    amount_msat: int

    def check(self, routes: RebalanceRoutes) -> None:
        """Refuse what no action could mean.

        Raises:
            InvalidAction: There is no such row, or the amount is not in 1 msat..the smallest channel's capacity.
        """
        if not 0 <= self.row < len(routes.hops):
            raise InvalidAction(f"expected a row in 0..{len(routes.hops) - 1}, got {self.row}")
        most_msat = 1000 * int(routes.smallest_capacity_sat[self.row])
        if not 1 <= self.amount_msat <= most_msat:
            raise InvalidAction(f"expected amount_msat in 1..{most_msat}, got {self.amount_msat}")


class ActionScheme(ABC):
    """How actions of one space become rebalances.

    Args:
        routes: The routes of the operation.
        sizes: Amounts an action may choose, as shares of the smallest channel on the route, in (0, 1].
    """

    space: gym.Space[Any]

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> None:
        if not sizes or not all(0 < size <= 1 for size in sizes) or list(sizes) != sorted(set(sizes)):
            raise ConfigError(f"action_sizes must be increasing shares in (0, 1], got {list(sizes)}")
        self.routes = routes
        self.sizes = sizes
        shares = np.array(sizes)
        self.amounts_msat: Int64 = 1000 * np.floor(routes.smallest_capacity_sat[:, None] * shares).astype(np.int64)
        """Amount of each (row, size) in msat, shape (rows, sizes)."""

    @abstractmethod
    def decode(self, actions: Any) -> tuple[Int64, Int64]:
        """Turn a batch of actions into rebalances.

        Args:
            actions: Actions of ``space``, stacked along a first axis.

        Returns:
            Row of ``routes`` (or ``NO_OP``) and amount in msat, each of shape (batch,).

        Raises:
            InvalidAction: An action lies outside the space.
        """

    def decode_one(self, action: Any) -> tuple[int, int]:
        """Turn one action into its row and amount in msat; see ``decode``."""
        row, amount_msat = self.decode(np.asarray(action)[None])
        return int(row[0]), int(amount_msat[0])

    @abstractmethod
    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """Turn rebalances into a batch of actions, the reverse of ``decode``.

        Args:
            row: Rows of ``routes``, or ``NO_OP``, shape (batch,).
            size: Indices into ``sizes``, shape (batch,).

        Returns:
            Actions of ``space``, stacked along a first axis.
        """

    @abstractmethod
    def mask(self, allowed: Int8) -> Int8:
        """Turn what balances allow into a mask over this space's actions.

        Args:
            allowed: 1 for the no-op, then 1 where the paying node's own balance carries the amount, shape
                (batch, 1 + rows * sizes).

        Returns:
            A fresh int8 array of shape (batch, mask length), 1 where an action is allowed; the no-op always is.
        """

    def mask_one(self, allowed: Int8) -> Int8:
        """Turn what one network's balances allow, shape (1 + rows * sizes,), into a mask; see ``mask``."""
        mask: Int8 = self.mask(allowed[None])[0]
        return mask


class DiscreteActions(ActionScheme):
    """``Discrete(1 + rows * sizes)``: 0 does nothing, ``1 + row * sizes + size`` sends that size over that row."""

    space: gym.spaces.Discrete

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        rows = np.repeat(np.arange(len(routes.hops)), len(sizes))
        self._row: Int64 = np.concatenate([[NO_OP], rows]).astype(np.int64)
        self._amount_msat: Int64 = np.concatenate([[0], self.amounts_msat.ravel()]).astype(np.int64)
        self._rebalances = list(zip(self._row.tolist(), self._amount_msat.tolist(), strict=True))
        self.space = gym.spaces.Discrete(len(self._row))

    def decode(self, actions: Any) -> tuple[Int64, Int64]:
        """See ``ActionScheme.decode``."""
        index = np.asarray(actions)
        if index.dtype.kind not in "iu" or ((index < 0) | (index >= len(self._row))).any():
            raise InvalidAction(f"expected integers in 0..{len(self._row) - 1}, got {actions!r}")
        return self._row[index], self._amount_msat[index]

    def decode_one(self, action: Any) -> tuple[int, int]:
        """See ``ActionScheme.decode_one``; a plain look-up, as every step of a single environment comes here."""
        try:
            choice = operator.index(action)
        except TypeError:
            choice = -1
        if 0 <= choice < len(self._rebalances):
            return self._rebalances[choice]
        raise InvalidAction(f"expected an integer in 0..{len(self._rebalances) - 1}, got {action!r}")

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``."""
        return np.where(row == NO_OP, 0, 1 + row * len(self.sizes) + size)

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: one entry per action."""
        return allowed.copy()

    def mask_one(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask_one``."""
        return allowed.copy()


class MultiDiscreteActions(ActionScheme):
    """``MultiDiscrete([routes, 2, sizes + 1])``: route, orientation (1 is reversed), and size (0 does nothing)."""

    space: gym.spaces.MultiDiscrete

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        self._shape = np.array([len(routes.hops) // 2, 2, len(sizes) + 1], np.int64)
        self.space = gym.spaces.MultiDiscrete(self._shape)

    def decode(self, actions: Any) -> tuple[Int64, Int64]:
        """See ``ActionScheme.decode``."""
        picks = np.asarray(actions)
        fits = picks.dtype.kind in "iu" and picks.ndim == 2 and picks.shape[1] == 3
        if not fits or ((picks < 0) | (picks >= self._shape)).any():
            raise InvalidAction(f"expected rows of integers below {self._shape.tolist()}, got {actions!r}")
        row, size = 2 * picks[:, 0] + picks[:, 1], picks[:, 2] - 1
        idle = size < 0
        amount_msat = self.amounts_msat[row, np.maximum(size, 0)]
        return np.where(idle, NO_OP, row).astype(np.int64), np.where(idle, 0, amount_msat).astype(np.int64)

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``."""
        idle = row == NO_OP
        return np.stack([np.where(idle, 0, row // 2), np.where(idle, 0, row % 2), np.where(idle, 0, size + 1)], axis=1)

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: the three dimensions' masks one after the other, as sb3-contrib reads them.

        A value is allowed when some action with it is; combinations may still be refused.
        """
        cube = allowed[:, 1:].reshape(allowed.shape[0], self._shape[0], 2, -1)
        idle = np.ones((allowed.shape[0], 1), np.int8)
        parts = [np.ones((allowed.shape[0], int(self._shape[0]) + 2), np.int8), idle, cube.max(axis=(1, 2))]
        return np.concatenate(parts, axis=1)


class BoxActions(ActionScheme):
    """``Box(-1, 1, (routes,))``: the entry of largest magnitude acts, the others are ignored.

    Its sign is the orientation (positive is forward), its magnitude the share of the largest size that is sent. A
    magnitude below ``DEAD_ZONE`` does nothing.
    """

    DEAD_ZONE: Final = 0.05
    space: gym.spaces.Box

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        self.space = gym.spaces.Box(-1.0, 1.0, (len(routes.hops) // 2,), np.float32)

    def decode(self, actions: Any) -> tuple[Int64, Int64]:
        """See ``ActionScheme.decode``."""
        values = np.asarray(actions, np.float64)
        if values.ndim != 2 or values.shape[1] != self.space.shape[0] or not (np.abs(values) <= 1).all():
            raise InvalidAction(f"expected {self.space.shape[0]} numbers in -1..1 per action, got {actions!r}")
        route = np.abs(values).argmax(axis=1)
        value = values[np.arange(len(values)), route]
        row = 2 * route + (value < 0)
        share = np.abs(value)
        amount_sat = np.floor(share * self.sizes[-1] * self.routes.smallest_capacity_sat[row])
        idle = share < self.DEAD_ZONE
        amount_msat = 1000 * amount_sat.astype(np.int64)
        return np.where(idle, NO_OP, row).astype(np.int64), np.where(idle, 0, amount_msat).astype(np.int64)

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``."""
        share = np.array(self.sizes)[size] / self.sizes[-1]
        actions = np.zeros((len(row), *self.space.shape), np.float32)
        acting = np.flatnonzero(row != NO_OP)
        actions[acting, row[acting] // 2] = np.where(row[acting] % 2, -share[acting], share[acting])
        return actions

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: one entry per route, 1 when either orientation can carry the smallest size."""
        smallest = allowed[:, 1:].reshape(allowed.shape[0], -1, 2, len(self.sizes))[:, :, :, 0]
        masks: Int8 = smallest.max(axis=2)
        return masks


SCHEMES: Final[dict[str, type[ActionScheme]]] = {
    "discrete": DiscreteActions,
    "multidiscrete": MultiDiscreteActions,
    "box": BoxActions,
}
"""Action schemes by the name a config uses."""


def make_actions(name: str, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> ActionScheme:
    """Return the action scheme of that name."""
    return SCHEMES[name](routes, sizes)
