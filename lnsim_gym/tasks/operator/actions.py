"""Actions of an operator: what to set of each channel, and which rebalances and swaps to make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Float64, Int8, Int64
from lnsim_gym.compiled.elementary import exp, log
from lnsim_gym.errors import InvalidAction
from lnsim_gym.tasks.base import ActionScheme, as_array
from lnsim_gym.tasks.operator.config import OperatorConfig
from lnsim_gym.tasks.operator.features import KEEP, PER_CHANNEL, PER_REBALANCE, PER_SWAP
from lnsim_gym.tasks.operator.ledger import POLICY_NUMBERS

__all__ = ["BoxActions", "DictActions", "Limits", "MultiDiscreteActions", "OperatorActions", "make_actions"]

RATE_LEVELS_PPM: Final = (0, 10, 25, 50, 100, 150, 250, 400, 700, 1_200, 2_500)
BASE_LEVELS_MSAT: Final = (0, 1_000)
INBOUND_LEVELS_PPM: Final = (0, -25, -100, -250, -500, -1_000)
HTLC_LEVELS: Final = (1.0, 0.5, 0.2, 0.05, 0.01)
"""What ``multidiscrete`` actions set: fee rates, base and inbound fees, greatest HTLCs as shares of the capacity."""
AMOUNT_LEVELS: Final = (0.02, 0.05, 0.1, 0.2)
"""Amounts of their rebalances and swaps, as shares of the capacity of the channel that they leave."""
LIMIT_LEVELS_PPM: Final = (50, 200, 500, 1_500)
"""Fee limits of their rebalances."""
NUMBERS_OF: Final = {"fees": (0, 1), "inbound_fees": (2,), "max_htlc": (3,)}
"""Which of ``POLICY_NUMBERS`` each lever sets."""


class Limits(NamedTuple):
    """What bounds the actions of an operator."""

    capacity_msat: Int64  # (channels,)
    numbers: tuple[int, ...]
    """Which of ``POLICY_NUMBERS`` may be set."""
    rebalances: int
    swaps: int
    max_fee_rate_ppm: int
    max_fee_base_msat: int

    @property
    def channels(self) -> int:
        """How many own channels there are."""
        return len(self.capacity_msat)

    @property
    def decision(self) -> tuple[str, ...]:
        """The meaning of each number of a decision."""
        return (
            *(f"channel {place} {name}" for place in range(self.channels) for name in POLICY_NUMBERS),
            *(
                f"rebalance {place} {name}"
                for place in range(self.rebalances)
                for name in ("leave", "back", "amount_msat", "fee_limit_ppm")
            ),
            *(f"swap {place} {name}" for place in range(self.swaps) for name in ("channel", "amount_msat")),
        )

    @classmethod
    def of(cls, config: OperatorConfig, capacity_msat: Int64) -> Limits:
        """Return what a config allows on channels of given capacities."""
        return cls(
            capacity_msat=capacity_msat,
            numbers=tuple(
                number for lever, numbers in NUMBERS_OF.items() if lever in config.levers for number in numbers
            ),
            rebalances=config.rebalances_per_step if "rebalance" in config.levers else 0,
            swaps=config.swaps_per_step if "swap" in config.levers else 0,
            max_fee_rate_ppm=config.max_fee_rate_ppm,
            max_fee_base_msat=config.max_fee_base_msat,
        )


class Parts(NamedTuple):
    """Decisions of a batch, by what they are about; views of one array."""

    whole: Int64  # (batch, len(Limits.decision))
    policies: Int64  # (batch, channels, PER_CHANNEL)
    rebalances: Int64  # (batch, rebalances, PER_REBALANCE)
    swaps: Int64  # (batch, swaps, PER_SWAP)


class OperatorActions(ActionScheme):
    """Actions of an operator in any form.

    Options of masks are, for all channels one after the other each: whether its policy may change, whether a rebalance
    may leave by it, come back by it, whether it may swap out and in.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    @property
    def options(self) -> int:
        """Length of a row of allowed options."""
        return 5 * self.limits.channels

    def idle(self, batch: int) -> Parts:
        """Return decisions that leave everything as it is."""
        whole = np.full((batch, len(self.limits.decision)), -1, np.int64)
        whole[:, : PER_CHANNEL * self.limits.channels] = KEEP
        return self.parts_of(whole)

    def parts_of(self, decisions: Int64) -> Parts:
        """Return decisions by what they are about, shape (batch, len(Limits.decision))."""
        channels, rebalances, swaps = self.limits.channels, self.limits.rebalances, self.limits.swaps
        batch, first = len(decisions), PER_CHANNEL * channels
        second = first + PER_REBALANCE * rebalances
        return Parts(
            decisions,
            decisions[:, :first].reshape(batch, channels, PER_CHANNEL),
            decisions[:, first:second].reshape(batch, rebalances, PER_REBALANCE),
            decisions[:, second:].reshape(batch, swaps, PER_SWAP),
        )


