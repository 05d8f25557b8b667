"""Features that put the demand, as it can be estimated so far, behind the observation."""

from __future__ import annotations

import copy
from typing import Any, Final, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.features.base import Features
from lnsim_gym.agents.planner.estimator import DemandEstimator
from lnsim_gym.agents.planner.forecast import TowardLoad
from lnsim_gym.arrays import Float32, Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.liquidity import as_liquidity

__all__ = ["DemandFeatures"]


END_IN_SIGHT: Final = 20
"""Steps before its end at which an episode's end is first seen."""


class DemandFeatures(Features):
    """Puts an estimate of the demand behind each observation.

    An observation ``flows`` of one step is followed by the mean of its features over the steps since the last redraw
    of the demand; the logarithms of the senders' and the receivers' weights as ``DemandEstimator`` expects them; for
    each direction in order, the load that these weights mean (the share of the payments), the share of the channel
    that ``TowardLoad`` would let its end hold, and how much it holds beyond that; and by three clocks: the share of
    the steps between two redraws that have gone, one over one more than those steps, and the steps that the episode
    still has, as a share of ``END_IN_SIGHT``, at most 1.

    Args:
        problem: The problem of the environment; its observation must be ``flows`` with a history of one step.
        episode_steps: Steps of an episode.

    Raises:
        ConfigError: The observation is another one, or the demand of the problem cannot be estimated.
    """

    def __init__(self, problem: Problem, episode_steps: int) -> None:
        layout = as_liquidity(problem.task, type(self).__name__).observations
        if layout.name != "flows" or layout.history != 1:
            raise ConfigError(
                "the features 'demand' need observation 'flows' with an observation_history of 1, "
                f"got {layout.name!r} with {layout.history}"
            )
        self._estimator = DemandEstimator(problem)
        self._rule = TowardLoad(problem)
        self._directions = layout.directions
        self._redraw = problem.traffic.redraw_every_steps
        self._episode_steps = episode_steps
        size = layout.size + layout.features + 2 * layout.nodes + 3 * self._directions + 3
        self.space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def __call__(self, observation: Float32, step: Int64) -> Float32:
        """See ``Features``."""
        self._estimator.observe(observation, step)
        return self._look(observation, step)

    def begin(self, which: npt.NDArray[np.bool_], observation: Float32) -> Float32:
        """See ``Features``."""
        self._estimator.forget(which)
        return self._look(observation, np.zeros(len(observation), np.int64))[which]

    def _look(self, observation: Float32, step: Int64) -> Float32:
        """Put the features behind observations."""
        estimator = self._estimator
        weights = estimator.expected_log_weights()
        load = estimator.load_of(weights)
        targets = self._rule.targets_for(load)
        surplus = observation[:, : self._directions] - targets
        estimates = [estimator.mean_step(), weights, load, targets, surplus]
        return np.concatenate([observation, *estimates, self._clocks(step)], axis=1, dtype=np.float32)

    def _clocks(self, step: Int64) -> Float64:
        """Return the three clocks of each network, shape (n, 3)."""
        gone = np.asarray(step) % self._redraw
        left = self._episode_steps - np.asarray(step)
        return np.stack([gone / self._redraw, 1 / (1 + gone), left.clip(0, END_IN_SIGHT) / END_IN_SIGHT], axis=1)

    def fresh_copy(self) -> Self:
        """See ``Features``."""
        other = copy.copy(self)
        other._estimator = self._estimator.fresh_copy()
        return other

    def save_state(self) -> tuple[Float64, Int64]:
        """See ``Features``."""
        return self._estimator.save_state()

    def restore_state(self, memory: tuple[npt.NDArray[Any], ...]) -> None:
        """See ``Features``."""
        counts, steps = memory
        self._estimator.restore_state((counts, steps))
