"""Plain inventory rules: they keep shares near a level, with few settings and no ideas about demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lnsim_gym.agents.rules.base import NEVER, Rule
from lnsim_gym.arrays import Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["MostUnbalanced", "Proportional", "Threshold"]


class MostUnbalanced(Rule):
    """Moves a fixed amount from the fuller to the emptier end of the most unbalanced pair of ends, in every step.

    Source: greedy load balancing, the simplest rule that looks at balances.

    Args:
        problem: The problem of the environment it acts on.
        size: Amount to move, as a share of the capacity.
    """

    def __init__(self, problem: Problem, size: float = 0.2) -> None:
        super().__init__(problem)
        if not 0 < size <= 1:
            raise ConfigError(f"most_unbalanced needs size in (0, 1], got {size}")
        self.size = size

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        gap = shares[:, self.giver] - shares[:, self.taker]
        return np.where(gap > 0, gap, NEVER), self.size


class Threshold(Rule):
    """Waits until an end is too full or too empty, then moves as much as brings it back to a target.

    Source: the (s, S) policy of inventory control (Scarf, The optimality of (S, s) policies in the dynamic inventory
    problem, 1960): act below a level, and then go to another.

    Args:
        problem: The problem of the environment it acts on.
        low: Share of the capacity below which the end that would take is too empty.
        high: Share above which the end that would give is too full.
        target: Share that the giver keeps at least, and that the taker gets at most.
    """

    def __init__(self, problem: Problem, low: float = 0.35, high: float = 0.65, target: float = 0.5) -> None:
        super().__init__(problem)
        if not 0 <= low <= target <= high <= 1:
            raise ConfigError(
                f"threshold needs 0 <= low <= target <= high <= 1, got low {low}, target {target}, high {high}"
            )
        self.low = low
        self.high = high
        self.target = target

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        gives = shares[:, self.giver]
        takes = shares[:, self.taker]
        amount = np.minimum(gives - self.target, self.target - takes)
        outside = (gives > self.high) | (takes < self.low)
        return np.where(outside, gives - takes, NEVER), amount


class Proportional(Rule):
    """Moves, between the most unbalanced pair of ends, an amount in proportion to their difference.

    Source: the proportional controller of control engineering; with a gain of 1 the two ends become equal.

    Args:
        problem: The problem of the environment it acts on.
        gain: Amount to move, as a multiple of half the difference.
        dead_band: Half the difference, as a share of the capacity, up to which nothing is done.
    """

    def __init__(self, problem: Problem, gain: float = 1.0, dead_band: float = 0.05) -> None:
        super().__init__(problem)
        if not (gain > 0 and 0 <= dead_band <= 0.5):
            raise ConfigError(
                f"proportional needs gain > 0 and dead_band in 0..0.5, got gain {gain}, dead_band {dead_band}"
            )
        self.gain = gain
        self.dead_band = dead_band

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        deviation = (shares[:, self.giver] - shares[:, self.taker]) / 2
        return np.where(deviation > self.dead_band, deviation, NEVER), self.gain * deviation