class BoxActions(OperatorActions):
    """``Box(-1, 1)``: numbers of each channel's policy, then of each rebalance, then of each swap.

    With u from 0 to 1 for a number from -1 to 1, a channel has, as its levers are on, its fee rate
    (``(1 + max_fee_rate_ppm) ** u - 1``), base fee (``u * max_fee_base_msat``), inbound discount (as fee rates, taken
    off), and greatest HTLC (``capacity * 1000 ** (u - 1)``). A rebalance has the channel to leave and the one to come
    back by (u of all, in their order), the amount (u of a fifth of the capacity of the channel that it leaves, none
    below u = 0.05) and the fee limit (as fee rates). A swap has its channel, and the amount itself as a share of its
    capacity, in below 0 and out above, none within 0.05.
    """

    space: gym.spaces.Box

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._per_channel = len(limits.numbers)
        size = self._per_channel * limits.channels + 4 * limits.rebalances + 2 * limits.swaps
        self.space = gym.spaces.Box(-1.0, 1.0, (size,), np.float32)

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        values = as_array(actions)
        if values.dtype.kind not in "fiu" or values.ndim != 2 or values.shape[1] != self.space.shape[0]:
            raise InvalidAction(f"expected rows of {self.space.shape[0]} numbers in -1..1, got {actions!r}")
        if not (np.abs(values) <= 1).all():
            raise InvalidAction(f"expected numbers in -1..1, got {actions!r}")
        signed = values.astype(np.float64)
        unit = (signed + 1) / 2
        limits, parts = self.limits, self.idle(len(values))
        first = self._per_channel * limits.channels
        second = first + 4 * limits.rebalances
        by_channel = unit[:, :first].reshape(len(values), limits.channels, self._per_channel)
        for place, number in enumerate(limits.numbers):
            parts.policies[:, :, number] = self._policy_number(number, by_channel, place)
        by_rebalance = unit[:, first:second].reshape(len(values), limits.rebalances, 4)
        parts.rebalances[:, :, 0] = self._channel(by_rebalance[:, :, 0])
        parts.rebalances[:, :, 1] = self._channel(by_rebalance[:, :, 1])
        leave_msat = limits.capacity_msat[parts.rebalances[:, :, 0]]
        parts.rebalances[:, :, 2] = _whole_sat(by_rebalance[:, :, 2] * leave_msat / 5)
        parts.rebalances[:, :, 3] = self._rate_ppm(by_rebalance[:, :, 3])
        parts.rebalances[by_rebalance[:, :, 2] < 0.05] = -1
        by_swap = signed[:, second:].reshape(len(values), limits.swaps, 2)
        parts.swaps[:, :, 0] = self._channel((by_swap[:, :, 0] + 1) / 2)
        parts.swaps[:, :, 1] = _whole_sat(by_swap[:, :, 1] * limits.capacity_msat[parts.swaps[:, :, 0]])
        parts.swaps[np.abs(by_swap[:, :, 1]) < 0.05] = -1
        return parts.whole

    def _policy_number(self, number: int, unit: Float64, place: int) -> npt.NDArray[Any]:
        """Return a number of all channels' policies, shape (batch, channels)."""
        limits = self.limits
        match POLICY_NUMBERS[number]:
            case "fee_rate_ppm":
                return self._rate_ppm(unit[:, :, place])
            case "fee_base_msat":
                return np.rint(unit[:, :, place] * limits.max_fee_base_msat)
            case "inbound_fee_rate_ppm":
                return -self._rate_ppm(unit[:, :, place])
            case _:
                return _whole_sat(limits.capacity_msat * exp(log(1000.0) * (unit[:, :, place] - 1)))

    def _rate_ppm(self, unit: Float64) -> npt.NDArray[Any]:
        """Return fee rates, evenly spread by their logarithms."""
        rates: npt.NDArray[Any] = np.rint(exp(log(1.0 + self.limits.max_fee_rate_ppm) * unit) - 1)
        return rates

    def _channel(self, unit: Float64) -> Int64:
        """Return places of channels."""
        return np.minimum((unit * self.limits.channels).astype(np.int64), self.limits.channels - 1)


