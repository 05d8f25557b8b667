"""What a learning agent may look at besides the observation: the demand as it can be estimated so far."""

from __future__ import annotations

from typing import Final, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.base import Int64
from lnsim_gym.agents.planner.estimator import DemandEstimator
from lnsim_gym.agents.planner.forecast import TowardLoad
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["DemandFeatures", "FeaturesName"]

FeaturesName = Literal["demand"]
"""What a recipe may call features."""

Float32 = npt.NDArray[np.float32]

SAMPLES: Final = 16
"""Demands that the expected load is a mean of."""


class DemandFeatures:
    """Puts an estimate of the demand behind each observation.

    An observation ``flows`` of one step is followed by, for each direction in order, the load that is expected (the
    share of the payments), the share of the channel that ``TowardLoad`` would let its end hold, and how much it holds
    beyond that; and by the share of the steps between two redraws of the demand that have gone. The estimate is that
    of ``DemandEstimator``, from what was observed since the last redraw.

    Args:
        problem: The problem of the environment; its observation must be ``flows`` with a history of one step.

    Raises:
        ConfigError: The observation is another one, or the demand of the problem cannot be estimated.
    """

    def __init__(self, problem: Problem) -> None:
        if problem.layout.name != "flows" or problem.layout.history != 1:
            raise ConfigError(
                "the features 'demand' need observation 'flows' with an observation_history of 1, "
                f"got {problem.layout.name!r} with {problem.layout.history}"
            )
        self._estimator, self._rule = DemandEstimator(problem), TowardLoad(problem)
        self._directions, self._redraw = problem.layout.directions, problem.traffic.redraw_every_steps
        size = problem.layout.size + 3 * self._directions + 1
        self.space = gym.spaces.Box(-1.0, 1.0, (size,), np.float32)

    def __call__(self, observation: Float32, step: Int64) -> Float32:
        """Take in what the last step showed, and return the observations with their features.

        Args:
            observation: Observations, shape (n, layout.size).
            step: Steps done in the episode of each network, shape (n,); 0 where one begins.

        Returns:
            Shape (n, size of ``space``).
        """
        self._estimator.observe(observation, step)
        return self._look(observation, step)

    def begin(self, which: npt.NDArray[np.bool_], observation: Float32) -> Float32:
        """Return the first observations of the episodes that begin on the chosen networks, with their features.

        Args:
            which: Which networks, shape (n,).
            observation: Observations of all networks, shape (n, layout.size).

        Returns:
            Shape (chosen networks, size of ``space``).
        """
        self._estimator.forget(which)
        return self._look(observation, np.zeros(len(observation), np.int64))[which]

    def _look(self, observation: Float32, step: Int64) -> Float32:
        """Put the features behind observations."""
        load = self._estimator.load(SAMPLES, np.random.default_rng(0))  # the same chance again: no noise between steps
        targets = self._rule.targets_for(load)
        surplus = observation[:, : self._directions] - targets
        gone = (np.asarray(step) % self._redraw / self._redraw)[:, None]
        return np.concatenate([observation, load, targets, surplus, gone], axis=1, dtype=np.float32)

    @classmethod
    def of(cls, name: FeaturesName | None, problem: Problem) -> DemandFeatures | None:
        """Return the features that a recipe names, or None where it names none."""
        return None if name is None else cls(problem)

    def saved(self) -> tuple[npt.NDArray[np.float64], Int64]:
        """Return what it remembers of the networks."""
        return self._estimator.saved()

    def restore(self, memory: tuple[npt.NDArray[np.float64], Int64]) -> None:
        """Put back what ``saved`` returned."""
        self._estimator.restore(memory)
