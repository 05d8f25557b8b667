"""A learned operator: one small network for every channel, which sees its own numbers and those of the whole node."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.operator.base import DAY_H, NEVER, OperatorRule, Plan, Seen
from lnsim_gym.arrays import Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.paths import write_private

__all__ = ["INPUTS", "OUTPUTS", "LearnedOperator", "PerChannel", "read_weights", "write_weights"]

INPUTS: Final = (
    "capacity",  # logarithm of M sat
    "local",  # own share of the balances of all channels to the peer, from -1 to 1
    "active",
    "fee_rate",  # own and the peer's, as logarithms of shares of ``USUAL_PPM``
    "peer_fee_rate",
    "peers_pay_low",  # what others ask on the way to the peer: quartiles, likewise
    "peers_pay_median",
    "peers_pay_high",
    "out_days",  # what went out in some days, in capacities a day, as square roots
    "out_weeks",
    "in_days",
    "in_weeks",
    "earned_days",  # fees, in thousandths of the capacity a day, as square roots
    "earned_weeks",
    "failed_days",  # HTLCs a day that the channel could not carry on, as square roots
    "days_since_change",  # in tens
    "changes_left",  # in fours
    "node_local",  # of the whole node, as above
    "node_out_weeks",
    "node_earned_weeks",
    "node_fee_rate",  # mean over the channels
    "node_channels",  # logarithm of their number in tens
)
"""What the network is shown of a channel."""
OUTPUTS: Final = ("fee_rate", "inbound_discount", "worth_refilled", "worth_kept")
"""What it answers: the fee rate and the discount on what arrives, as logarithms; what a sat more in the channel is
worth where it is refilled and where it is taken from, as shares of the fee rate."""
HIDDEN: Final = 16
USUAL_PPM: Final = 300.0
"""Fee rate that all others are shares of."""
LEAST_PPM: Final = 10.0
"""Added to fee rates before their logarithm is taken."""
DAYS: Final = 3.0
WEEKS: Final = 12.0
"""Days that the shorter and the longer means are over."""
MOST_PPM: Final = 4_900.0
MOST_DISCOUNT_PPM: Final = 2_000.0
LEAST_CHANGE: Final = 0.1
LEAST_CHANGE_PPM: Final = 5.0
"""A fee rate is announced where it changes by more than this share and this much."""
MOST_REFILL_SAT: Final = 300_000
MOST_REFILL_SHARE: Final = 0.25
"""Bounds of the amount of a refill, in sat and as a share of the channel's capacity."""
LEAST_GAIN_PPM: Final = 20.0
"""What a refill must be worth at least."""
FORM: Final = "lnsim learned operator 1"
"""Names this form of the file of weights."""


class PerChannel:
    """A network of one hidden layer with direct connections, or several of them side by side.

    Args:
        weights: All its numbers, shape (``PerChannel.size()``,); of several networks (networks, ``size()``).
    """

    def __init__(self, weights: npt.ArrayLike) -> None:
        flat = np.asarray(weights)
        shape, parts, begin = flat.shape[:-1], [], 0
        for rows, columns in self._layout():
            parts.append(flat[..., begin : begin + rows * columns].reshape(*shape, rows, columns))
            begin += rows * columns
        self.hidden, self.hidden_bias, self.out, self.direct, self.bias = parts

    @staticmethod
    def _layout() -> tuple[tuple[int, int], ...]:
        """Return rows and columns of each part of the weights."""
        shown, told = len(INPUTS), len(OUTPUTS)
        return (shown, HIDDEN), (1, HIDDEN), (HIDDEN, told), (shown, told), (1, told)

    def flat(self) -> Float64:
        """Return all numbers in one row, as they were given."""
        parts = (self.hidden, self.hidden_bias, self.out, self.direct, self.bias)
        return np.concatenate([part.reshape(*part.shape[:-2], -1) for part in parts], axis=-1)

    @classmethod
    def size(cls) -> int:
        """Return how many numbers a network is made of."""
        return sum(rows * columns for rows, columns in cls._layout())

    def __call__(self, inputs: Float64) -> Float64:
        """Return what it answers, shape (..., len(OUTPUTS)), to inputs, shape (..., len(INPUTS)).

        Several networks share the first axis of inputs among them, in order.
        """
        rows = inputs.astype(self.bias.dtype).reshape(*self.bias.shape[:-2], -1, inputs.shape[-1])
        answers = np.tanh(rows @ self.hidden + self.hidden_bias) @ self.out + rows @ self.direct + self.bias
        shaped: Float64 = answers.astype(np.float64).reshape(*inputs.shape[:-1], -1)
        return shaped


def write_weights(path: Path, weights: Float64) -> None:
    """Write the weights of a network to a file, whole or not at all.

    Raises:
        ConfigError: It cannot be written there.
    """
    content = io.BytesIO()
    np.savez(content, form=np.array(FORM), weights=weights)
    write_private(path, content.getvalue())