def _whole_sat(amount_msat: npt.NDArray[Any]) -> Int64:
    """Return amounts in msat cut to whole sat."""
    return 1000 * np.trunc(amount_msat / 1000).astype(np.int64)


class MultiDiscreteActions(OperatorActions):
    """``MultiDiscrete``: each number of a channel's policy, 0 to keep it or a level; then rebalances, and swaps.

    Levels stand in this module. A rebalance is the channel to leave (0 for none), the one to come back by, and levels
    of amount and fee limit; a swap is its channel (0 for none), out or in, and a level of amount.
    """

    space: gym.spaces.MultiDiscrete

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        shares = np.array(HTLC_LEVELS)[None, :] * limits.capacity_msat[:, None]
        rows: dict[int, Int64] = {
            0: np.tile(np.minimum(RATE_LEVELS_PPM, limits.max_fee_rate_ppm), (limits.channels, 1)),
            1: np.tile(np.minimum(BASE_LEVELS_MSAT, limits.max_fee_base_msat), (limits.channels, 1)),
            2: np.tile(np.maximum(INBOUND_LEVELS_PPM, -limits.max_fee_rate_ppm), (limits.channels, 1)),
            3: _whole_sat(shares),
        }
        self._levels = [np.insert(rows[number], 0, KEEP, axis=1) for number in limits.numbers]
        sizes = [levels.shape[1] for levels in self._levels] * limits.channels
        channels, amounts = limits.channels, len(AMOUNT_LEVELS)
        self._sizes = np.array(
            sizes
            + [1 + channels, channels, amounts, len(LIMIT_LEVELS_PPM)] * limits.rebalances
            + [1 + channels, 2, amounts] * limits.swaps
        )
        self.space = gym.spaces.MultiDiscrete(self._sizes)

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        choices = as_array(actions)
        fits = choices.dtype.kind in "iu" and choices.ndim == 2 and choices.shape[1] == len(self._sizes)
        if not fits or ((choices < 0) | (choices >= self._sizes)).any():
            raise InvalidAction(f"expected rows of {len(self._sizes)} integers below {self._sizes}, got {actions!r}")
        limits, parts = self.limits, self.idle(len(choices))
        first = len(limits.numbers) * limits.channels
        second = first + 4 * limits.rebalances
        by_channel = choices[:, :first].reshape(len(choices), limits.channels, len(limits.numbers))
        every = np.arange(limits.channels)
        for place, number in enumerate(limits.numbers):
            parts.policies[:, :, number] = self._levels[place][every, by_channel[:, :, place]]
        moves = choices[:, first:second].reshape(len(choices), limits.rebalances, 4)
        leave = np.maximum(moves[:, :, 0] - 1, 0)
        parts.rebalances[:, :, 0] = moves[:, :, 0] - 1
        parts.rebalances[:, :, 1] = moves[:, :, 1]
        parts.rebalances[:, :, 2] = _whole_sat(np.array(AMOUNT_LEVELS)[moves[:, :, 2]] * limits.capacity_msat[leave])
        parts.rebalances[:, :, 3] = np.array(LIMIT_LEVELS_PPM)[moves[:, :, 3]]
        swaps = choices[:, second:].reshape(len(choices), limits.swaps, 3)
        channel = np.maximum(swaps[:, :, 0] - 1, 0)
        amount_msat = _whole_sat(np.array(AMOUNT_LEVELS)[swaps[:, :, 2]] * limits.capacity_msat[channel])
        parts.swaps[:, :, 0] = swaps[:, :, 0] - 1
        parts.swaps[:, :, 1] = np.where(swaps[:, :, 1] == 0, amount_msat, -amount_msat)
        return parts.whole

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: the masks of all numbers one after the other, as sb3-contrib reads them."""
        limits, batch = self.limits, len(allowed)
        changes, leaves, returns, outs, ins = allowed.reshape(batch, 5, limits.channels).transpose(1, 0, 2)
        one = np.ones((batch, 1), np.int8)

        def levels(count: int) -> Int8:
            return np.ones((batch, count), np.int8)

        masks: list[Int8] = []
        for channel in range(limits.channels):
            for table in self._levels:
                masks += [one, np.repeat(changes[:, channel : channel + 1], table.shape[1] - 1, axis=1)]
        free = np.where(returns.any(axis=1, keepdims=True), returns, 1)
        for _ in range(limits.rebalances):
            masks += [one, leaves, free, levels(len(AMOUNT_LEVELS)), levels(len(LIMIT_LEVELS_PPM))]
        for _ in range(limits.swaps):
            masks += [one, outs | ins, levels(2), levels(len(AMOUNT_LEVELS))]
        return np.concatenate(masks, axis=1).astype(np.int8)


class DictActions(OperatorActions):
    """``Dict`` of plain numbers: what rules and people think in.

    ``fee_rate_ppm``, ``fee_base_msat``, ``inbound_fee_rate_ppm`` (0 and below; 1 keeps it) and ``max_htlc_sat``, each
    int64 of shape (channels,), -1 to keep; ``rebalance``, rows of (channel to leave or -1, channel to come back by,
    amount in sat, fee limit in ppm); ``swap``, rows of (channel or -1, amount in sat, negative for a swap in).
    """

    space: gym.spaces.Dict

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        channels, capacity_sat = limits.channels, limits.capacity_msat // 1000
        most_sat = int(capacity_sat.max())
        bounds: dict[str, tuple[Any, Any]] = {
            "fee_rate_ppm": (-1, limits.max_fee_rate_ppm),
            "fee_base_msat": (-1, limits.max_fee_base_msat),
            "inbound_fee_rate_ppm": (-limits.max_fee_rate_ppm, 1),
            "max_htlc_sat": (-1, most_sat),
        }
        names = [_DICT_NAMES[number] for number in limits.numbers]
        spaces: dict[str, gym.Space[Any]] = {
            name: gym.spaces.Box(*bounds[name], (channels,), np.int64) for name in names
        }
        if limits.rebalances:
            low, high = np.array([-1, 0, 0, 0]), np.array([channels - 1, channels - 1, most_sat, 1_000_000])
            shape = limits.rebalances, 1
            spaces["rebalance"] = gym.spaces.Box(np.tile(low, shape), np.tile(high, shape), dtype=np.int64)
        if limits.swaps:
            low, high = np.array([-1, -most_sat]), np.array([channels - 1, most_sat])
            shape = limits.swaps, 1
            spaces["swap"] = gym.spaces.Box(np.tile(low, shape), np.tile(high, shape), dtype=np.int64)
        self.space = gym.spaces.Dict(spaces)

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``; takes a mapping of stacked parts, or a sequence of mappings."""
        if not isinstance(actions, Mapping):
            rows = list(actions)
            if not all(isinstance(row, Mapping) for row in rows):
                raise InvalidAction(f"expected dicts of {', '.join(self.space)}, got {actions!r}")
            actions = {name: [row.get(name) for row in rows] for name in self.space} if rows else {}
        given = {name: self._part(actions, name) for name in self.space}
        limits, parts = self.limits, self.idle(len(next(iter(given.values()))))
        for number in limits.numbers:
            name = _DICT_NAMES[number]
            keep = 1 if name == "inbound_fee_rate_ppm" else -1
            unit = 1000 if name.endswith("_sat") else 1
            parts.policies[:, :, number] = np.where(given[name] == keep, KEEP, unit * given[name])
        if limits.rebalances:
            parts.rebalances[:] = given["rebalance"] * np.array([1, 1, 1000, 1])
        if limits.swaps:
            parts.swaps[:] = given["swap"] * np.array([1, 1000])
        return parts.whole

    def _part(self, actions: Mapping[str, Any], name: str) -> Int64:
        """Return one entry of actions, stacked."""
        space = cast("gym.spaces.Box", self.space[name])
        values = as_array(actions.get(name))
        fits = values.dtype.kind in "iu" and values.shape[1:] == space.shape
        if not fits or not ((values >= space.low) & (values <= space.high)).all():
            raise InvalidAction(
                f"expected {name!r} of shape {space.shape} with integers in {space.low.min()}..{space.high.max()}, "
                f"got {actions.get(name)!r}"
            )
        return values.astype(np.int64)


_DICT_NAMES: Final = ("fee_rate_ppm", "fee_base_msat", "inbound_fee_rate_ppm", "max_htlc_sat")


def make_actions(config: OperatorConfig, capacity_msat: Int64) -> OperatorActions:
    """Return the actions that a config asks for, on own channels of given capacities, shape (channels,)."""
    kinds: dict[str, type[OperatorActions]] = {
        "box": BoxActions,
        "multidiscrete": MultiDiscreteActions,
        "dict": DictActions,
    }
    return kinds[config.action](Limits.of(config, capacity_msat))
