"""Action spaces: how an agent's action becomes one rebalance, and which actions its own balances allow.

Every scheme offers the same rebalances: an amount over one of the *routes* of the operation, in one of two
orientations. ``push`` moves along single channels, ``circular`` along cycles back to the paying node. Circular
rebalances whose routes are found when they are taken have schemes of their own, in ``pairs``. Here is neither execution
(backends) nor reward.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import index
from typing import Any, Final

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Float64, Int8, Int64
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.tasks.base import ActionScheme, as_array
from lnsim_gym.tasks.liquidity.routes import NO_OP, ChannelPairs, RebalanceRoutes

__all__ = [
    "DEAD_ZONE",
    "BoxActions",
    "DictActions",
    "DiscreteActions",
    "ExactRebalance",
    "ListedActions",
    "MultiDiscreteActions",
    "RebalanceActions",
    "columns_of",
    "decisions",
    "lazy_rows",
    "make_actions",
    "objects",
]

DEAD_ZONE: Final = 0.05
"""Share of the largest size below which a continuous action does nothing."""


@dataclass(frozen=True, slots=True)
class ExactRebalance:
    """A rebalance of any amount, which ``LightningNetEnv.step`` takes in place of an action of its space."""

    row: int
    """Row of the environment's ``RebalanceRoutes`` or ``ChannelPairs``; with ``push``, the direction index."""
    amount_msat: int

    def check(self, routes: RebalanceRoutes | ChannelPairs) -> None:
        """Refuse what no action could mean.

        Raises:
            InvalidAction: There is no such row, or the amount is not in 1 msat..the smallest channel's capacity.
        """
        for what, value in (("row", self.row), ("amount_msat", self.amount_msat)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise InvalidAction(f"expected an integer as {what}, got {value!r}")
        if not routes.has(self.row):
            raise InvalidAction(f"expected {routes.what}, got {self.row}")
        most_msat = 1000 * int(routes.unit_sat(self.row))
        if not 1 <= self.amount_msat <= most_msat:
            raise InvalidAction(f"expected amount_msat in 1..{most_msat}, got {self.amount_msat}")


def decisions(row: Int64, amount_msat: Int64) -> Int64:
    """Return the decisions to send amounts over rows of the routes, or to do nothing over ``NO_OP``.

    Args:
        row: Shape (n,).
        amount_msat: Shape (n,).

    Returns:
        Shape (n, 2).
    """
    return np.stack([row, amount_msat], axis=1).astype(np.int64)


class RebalanceActions(ActionScheme):
    """How actions of one space become rebalances.

    Args:
        routes: The routes of the operation.
        sizes: Amounts an action may choose, as shares of the smallest channel on the route, in (0, 1].
    """

    amounts_msat: Int64
    """Amount of each option in msat: of each (row, size) of listed routes, the least of each (end, size) of pairs."""

    def __init__(self, routes: RebalanceRoutes | ChannelPairs, sizes: tuple[float, ...]) -> None:
        if not sizes or not all(0 < size <= 1 for size in sizes) or list(sizes) != sorted(set(sizes)):
            raise ConfigError(f"action_sizes must be increasing shares in (0, 1], got {list(sizes)}")
        self.routes = routes
        self.sizes = sizes

    def decode_one(self, action: Any) -> memoryview:
        """Turn one action, or an ``ExactRebalance``, into a decision; see ``ActionScheme.decode_one``."""
        return self._exact(action) if isinstance(action, ExactRebalance) else super().decode_one(action)

    @abstractmethod
    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """Turn rebalances into a batch of actions, the reverse of ``decode``.

        Args:
            row: Rows of ``routes``, or ``NO_OP``, shape (batch,).
            size: Indices into ``sizes``, shape (batch,).

        Returns:
            Actions of ``space``, stacked along a first axis.
        """

    def _exact(self, rebalance: ExactRebalance) -> memoryview:
        """Return the decision to do an exact rebalance."""
        rebalance.check(self.routes)
        decision: memoryview = np.array([rebalance.row, rebalance.amount_msat], np.int64).data
        return decision

    def _amounts_msat(self, row: Int64, share: Float64) -> Int64:
        """Return shares of what rows carry at most, in whole sat, in msat; both of shape (n,)."""
        amount_sat: Int64 = np.floor(share * self.routes.unit_sat(row)).astype(np.int64)
        return 1000 * amount_sat


class ListedActions(RebalanceActions):
    """Actions over routes that are listed.

    Args:
        routes: The routes of the operation.
        sizes: See ``RebalanceActions``.
    """

    routes: RebalanceRoutes

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        shares = np.array(sizes)
        self.amounts_msat = 1000 * np.floor(routes.smallest_capacity_sat[:, None] * shares).astype(np.int64)

    def _by_route(self, allowed: Int8) -> Int8:
        """Return whether either orientation of each route can carry the smallest size, shape (batch, routes)."""
        forward, reversed_ = (allowed[:, 1 + way * len(self.sizes) :: 2 * len(self.sizes)] for way in (0, 1))
        return forward | reversed_


class lazy_rows(dict[int, memoryview]):  # noqa: N801 - used like a function
    """The rows of an array, each made a memory view when it is first asked for."""

    def __init__(self, rows: Int64) -> None:
        super().__init__()
        self._rows = rows

    def __missing__(self, row: int) -> memoryview:
        """Make and keep a row."""
        view: memoryview = self._rows[row].data
        self[row] = view
        return view


class DiscreteActions(ListedActions):
    """``Discrete(1 + rows * sizes)``: 0 does nothing, ``1 + row * sizes + size`` sends that size over that row."""

    space: gym.spaces.Discrete

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        rows = np.repeat(np.arange(len(routes.hops)), len(sizes))
        amounts_msat = np.concatenate([[0], self.amounts_msat.ravel()])
        self._decisions: Int64 = decisions(np.concatenate([[NO_OP], rows]), amounts_msat)
        self._rows = lazy_rows(self._decisions)
        self.space = gym.spaces.Discrete(len(self._decisions))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle what it is made of."""
        return DiscreteActions, (self.routes, self.sizes)

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        choices = as_array(actions)
        count = len(self._decisions)
        if choices.dtype.kind not in "iu" or choices.ndim != 1 or ((choices < 0) | (choices >= count)).any():
            raise InvalidAction(f"expected integers in 0..{count - 1}, got {actions!r}")
        chosen: Int64 = self._decisions[choices]
        return chosen

    def decode_one(self, action: Any) -> memoryview:
        """See ``ActionScheme.decode_one``; a plain look-up, as every step of a single environment comes here."""
        try:
            choice = index(action)
            if choice >= 0:
                return self._rows[choice]
        except (TypeError, IndexError):
            if isinstance(action, ExactRebalance):
                return self._exact(action)
        raise InvalidAction(f"expected an integer in 0..{len(self._decisions) - 1}, got {action!r}")

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``."""
        return np.where(row == NO_OP, 0, 1 + row * len(self.sizes) + size)

    def masks_of(self, allowed: Int8) -> Callable[[], Int8]:
        """See ``ActionScheme.masks_of``."""
        return allowed.copy


class MaskedMultiDiscrete(gym.spaces.MultiDiscrete):
    """A ``MultiDiscrete`` that samples from a mask as sb3-contrib has it: those of all dimensions in one row."""

    def sample(self, mask: Any = None, **options: Any) -> npt.NDArray[np.int64]:  # type: ignore[override]
        """Draw an action.

        Args:
            mask: int8 of shape (sum(nvec),), or as Gymnasium takes it, one array for each dimension.
            **options: Those of Gymnasium.
        """
        if isinstance(mask, np.ndarray):
            mask = tuple(np.split(mask, np.cumsum(self.nvec)[:-1]))
        return super().sample(mask=mask, **options)


class MaskedBox(gym.spaces.Box):
    """A ``Box`` that samples from a mask of its entries: those that are not allowed are 0."""

    def sample(self, mask: Any = None, **options: Any) -> npt.NDArray[Any]:  # type: ignore[override]
        """Draw an action.

        Args:
            mask: int8 of the space's shape, or None to allow every entry.
            **options: Those of Gymnasium.
        """
        drawn = super().sample(**options)
        return drawn if mask is None else np.where(mask, drawn, 0).astype(self.dtype)


class MaskedDict(gym.spaces.Dict):
    """A ``Dict`` of ``route`` and ``share`` that samples from a mask of its routes: without any, the share is 0."""

    def sample(self, mask: Any = None, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """Draw an action.

        Args:
            mask: int8 of shape (routes,), or as Gymnasium takes it, a dict with a mask for each entry.
            **options: Those of Gymnasium.
        """
        if not isinstance(mask, np.ndarray):
            return super().sample(mask=mask, **options)
        drawn = super().sample(mask={"route": mask, "share": None}, **options)
        return drawn if mask.any() else {**drawn, "share": np.zeros_like(drawn["share"])}


class MultiDiscreteActions(ListedActions):
    """``MultiDiscrete([routes, 2, sizes + 1])``: route, orientation (1 is reversed), and size (0 does nothing)."""

    space: gym.spaces.MultiDiscrete

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        self._shape = np.array([len(routes.hops) // 2, 2, len(sizes) + 1], np.int64)
        self.space = MaskedMultiDiscrete(self._shape)

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        picks = as_array(actions)
        fits = picks.dtype.kind in "iu" and picks.ndim == 2 and picks.shape[1] == 3
        if not fits or ((picks < 0) | (picks >= self._shape)).any():
            raise InvalidAction(f"expected rows of integers below {self._shape.tolist()}, got {actions!r}")
        row = 2 * picks[:, 0] + picks[:, 1]
        size = picks[:, 2] - 1
        idle = size < 0
        amount_msat = self.amounts_msat[row, np.maximum(size, 0)]
        return decisions(np.where(idle, NO_OP, row), np.where(idle, 0, amount_msat))

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


class BoxActions(ListedActions):
    """``Box(-1, 1, (routes,))``: the entry of largest magnitude acts, the others are ignored.

    Its sign is the orientation (positive is forward), its magnitude the share of the largest size that is sent. A
    magnitude below ``DEAD_ZONE`` does nothing.
    """

    space: gym.spaces.Box

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        self.space = MaskedBox(-1.0, 1.0, (len(routes.hops) // 2,), np.float32)

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        given = as_array(actions)
        fits = given.dtype.kind in "fiu" and given.ndim == 2 and given.shape[1] == self.space.shape[0]
        values = given.astype(np.float64) if fits else np.full((1, 1), np.nan)
        if not (np.abs(values) <= 1).all():
            raise InvalidAction(f"expected {self.space.shape[0]} numbers in -1..1 per action, got {actions!r}")
        route = np.abs(values).argmax(axis=1)
        value = values[np.arange(len(values)), route]
        row = 2 * route + (value < 0)
        share = np.abs(value)
        idle = share < DEAD_ZONE
        amount_msat = self._amounts_msat(row, share * self.sizes[-1])
        return decisions(np.where(idle, NO_OP, row), np.where(idle, 0, amount_msat))

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``."""
        share = np.array(self.sizes)[size] / self.sizes[-1]
        actions = np.zeros((len(row), *self.space.shape), np.float32)
        acting = np.flatnonzero(row != NO_OP)
        actions[acting, row[acting] // 2] = np.where(row[acting] % 2, -share[acting], share[acting])
        return actions

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: one entry per route, 1 when either orientation can carry the smallest size."""
        return self._by_route(allowed)


class DictActions(ListedActions):
    """``Dict(route=Discrete(routes), share=Box(-1, 1, (1,)))``: small however many routes there are.

    The sign of ``share`` is the orientation (positive is forward), its magnitude the share of the largest size that is
    sent. A magnitude below ``DEAD_ZONE`` does nothing.
    """

    space: gym.spaces.Dict

    def __init__(self, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        self.space = MaskedDict(
            route=gym.spaces.Discrete(len(routes.hops) // 2), share=gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        )

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        route, value = columns_of(actions, self.space)
        row = 2 * route + (value < 0)
        share = np.abs(value)
        idle = share < DEAD_ZONE
        amount_msat = self._amounts_msat(row, share * self.sizes[-1])
        return decisions(np.where(idle, NO_OP, row), np.where(idle, 0, amount_msat))

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``; the actions are dicts in an array of objects."""
        share = np.where(row == NO_OP, 0.0, np.array(self.sizes)[size] / self.sizes[-1])
        value = np.where(row % 2, -share, share)
        return objects(route=np.maximum(row, 0) // 2, share=value[:, None].astype(np.float32))

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: one entry per route, 1 when either orientation can carry the smallest size."""
        return self._by_route(allowed)


def columns_of(actions: Any, space: gym.spaces.Dict) -> list[npt.NDArray[Any]]:
    """Return the entries of a batch of dict actions as columns of shape (n,), in the order of the space.

    Args:
        actions: A dict of arrays with a first axis of length n, or n dicts.
        space: Of one action: entries ``Discrete``, or ``Box`` of one number.

    Raises:
        InvalidAction: They are no such actions, or outside the space.
    """
    columns: list[npt.NDArray[Any]] = []
    for name, entry in space.items():
        try:
            given = actions[name] if isinstance(actions, Mapping) else [action[name] for action in actions]
            column = np.asarray(given)
            column = column.reshape(len(column))
        except (TypeError, ValueError, KeyError, IndexError):
            raise InvalidAction(f"expected dicts with {', '.join(space)} as in {space}, got {actions!r}") from None
        if isinstance(entry, gym.spaces.Discrete):
            kind: type = np.int64
            fits = column.dtype.kind in "iu" and bool(((column >= 0) & (column < entry.n)).all())
        else:
            kind = np.float64
            fits = column.dtype.kind in "iuf" and all(entry.contains(np.array([one], np.float32)) for one in column)
        if not fits:
            raise InvalidAction(f"expected {name} in {entry}, got {actions!r}")
        columns.append(column.astype(kind))
    return columns


def objects(**columns: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return dicts in an array of objects, shape (n,), for columns with a first axis of length n."""
    rows = np.empty(len(next(iter(columns.values()))), object)
    for place in range(len(rows)):
        rows[place] = {name: column[place] for name, column in columns.items()}
    return rows


SCHEMES: Final[dict[str, type[ListedActions]]] = {
    "discrete": DiscreteActions,
    "multidiscrete": MultiDiscreteActions,
    "box": BoxActions,
    "dict": DictActions,
}
"""Action schemes by the name a config uses."""


def make_actions(name: str, routes: RebalanceRoutes, sizes: tuple[float, ...]) -> ListedActions:
    """Return the action scheme of that name for listed routes."""
    return SCHEMES[name](routes, sizes)