def read_weights(path: Path) -> Float64:
    """Read the weights of a network.

    Raises:
        ConfigError: There is no such file, it is none, or of a network of another size.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            form, weights = str(archive["form"]), archive["weights"]
    except FileNotFoundError:
        raise ConfigError(
            f"expected the weights of learned_operator in {path}, which does not exist: `lnsim train learned_operator` "
            "makes such a file"
        ) from None
    except Exception as problem:  # a damaged archive fails in many ways
        raise ConfigError(f"expected the weights of learned_operator, got {path}, which are none: {problem}") from None
    size = PerChannel.size()
    if form != FORM or weights.shape != (size,) or weights.dtype != np.float64 or not np.isfinite(weights).all():
        raise ConfigError(
            f"expected {FORM!r} with {size} finite numbers, got {form!r} with {weights.size} of type {weights.dtype} "
            f"in {path}: train it anew with this version"
        )
    return np.array(weights)


def _log(ppm: Float64) -> Float64:
    """Return fee rates as logarithms of shares of the usual one; unknown ones count as usual."""
    return np.log((np.nan_to_num(ppm, nan=USUAL_PPM) + LEAST_PPM) / (USUAL_PPM + LEAST_PPM))


class LearnedOperator(OperatorRule):
    """Sets fee rates and inbound discounts, and refills, as a trained network says.

    The network sees one channel at a time, so that it plays nodes of any number of channels.

    Args:
        problem: See ``OperatorRule``.
        weights: File of the network's weights; in a recipe relative to the recipe's folder.
    """

    is_separable = False  # matrix products depend on the number of rows in their last bits

    def __init__(self, problem: Problem, weights: str) -> None:
        super().__init__(problem)
        self.network = PerChannel(read_weights(Path(weights)))

    @classmethod
    def playing(cls, problem: Problem, network: PerChannel) -> Self:
        """Return the rule with a network that is in no file."""
        rule = cls.__new__(cls)
        OperatorRule.__init__(rule, problem)
        rule.network = network
        return rule

    def smoothed(self, name: str, values: Float64, days: float) -> Float64:
        """Return an exponentially weighted mean of what comes in a day, over about so many days."""
        share = 1 - np.exp(-self.hours / DAY_H / days)
        kept = self.kept(name, np.zeros(values.shape))
        kept += share * (values * DAY_H / self.hours - kept)
        return kept

    def inputs(self, seen: Seen) -> Float64:
        """Return what the network is shown, shape (n, channels, len(INPUTS))."""
        capacity = np.maximum(seen.capacity_sat, 1)
        flows = {}
        for days, span in (("days", DAYS), ("weeks", WEEKS)):
            flows["out_" + days] = self.smoothed("out_" + days, seen.forwarded_out_sat / capacity, span)
            flows["in_" + days] = self.smoothed("in_" + days, seen.forwarded_in_sat / capacity, span)
            flows["earned_" + days] = self.smoothed("earned_" + days, 1e3 * seen.fee_earned_sat / capacity, span)
        failed = self.smoothed("failed_days", seen.failed_liquidity, DAYS)
        whole = seen.capacity_sat.sum(axis=1, keepdims=True)
        spread = np.ones(capacity.shape)
        node_local = seen.local_sat.sum(axis=1, keepdims=True) / np.maximum(whole, 1)
        weight = seen.capacity_sat / np.maximum(whole, 1)
        own = _log(seen.fee_rate_ppm)
        columns = (
            np.log(capacity / 1e6),
            2 * self.local_of_peer(seen) - 1,
            seen.active,
            own,
            _log(seen.peer_fee_rate_ppm),
            *(_log(self.peers_pay_ppm(quantile)) for quantile in (0.25, 0.5, 0.75)),
            np.sqrt(flows["out_days"]),
            np.sqrt(flows["out_weeks"]),
            np.sqrt(flows["in_days"]),
            np.sqrt(flows["in_weeks"]),
            np.sqrt(flows["earned_days"]),
            np.sqrt(flows["earned_weeks"]),
            np.sqrt(failed),
            np.minimum(seen.days_since_change, 30) / 10,
            seen.changes_left / 4,
            (2 * node_local - 1) * spread,
            np.sqrt((flows["out_weeks"] * weight).sum(axis=1, keepdims=True)) * spread,
            np.sqrt((flows["earned_weeks"] * weight).sum(axis=1, keepdims=True)) * spread,
            own.mean(axis=1, keepdims=True) * spread,
            np.log(capacity.shape[1] / 10) * spread,
        )
        return np.stack(columns, axis=-1)

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        answers = self.network(self.inputs(seen))
        rate_ppm = np.clip((USUAL_PPM + LEAST_PPM) * np.exp(np.clip(answers[..., 0], -4, 2.7)) - LEAST_PPM, 0, MOST_PPM)
        discount_ppm = np.clip(USUAL_PPM * (np.exp(np.clip(answers[..., 1], -4, 2)) - 1), 0, MOST_DISCOUNT_PPM)
        least_ppm = LEAST_CHANGE * seen.fee_rate_ppm + LEAST_CHANGE_PPM
        ready = (seen.changes_left >= 1) & (np.abs(rate_ppm - seen.fee_rate_ppm) >= least_ppm)
        changed = self.announce(seen, plan, rate_ppm, where=ready)
        plan.fee_base_msat[changed] = 0
        plan.inbound_fee_rate_ppm[changed] = -np.trunc(discount_ppm)[changed].astype(np.int64)
        worth = rate_ppm[..., None] / (1 + np.exp(-np.clip(answers[..., 2:], -30, 30)))
        limit_ppm = worth[:, None, :, 0] - worth[:, :, None, 1]
        amount_sat = np.minimum(seen.spendable_sat[:, :, None], seen.receivable_sat[:, None, :])
        amount_sat = np.minimum(amount_sat, MOST_REFILL_SAT)
        amount_sat = np.minimum(amount_sat, MOST_REFILL_SHARE * seen.capacity_sat[:, None, :])
        gain = np.where(limit_ppm > LEAST_GAIN_PPM, limit_ppm * amount_sat, NEVER)
        self.rebalance(seen, plan, gain, amount_sat, np.maximum(limit_ppm, 0))
