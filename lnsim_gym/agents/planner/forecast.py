"""The rule that keeps liquidity where payments are expected, with a forecast of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.planner.estimator import DemandEstimator
from lnsim_gym.agents.rules import Rule
from lnsim_gym.agents.rules.base import NEVER
from lnsim_gym.arrays import Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["Forecast", "TowardLoad"]


class TowardLoad(Rule):
    """Moves ends towards shares of their channel in proportion to the payments expected in their direction.

    The end farthest above its share gives. Its user sets ``targets`` before asking for wishes.

    Args:
        problem: The problem of the environment it acts on.
        evenness: What is added to the load of every direction, as a multiple of the mean load: 0 trusts the load alone,
            much makes all channels even.
    """

    targets: Float64
    """Share of its channel that each end is to hold, shape (n, directions)."""

    def __init__(self, problem: Problem, evenness: float = 0.1) -> None:
        super().__init__(problem)
        if evenness < 0:
            raise ConfigError(f"evenness must be at least 0, got {evenness}")
        self.evenness = evenness

    def targets_for(self, load: Float64) -> Float64:
        """Return the targets that an expected load means, both of shape (n, directions)."""
        load = load + self.evenness * load.mean(axis=1, keepdims=True)
        both_ways = load.reshape(len(load), -1, 2).sum(axis=2).repeat(2, axis=1)
        targets: Float64 = load / both_ways
        return targets

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        surplus = shares - self.targets
        amount = np.minimum(surplus[:, self.giver], -surplus[:, self.taker])
        return np.where(amount > 0, amount, NEVER), amount


class Forecast(TowardLoad):
    """Estimates the demand from flows and failures, and moves liquidity to where it will be asked for.

    Args:
        problem: The problem of the environment it acts on; its observation must be ``flows`` or ``dict``.
        evenness: See ``TowardLoad``.
        samples: Demands that the expected load is a mean of.
    """

    def __init__(self, problem: Problem, evenness: float = 0.1, samples: int = 64) -> None:
        super().__init__(problem, evenness)
        if samples < 1:
            raise ConfigError(f"samples must be at least 1, got {samples}")
        self.samples = samples
        self._estimator = DemandEstimator(problem)

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        """See ``Agent.act``."""
        self._estimator.observe(observation, info["step"])
        self.targets = self.targets_for(self._estimator.load(self.samples, rng))
        return super().act(observation, info, rng)
