"""Actions of an operator: what to set of each channel, what to rebalance, swap, close and open."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Float64, Int8, Int64
from lnsim_gym.compiled.elementary import exp, log
from lnsim_gym.errors import ConfigError, InvalidAction, did_you_mean
from lnsim_gym.tasks.base import ActionScheme, as_array
from lnsim_gym.tasks.liquidity.actions import MaskedBox, MaskedMultiDiscrete
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
QUIET: Final = 0.05
"""Numbers of ``box`` actions that are no farther from 0 leave things as they are."""
OPTIONS: Final = 5
"""Options of each channel, without those to close or open it; see ``OperatorActions``."""
LOUD: Final = 0.5
"""Numbers of ``box`` actions above which a channel is closed or opened: seldom enough for chance to play."""


class Limits(NamedTuple):
    """What bounds the actions of an operator."""

    capacity_msat: Int64  # (channels,)
    numbers: tuple[int, ...]
    """Which of ``POLICY_NUMBERS`` may be set."""
    rebalances: int
    swaps: int
    closes: int
    opens: int
    max_fee_rate_ppm: int
    max_fee_base_msat: int
    rows: int
    """Rows of channels in actions, at least as many as there are channels."""

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
            *(f"close {place} channel" for place in range(self.closes)),
            *(f"open {place} channel" for place in range(self.opens)),
        )

    @property
    def options(self) -> int:
        """Options of each channel: ``OPTIONS``, and one more each where channels may be closed and opened."""
        return OPTIONS + (self.closes > 0) + (self.opens > 0)

    @classmethod
    def of(cls, config: OperatorConfig, capacity_msat: Int64) -> Limits:
        """Return what a config allows on channels of given capacities.

        Raises:
            ConfigError: There are fewer rows than channels.
        """
        if 0 < config.channel_rows < len(capacity_msat):
            raise ConfigError(
                f"expected a row for each of {len(capacity_msat)} own channels, got channel_rows={config.channel_rows}"
                ": raise it, or leave it at 0"
            )
        return cls(
            capacity_msat=capacity_msat,
            numbers=tuple(
                number for lever, numbers in NUMBERS_OF.items() if lever in config.levers for number in numbers
            ),
            rebalances=config.rebalances_per_step if "rebalance" in config.levers else 0,
            swaps=config.swaps_per_step if "swap" in config.levers else 0,
            closes=config.closes_per_step if "close" in config.levers else 0,
            opens=config.opens_per_step if "open" in config.levers else 0,
            max_fee_rate_ppm=config.max_fee_rate_ppm,
            max_fee_base_msat=config.max_fee_base_msat,
            rows=config.channel_rows or len(capacity_msat),
        )


class Parts(NamedTuple):
    """Decisions of a batch, by what they are about; views of one array."""

    whole: Int64  # (batch, len(Limits.decision))
    policies: Int64  # (batch, channels, PER_CHANNEL)
    rebalances: Int64  # (batch, rebalances, PER_REBALANCE)
    swaps: Int64  # (batch, swaps, PER_SWAP)
    closes: Int64  # (batch, closes) channels
    opens: Int64  # (batch, opens) channels


class Options(NamedTuple):
    """Allowed options of a batch by kind, int8 of shape (batch, rows) each: 0 where there is no channel."""

    changes: Int8
    leaves: Int8
    returns: Int8
    outs: Int8
    ins: Int8
    closes: Int8
    opens: Int8


class OperatorActions(ActionScheme):
    """Actions of an operator in any form.

    Options of masks are, for all channels one after the other each: whether its policy may change, whether a rebalance
    may leave by it, come back by it, whether it may swap out and in; then, each where that is a lever, whether it may
    be closed, and opened. In place of an action of any form a mapping is taken as ``DictActions`` has them, of which
    what stays as it is may be left out.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.plain = plain_space(limits)
        """The space of what is taken in place of an action."""

    @property
    def of_channels(self) -> tuple[str, ...]:
        """Entries of plain numbers that have one for each channel."""
        return tuple(_DICT_NAMES[number] for number in self.limits.numbers)

    @abstractmethod
    def nothing(self, batch: int) -> list[Any]:
        """Return actions of the space that leave everything as it is."""

    def decode(self, actions: Any) -> Int64:
        """See ``ActionScheme.decode``."""
        if isinstance(actions, Mapping):
            batch = len(as_array(next(iter(actions.values())))) if actions else 0
            return self._decode_plain(actions, batch)
        if len(actions) and isinstance(actions[0], Mapping):
            return self._decode_plain(self._stacked(actions), len(actions))
        return self._decode(actions)

    @abstractmethod
    def _decode(self, actions: Any) -> Int64:
        """Turn actions of the space that are no mappings into decisions; see ``ActionScheme.decode``."""

    def _decode_plain(self, actions: Mapping[str, Any], batch: int) -> Int64:
        """Turn stacked parts of plain numbers into decisions; see ``ActionScheme.decode``."""
        space = self.plain
        for name in actions:
            if name not in space.spaces:
                raise InvalidAction(
                    f"expected some of {', '.join(space)}, as the setting levers has it, got {name!r}."
                    f"{did_you_mean(str(name), space)}"
                )
        given = {name: _plain_part(actions, name, space, batch) for name in actions}
        limits, parts = self.limits, self.idle(batch)
        for name in given.keys() & _DICT_NAMES:
            keep = _KEEP_INBOUND if name == "inbound_fee_rate_ppm" else -1
            unit = 1000 if name.endswith("_sat") else 1
            numbers = given[name][:, : limits.channels]
            parts.policies[:, :, _DICT_NAMES.index(name)] = np.where(numbers == keep, KEEP, unit * numbers)
        if "rebalance" in given:
            parts.rebalances[:] = given["rebalance"] * np.array([1, 1, 1000, 1])
        if "swap" in given:
            parts.swaps[:] = given["swap"] * np.array([1, 1000])
        for name, part in (("close", parts.closes), ("open", parts.opens)):
            if name in given:
                part[:] = given[name]
        return self._finished(parts)

    def _stacked(self, actions: Any) -> dict[str, Any]:
        """Return actions that are mappings as one of stacked parts; what one leaves out and another has stays."""
        if not all(isinstance(action, Mapping) for action in actions):
            raise InvalidAction(f"expected either mappings or none, got {actions!r}")
        still = plain_nothing(self.limits)
        names = {name: None for action in actions for name in action}
        return {name: [action.get(name, still.get(name)) for action in actions] for name in names}

    def _finished(self, parts: Parts) -> Int64:
        """Return decisions in which moves of nothing, or over channels that there are not, are -1 throughout."""
        ends, channels = parts.rebalances[:, :, :2], self.limits.channels
        parts.rebalances[(ends[:, :, 0] < 0) | (ends >= channels).any(axis=2)] = -1
        parts.swaps[(parts.swaps[:, :, 0] < 0) | (parts.swaps[:, :, 0] >= channels)] = -1
        for part in (parts.closes, parts.opens):
            part[part >= channels] = -1
        return parts.whole

    @property
    def options(self) -> int:
        """Length of a row of allowed options."""
        return self.limits.options * self.limits.channels

    def allowed_rows(self, allowed: Int8) -> Int8:
        """Return allowed options by kind and row, shape (Limits.options, batch, rows): 0 where there is no channel."""
        by_kind = allowed.reshape(len(allowed), self.limits.options, self.limits.channels).transpose(1, 0, 2)
        return np.pad(by_kind, ((0, 0), (0, 0), (0, self.limits.rows - self.limits.channels)))

    def allowed_options(self, allowed: Int8) -> Options:
        """Return the same by name."""
        return options_of(self.allowed_rows(allowed), self.limits)

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
        third = second + PER_SWAP * swaps
        return Parts(
            decisions,
            decisions[:, :first].reshape(batch, channels, PER_CHANNEL),
            decisions[:, first:second].reshape(batch, rebalances, PER_REBALANCE),
            decisions[:, second:third].reshape(batch, swaps, PER_SWAP),
            decisions[:, third : third + self.limits.closes],
            decisions[:, third + self.limits.closes :],
        )


