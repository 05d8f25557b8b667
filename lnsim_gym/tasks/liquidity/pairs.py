"""Action spaces for circular rebalances whose routes are found when they are taken.

An action chooses two channels of one node, the one by which an amount leaves it and the one by which it comes back, and
how much: a share of the smaller of the two. Options, which masks are made of, are the channel end by which an amount
leaves and its size, at the least amount that any pair with that end sends; they do not foresee fees.
"""

from __future__ import annotations

from typing import Any, Final

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int8, Int64
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.tasks.base import as_array
from lnsim_gym.tasks.liquidity.actions import (
    DEAD_ZONE,
    MaskedBox,
    MaskedMultiDiscrete,
    RebalanceActions,
    columns_of,
    decisions,
    objects,
)
from lnsim_gym.tasks.liquidity.routes import NO_OP, ChannelPairs

__all__ = ["PairActions", "make_pair_actions"]

MAX_DISCRETE_PAIRS: Final = 200_000
"""Most pairs that a ``Discrete`` space may number: masks have an entry for each of its actions."""


class PairActions(RebalanceActions):
    """Actions over pairs of channels.

    Args:
        routes: The pairs.
        sizes: See ``RebalanceActions``.
    """

    routes: ChannelPairs

    def __init__(self, routes: ChannelPairs, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        self.amounts_msat = 1000 * np.floor(routes.least_unit_sat[:, None] * np.array(sizes)).astype(np.int64)

    def _decisions(self, leave: Int64, back: Int64, share: Any) -> Int64:
        """Return the decisions to send shares of the smaller channel; nothing where a share is 0 or there is no pair.

        Args:
            leave: Directions out of the node, shape (n,).
            back: The same of the channels to come back by, shape (n,); -1 for none.
            share: Shape (n,).
        """
        acts = (back >= 0) & (share > 0) & self.routes.pairs(leave, np.maximum(back, 0))
        row = np.where(acts, self.routes.row(leave, np.maximum(back, 0)), 0)
        return decisions(np.where(acts, row, NO_OP), np.where(acts, self._amounts_msat(row, share), 0))

    def _legs_out(self, row: Int64) -> tuple[Int64, Int64]:
        """Return the directions out of the node of both channels of rows, those of some pair where nothing is done."""
        leave, back = self.routes.legs(row)
        idle = row == NO_OP
        end = self.routes.ends[0]
        return np.where(idle, end, leave), np.where(idle, end, back ^ 1)

    def _share(self, row: Int64, size: Int64) -> Any:
        """Return the shares of the largest size that sizes are, 0 where nothing is done."""
        return np.where(row == NO_OP, 0.0, np.array(self.sizes)[size] / self.sizes[-1])

    def _by_end(self, allowed: Int8) -> Int8:
        """Return options by end and size, shape (batch, ends, sizes)."""
        return allowed[:, 1:].reshape(len(allowed), -1, len(self.sizes))


class DiscretePairs(PairActions):
    """``Discrete(1 + pairs * sizes)``: 0 does nothing, ``1 + pair * sizes + size`` sends that size over that pair.

    Pairs are in the order of the direction by which they leave, then of the channel by which they come back.
    """

    space: gym.spaces.Discrete

    def __init__(self, routes: ChannelPairs, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        ends = routes.ends
        if len(ends) * (routes.width - 1) > MAX_DISCRETE_PAIRS:
            raise ConfigError(
                f"action 'discrete' numbers at most {MAX_DISCRETE_PAIRS:,} pairs of channels, got {len(ends):,} "
                f"channel ends of nodes with up to {routes.width:,}: use action 'box', 'dict' or 'multidiscrete'"
            )
        leave = np.repeat(ends, routes.width)
        back = routes.nth_of_node(leave, np.tile(np.arange(routes.width), len(ends)))
        pairs = (back >= 0) & routes.pairs(leave, np.maximum(back, 0))
        self._rows: Int64 = routes.row(leave[pairs], back[pairs])
        """Rows of the pairs in their order, shape (pairs,)."""
        self._order = np.argsort(self._rows, kind="stable")
        self._leave_option = np.searchsorted(ends, leave[pairs])
        self.space = gym.spaces.Discrete(1 + len(self._rows) * len(sizes))

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        choices = as_array(actions)
        if choices.dtype.kind not in "iu" or choices.ndim != 1 or ((choices < 0) | (choices >= self.space.n)).any():
            raise InvalidAction(f"expected integers in 0..{self.space.n - 1}, got {actions!r}")
        pair, size = np.divmod(np.maximum(choices.astype(np.int64) - 1, 0), len(self.sizes))
        row = self._rows[pair]
        amount_msat = self._amounts_msat(row, np.array(self.sizes)[size])
        return decisions(np.where(choices == 0, NO_OP, row), np.where(choices == 0, 0, amount_msat))

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``."""
        pair = self._order[np.searchsorted(self._rows, np.maximum(row, self._rows.min()), sorter=self._order)]
        return np.where(row == NO_OP, 0, 1 + pair * len(self.sizes) + size)

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: one entry per action."""
        options = self._by_end(allowed)[:, self._leave_option].reshape(len(allowed), -1)
        return np.concatenate([allowed[:, :1], options], axis=1)


class MultiDiscretePairs(PairActions):
    """``MultiDiscrete([ends, most channels of a node, sizes + 1])``: leave, back, and size (0 does nothing).

    ``leave`` numbers the channel ends of the nodes that pay, in the order of the directions out of them; ``back`` the
    channels of the same node in that order. What is no other channel of the node does nothing.
    """

    space: gym.spaces.MultiDiscrete

    def __init__(self, routes: ChannelPairs, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        self._shape = np.array([len(routes.ends), routes.width, len(sizes) + 1], np.int64)
        self.space = MaskedMultiDiscrete(self._shape)

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        picks = as_array(actions)
        fits = picks.dtype.kind in "iu" and picks.ndim == 2 and picks.shape[1] == 3
        if not fits or ((picks < 0) | (picks >= self._shape)).any():
            raise InvalidAction(f"expected rows of integers below {self._shape.tolist()}, got {actions!r}")
        leave = self.routes.ends[picks[:, 0]]
        share = np.array([0.0, *self.sizes])[picks[:, 2]]
        return self._decisions(leave, self.routes.nth_of_node(leave, picks[:, 1].astype(np.int64)), share)

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``."""
        leave, back = self._legs_out(row)
        end = np.searchsorted(self.routes.ends, leave)
        return np.stack([end, self.routes.place_in_node(back), np.where(row == NO_OP, 0, size + 1)], axis=1)

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: the three dimensions' masks one after the other, as sb3-contrib reads them."""
        by_end = self._by_end(allowed)
        everything = np.ones((len(allowed), self.routes.width), np.int8)
        idle = np.ones((len(allowed), 1), np.int8)
        leaves = by_end.max(axis=2)
        leaves[leaves.max(axis=1) == 0] = 1  # where all that is left is to do nothing, with any end
        return np.concatenate([leaves, everything, idle, by_end.max(axis=1)], axis=1)


class BoxPairs(PairActions):
    """``Box(-1, 1, (ends,))``: how much each channel end of a node that pays is to give (below 0) or get (above 0).

    The entry of largest magnitude acts, with the one of opposite sign and largest magnitude among the other channels of
    its node; the smaller magnitude of the two is the share of the largest size that is sent. Below ``DEAD_ZONE``
    nothing is done.
    """

    space: gym.spaces.Box

    def __init__(self, routes: ChannelPairs, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        self.space = MaskedBox(-1.0, 1.0, (len(routes.ends),), np.float32)

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        ends = self.routes.ends
        try:
            values = np.asarray(actions, np.float64)
        except (TypeError, ValueError):
            values = np.empty(0)
        if values.ndim != 2 or values.shape[1] != len(ends) or not (np.abs(values) <= 1).all():
            raise InvalidAction(f"expected {len(ends)} numbers in -1..1 per action, got {actions!r}")
        every = np.arange(len(values))
        first = np.abs(values).argmax(axis=1)
        opposite = self.routes.pairs(ends[first][:, None], ends) & (values * values[every, first][:, None] < 0)
        magnitudes = np.where(opposite, np.abs(values), 0.0)
        second = magnitudes.argmax(axis=1)
        share = magnitudes[every, second]
        gives = values[every, first] < 0
        leave, back = (ends[np.where(gives, *both)] for both in ((first, second), (second, first)))
        return self._decisions(leave, back, np.where(share < DEAD_ZONE, 0.0, share * self.sizes[-1]))

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``."""
        actions = np.zeros((len(row), len(self.routes.ends)), np.float32)
        share = self._share(row, size)
        for leg, sign in zip(self._legs_out(row), (-1, 1), strict=True):
            actions[np.arange(len(row)), np.searchsorted(self.routes.ends, leg)] = sign * share
        return actions

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: one entry per channel end, 1 when it can give the smallest size."""
        return self._by_end(allowed)[:, :, 0].copy()


class DictPairs(PairActions):
    """``Dict(leave=Discrete(ends), back=Discrete(most channels of a node), share=Box(0, 1, (1,)))``.

    ``leave`` and ``back`` are those of ``MultiDiscretePairs``, ``share`` is the share of the largest size that is sent;
    below ``DEAD_ZONE`` nothing is done.
    """

    space: gym.spaces.Dict

    def __init__(self, routes: ChannelPairs, sizes: tuple[float, ...]) -> None:
        super().__init__(routes, sizes)
        self.space = gym.spaces.Dict(
            leave=gym.spaces.Discrete(len(routes.ends)),
            back=gym.spaces.Discrete(routes.width),
            share=gym.spaces.Box(0.0, 1.0, (1,), np.float32),
        )

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        entries = dict(zip(self.space, columns_of(actions, self.space), strict=True))
        leave = self.routes.ends[entries["leave"]]
        share = np.where(entries["share"] < DEAD_ZONE, 0.0, entries["share"] * self.sizes[-1])
        return self._decisions(leave, self.routes.nth_of_node(leave, entries["back"]), share)

    def encode(self, row: Int64, size: Int64) -> npt.NDArray[Any]:
        """See ``ActionScheme.encode``; the actions are dicts in an array of objects."""
        leave, back = self._legs_out(row)
        share = self._share(row, size)[:, None].astype(np.float32)
        end = np.searchsorted(self.routes.ends, leave)
        return objects(leave=end, back=self.routes.place_in_node(back), share=share)

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: one entry per channel end, 1 when it can give the smallest size."""
        return self._by_end(allowed)[:, :, 0].copy()


SCHEMES: Final[dict[str, type[PairActions]]] = {
    "discrete": DiscretePairs,
    "multidiscrete": MultiDiscretePairs,
    "box": BoxPairs,
    "dict": DictPairs,
}
"""Action schemes by the name a config uses."""


def make_pair_actions(name: str, routes: ChannelPairs, sizes: tuple[float, ...]) -> PairActions:
    """Return the action scheme of that name for pairs of channels."""
    return SCHEMES[name](routes, sizes)