def options_of(by_kind: Int8, limits: Limits) -> Options:
    """Return options by name, given by kind with a first axis of Limits.options."""
    none = np.zeros_like(by_kind[0])
    closes = by_kind[OPTIONS] if limits.closes else none
    opens = by_kind[-1] if limits.opens else none
    changes, leaves, returns, outs, ins = by_kind[:OPTIONS]
    return Options(changes, leaves, returns, outs, ins, closes, opens)


class BoxActions(OperatorActions):
    """``Box(-1, 1)``: numbers of each channel's policy, then of each rebalance, swap, close and open; 0 for nothing.

    A number within ``QUIET`` of 0 leaves what it stands for as it is. What lies beyond is stretched to u, from 0 for -1
    to 1 for 1: a channel has, as its levers are on, its fee rate (``(1 + max_fee_rate_ppm) ** u - 1``), base fee
    (``u * max_fee_base_msat``), inbound discount (as fee rates, taken off), and greatest HTLC
    (``capacity * 1000 ** (u - 1)``). A rebalance has the channel to leave and the one to come back by (from -1 to 1 all
    rows in their order), the amount as a share of a fifth of the capacity of the channel that it leaves, none up to
    ``QUIET``, and the fee limit (from -1 to 1 as fee rates). A swap has its channel, likewise, and the amount as a
    share of its capacity, in below 0 and out above. A close and an open have their channel, and
    are made above ``LOUD``.
    """

    space: MaskedBox

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._per_channel = len(limits.numbers)
        size = self._per_channel * limits.rows + PER_REBALANCE * limits.rebalances + PER_SWAP * limits.swaps
        size += 2 * (limits.closes + limits.opens)
        self.space = MaskedBox(-1.0, 1.0, (size,), np.float32)

    def nothing(self, batch: int) -> list[Any]:
        """See ``OperatorActions.nothing``."""
        return list(np.zeros((batch, *self.space.shape), np.float32))

    def _decode(self, actions: Any) -> Int64:
        """See ``OperatorActions._decode``."""
        values = as_array(actions)
        if values.dtype.kind not in "fiu" or values.ndim != 2 or values.shape[1] != self.space.shape[0]:
            raise InvalidAction(f"expected rows of {self.space.shape[0]} numbers in -1..1, got {actions!r}")
        if not (np.abs(values) <= 1).all():
            raise InvalidAction(f"expected numbers in -1..1, got {actions!r}")
        signed = values.astype(np.float64)
        limits, parts = self.limits, self.idle(len(values))
        by_channel, moves, swaps, closes, opens = self._split(signed)
        loud = np.abs(by_channel) > QUIET
        unit = (1 + np.sign(by_channel) * (np.abs(by_channel) - QUIET) / (1 - QUIET)) / 2
        for place, number in enumerate(limits.numbers):
            wanted = self._policy_number(number, unit, place)
            parts.policies[:, :, number] = np.where(loud[:, :, place], wanted, KEEP)
        parts.rebalances[:, :, 0], leave_msat = self._channel(moves[:, :, 0])
        parts.rebalances[:, :, 1], _ = self._channel(moves[:, :, 1])
        share = (moves[:, :, 2] - QUIET) / (1 - QUIET)
        parts.rebalances[:, :, 2] = _whole_sat(np.maximum(share, 0) * leave_msat / 5)
        parts.rebalances[:, :, 3] = self._rate_ppm((moves[:, :, 3] + 1) / 2)
        parts.rebalances[share <= 0] = -1
        parts.swaps[:, :, 0], swapped_msat = self._channel(swaps[:, :, 0])
        parts.swaps[:, :, 1] = _whole_sat(swaps[:, :, 1] * swapped_msat)
        parts.swaps[np.abs(swaps[:, :, 1]) <= QUIET] = -1
        parts.closes[:] = np.where(closes[:, :, 1] > LOUD, self._channel(closes[:, :, 0])[0], -1)
        parts.opens[:] = np.where(opens[:, :, 1] > LOUD, self._channel(opens[:, :, 0])[0], -1)
        return self._finished(parts)

    def _split(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return numbers of channels, (batch, channels, numbers), of rebalances, (batch, rebalances, 4), and so on."""
        limits, batch = self.limits, len(values)
        first = self._per_channel * limits.rows
        second = first + PER_REBALANCE * limits.rebalances
        third = second + PER_SWAP * limits.swaps
        fourth = third + 2 * limits.closes
        return [
            values[:, :first].reshape(batch, limits.rows, self._per_channel)[:, : limits.channels],
            values[:, first:second].reshape(batch, limits.rebalances, PER_REBALANCE),
            values[:, second:third].reshape(batch, limits.swaps, PER_SWAP),
            values[:, third:fourth].reshape(batch, limits.closes, 2),
            values[:, fourth:].reshape(batch, limits.opens, 2),
        ]

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: one entry for each number, 1 where it may be anything else than 0."""
        limits, options = self.limits, self.allowed_options(allowed)
        leaves, returns, closes, opens = (
            rows.any(axis=1, keepdims=True) for rows in (options.leaves, options.returns, options.closes, options.opens)
        )
        swaps = (options.outs | options.ins).any(axis=1, keepdims=True)
        masks = (
            np.repeat(options.changes, self._per_channel, axis=1),
            np.repeat(leaves & returns, PER_REBALANCE * limits.rebalances, axis=1),
            np.repeat(swaps, PER_SWAP * limits.swaps, axis=1),
            np.repeat(closes, 2 * limits.closes, axis=1),
            np.repeat(opens, 2 * limits.opens, axis=1),
        )
        return np.concatenate(masks, axis=1).astype(np.int8)

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

    def _channel(self, signed: Float64) -> tuple[Int64, Int64]:
        """Return places of channels, and the capacities of those that there are, in msat."""
        place = np.minimum(((signed + 1) / 2 * self.limits.rows).astype(np.int64), self.limits.rows - 1)
        return place, self.limits.capacity_msat[np.minimum(place, self.limits.channels - 1)]


def _whole_sat(amount_msat: npt.NDArray[Any]) -> Int64:
    """Return amounts in msat cut to whole sat."""
    return 1000 * np.trunc(amount_msat / 1000).astype(np.int64)


class MultiDiscreteActions(OperatorActions):
    """``MultiDiscrete``: each number of a channel's policy, 0 to keep it or a level; then rebalances, swaps, and so on.

    Levels stand in this module. A rebalance is the channel to leave (0 for none), the one to come back by, and levels
    of amount and fee limit; a swap is its channel (0 for none), out or in, and a level of amount; a close and an open
    are their channel (0 for none).
    """

    space: MaskedMultiDiscrete

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        shares = np.array(HTLC_LEVELS)[None, :] * limits.capacity_msat[:, None]
        levels: dict[int, Int64] = {
            0: np.tile(np.minimum(RATE_LEVELS_PPM, limits.max_fee_rate_ppm), (limits.channels, 1)),
            1: np.tile(np.minimum(BASE_LEVELS_MSAT, limits.max_fee_base_msat), (limits.channels, 1)),
            2: np.tile(np.maximum(INBOUND_LEVELS_PPM, -limits.max_fee_rate_ppm), (limits.channels, 1)),
            3: _whole_sat(shares),
        }
        self._levels = [np.insert(levels[number], 0, KEEP, axis=1) for number in limits.numbers]
        sizes = [each.shape[1] for each in self._levels] * limits.rows
        rows, amounts = limits.rows, len(AMOUNT_LEVELS)
        self._sizes = np.array(
            sizes
            + [1 + rows, rows, amounts, len(LIMIT_LEVELS_PPM)] * limits.rebalances
            + [1 + rows, 2, amounts] * limits.swaps
            + [1 + rows] * (limits.closes + limits.opens)
        )
        self.space = MaskedMultiDiscrete(self._sizes)

    def nothing(self, batch: int) -> list[Any]:
        """See ``OperatorActions.nothing``."""
        return list(np.zeros((batch, len(self._sizes)), np.int64))

    def _decode(self, actions: Any) -> Int64:
        """See ``OperatorActions._decode``."""
        choices = as_array(actions)
        fits = choices.dtype.kind in "iu" and choices.ndim == 2 and choices.shape[1] == len(self._sizes)
        if not fits or ((choices < 0) | (choices >= self._sizes)).any():
            raise InvalidAction(f"expected rows of {len(self._sizes)} integers below {self._sizes}, got {actions!r}")
        limits, parts = self.limits, self.idle(len(choices))
        first = len(limits.numbers) * limits.rows
        second = first + 4 * limits.rebalances
        by_row = choices[:, :first].reshape(len(choices), limits.rows, len(limits.numbers))
        every = np.arange(limits.channels)
        for place, number in enumerate(limits.numbers):
            parts.policies[:, :, number] = self._levels[place][every, by_row[:, : limits.channels, place]]
        moves = choices[:, first:second].reshape(len(choices), limits.rebalances, 4)
        leave = np.clip(moves[:, :, 0] - 1, 0, limits.channels - 1)
        parts.rebalances[:, :, 0] = moves[:, :, 0] - 1
        parts.rebalances[:, :, 1] = moves[:, :, 1]
        parts.rebalances[:, :, 2] = _whole_sat(np.array(AMOUNT_LEVELS)[moves[:, :, 2]] * limits.capacity_msat[leave])
        parts.rebalances[:, :, 3] = np.array(LIMIT_LEVELS_PPM)[moves[:, :, 3]]
        third = second + 3 * limits.swaps
        swaps = choices[:, second:third].reshape(len(choices), limits.swaps, 3)
        channel = np.clip(swaps[:, :, 0] - 1, 0, limits.channels - 1)
        amount_msat = _whole_sat(np.array(AMOUNT_LEVELS)[swaps[:, :, 2]] * limits.capacity_msat[channel])
        parts.swaps[:, :, 0] = swaps[:, :, 0] - 1
        parts.swaps[:, :, 1] = np.where(swaps[:, :, 1] == 0, amount_msat, -amount_msat)
        parts.closes[:] = choices[:, third : third + limits.closes] - 1
        parts.opens[:] = choices[:, third + limits.closes :] - 1
        return self._finished(parts)

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: the masks of all numbers one after the other, as sb3-contrib reads them."""
        limits, batch = self.limits, len(allowed)
        changes, leaves, returns, outs, ins, closes, opens = self.allowed_options(allowed)
        one = np.ones((batch, 1), np.int8)

        def levels(count: int) -> Int8:
            return np.ones((batch, count), np.int8)

        masks: list[Int8] = []
        for row in range(limits.rows):
            for table in self._levels:
                masks += [one, np.repeat(changes[:, row : row + 1], table.shape[1] - 1, axis=1)]
        free = np.where(returns.any(axis=1, keepdims=True), returns, 1)
        for _ in range(limits.rebalances):
            masks += [one, leaves, free, levels(len(AMOUNT_LEVELS)), levels(len(LIMIT_LEVELS_PPM))]
        for _ in range(limits.swaps):
            masks += [one, outs | ins, levels(2), levels(len(AMOUNT_LEVELS))]
        masks += [one, closes] * limits.closes + [one, opens] * limits.opens
        return np.concatenate(masks, axis=1).astype(np.int8)


_DICT_NAMES: Final = ("fee_rate_ppm", "fee_base_msat", "inbound_fee_rate_ppm", "max_htlc_sat")
_KEEP_INBOUND: Final = 1
"""Keeps an inbound fee rate in plain numbers, as -1 keeps the others."""


class PlainNumbers(gym.spaces.Dict):
    """A ``Dict`` of plain numbers that samples from a mask of options.

    Args:
        parts: Spaces of the parts, as ``plain_space`` makes them.
        limits: What bounds the actions.
    """

    def __init__(self, parts: dict[str, gym.Space[Any]], limits: Limits) -> None:
        super().__init__(parts)
        self._limits = limits

    def sample(self, mask: Any = None, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """Draw an action.

        Args:
            mask: int8 of shape (Limits.options * rows,): options of all rows, each kind for itself; or as Gymnasium
                takes it, a dict with a mask for each entry.
            **options: Those of Gymnasium.
        """
        if not isinstance(mask, np.ndarray):
            return super().sample(mask=mask, **options)
        drawn = super().sample(**options)
        free = options_of(mask.reshape(self._limits.options, -1).astype(np.bool_), self._limits)
        for name in drawn.keys() & _DICT_NAMES:
            kept = _KEEP_INBOUND if name == "inbound_fee_rate_ppm" else -1
            drawn[name] = np.where(free.changes, drawn[name], kept)
        for move in drawn.get("rebalance", ()):
            move[:2] = self._one_of(free.leaves), self._one_of(free.returns)
            if move.min() < 0:
                move[:2] = -1, 0
        for swap in drawn.get("swap", ()):
            swap[0] = self._one_of(free.outs if swap[1] > 0 else free.ins)
        for name, rows in (("close", free.closes), ("open", free.opens)):
            if name in drawn:
                drawn[name] = np.array([self._one_of(rows) if one >= 0 else -1 for one in drawn[name]])
        return drawn

    def _one_of(self, rows: npt.NDArray[Any]) -> int:
        """Draw one of the rows that are marked, or -1 where none is."""
        marked = np.flatnonzero(rows)
        return int(self.np_random.choice(marked)) if len(marked) else -1


def plain_space(limits: Limits) -> PlainNumbers:
    """Return the space of plain numbers; see ``DictActions``."""
    rows, most_sat = limits.rows, int(limits.capacity_msat.max()) // 1000
    bounds: dict[str, tuple[Any, Any]] = {
        "fee_rate_ppm": (-1, limits.max_fee_rate_ppm),
        "fee_base_msat": (-1, limits.max_fee_base_msat),
        "inbound_fee_rate_ppm": (-limits.max_fee_rate_ppm, _KEEP_INBOUND),
        "max_htlc_sat": (-1, most_sat),
    }
    names = [_DICT_NAMES[number] for number in limits.numbers]
    spaces: dict[str, gym.Space[Any]] = {name: gym.spaces.Box(*bounds[name], (rows,), np.int64) for name in names}
    if limits.rebalances:
        low, high = np.array([-1, 0, 0, 0]), np.array([rows - 1, rows - 1, most_sat, 1_000_000])
        shape = limits.rebalances, 1
        spaces["rebalance"] = gym.spaces.Box(np.tile(low, shape), np.tile(high, shape), dtype=np.int64)
    if limits.swaps:
        low, high = np.array([-1, -most_sat]), np.array([rows - 1, most_sat])
        shape = limits.swaps, 1
        spaces["swap"] = gym.spaces.Box(np.tile(low, shape), np.tile(high, shape), dtype=np.int64)
    for name, count in (("close", limits.closes), ("open", limits.opens)):
        if count:
            spaces[name] = gym.spaces.Box(-1, rows - 1, (count,), np.int64)
    return PlainNumbers(spaces, limits)


def plain_nothing(limits: Limits) -> dict[str, Int64]:
    """Return plain numbers that leave everything as it is."""
    still: dict[str, Int64] = {_DICT_NAMES[number]: np.full(limits.rows, -1, np.int64) for number in limits.numbers}
    if "inbound_fee_rate_ppm" in still:
        still["inbound_fee_rate_ppm"][:] = _KEEP_INBOUND
    if limits.rebalances:
        still["rebalance"] = np.tile(np.array([-1, 0, 0, 0]), (limits.rebalances, 1))
    if limits.swaps:
        still["swap"] = np.tile(np.array([-1, 0]), (limits.swaps, 1))
    for name, count in (("close", limits.closes), ("open", limits.opens)):
        if count:
            still[name] = np.full(count, -1, np.int64)
    return still


def _plain_part(actions: Mapping[str, Any], name: str, spaces: gym.spaces.Dict, batch: int) -> Int64:
    """Return one entry of plain numbers of a batch, stacked."""
    space = cast("gym.spaces.Box", spaces[name])
    values = as_array(actions[name])
    fits = values.dtype.kind in "iu" and values.shape == (batch, *space.shape)
    if not fits or not ((values >= space.low) & (values <= space.high)).all():
        raise InvalidAction(
            f"expected {name!r} of shape {space.shape} with integers in {space.low.min()}..{space.high.max()}, "
            f"got {actions[name]!r}"
        )
    return values.astype(np.int64)


class DictActions(OperatorActions):
    """``Dict`` of plain numbers: what rules and people think in.

    ``fee_rate_ppm``, ``fee_base_msat``, ``inbound_fee_rate_ppm`` (0 and below; 1 keeps it) and ``max_htlc_sat``, each
    int64 of shape (rows,), -1 to keep; ``rebalance``, rows of (channel to leave or -1, channel to come back by,
    amount in sat, fee limit in ppm); ``swap``, rows of (channel or -1, amount in sat, negative for a swap in);
    ``close`` and ``open``, channels or -1.
    """

    space: PlainNumbers

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.space = self.plain

    def nothing(self, batch: int) -> list[Any]:
        """See ``OperatorActions.nothing``."""
        return [plain_nothing(self.limits) for _ in range(batch)]

    def _decode(self, actions: Any) -> Int64:
        """See ``OperatorActions._decode``."""
        raise InvalidAction(f"expected dicts of {', '.join(self.space)}, got {actions!r}")

    def mask(self, allowed: Int8) -> Int8:
        """See ``ActionScheme.mask``: the options of all rows, each kind for itself."""
        return self.allowed_rows(allowed).transpose(1, 0, 2).reshape(len(allowed), -1)


def make_actions(config: OperatorConfig, capacity_msat: Int64) -> OperatorActions:
    """Return the actions that a config asks for, on own channels of given capacities, shape (channels,)."""
    kinds: dict[str, type[OperatorActions]] = {
        "box": BoxActions,
        "multidiscrete": MultiDiscreteActions,
        "dict": DictActions,
    }
    return kinds[config.action](Limits.of(config, capacity_msat))
