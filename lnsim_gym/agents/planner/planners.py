"""The two planners: one that knows the demand, and one that works it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lnsim_gym.agents.planner.demand import ExpectedLoad, drawn_demand
from lnsim_gym.agents.planner.estimator import DemandEstimator
from lnsim_gym.agents.planner.rollouts import Demand, RolloutPlanner
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["Planner", "PlannerOracle"]


class PlannerOracle(RolloutPlanner):
    """Plans with the true demand: the upper reference.

    It knows the weights that payments are drawn with, now and after the next redraw, though not the payments
    themselves: no agent without this knowledge need reach it.

    Args:
        problem: The problem of the environment it acts on.
        settings: Settings of ``RolloutPlanner``.
    """

    def __init__(self, problem: Problem, **settings: Any) -> None:
        super().__init__(problem, **settings)
        self._expected_load = ExpectedLoad(problem.topology)

    def demand(
        self,
        observation: Any,
        info: Mapping[str, Any],
        futures: int,
        rng: np.random.Generator,
    ) -> Demand:
        """See ``RolloutPlanner.demand``."""
        regimes = np.asarray(info["step"]) // self.problem.traffic.redraw_every_steps
        now = self._weights(info, regimes)
        later = self._weights(info, regimes + 1)
        over = (slice(None), np.zeros(futures, np.int64))  # every future has the same weights
        return Demand(now[:, None][over], later[:, None][over], self._expected_load(now), self._expected_load(later))

    def _weights(self, info: Mapping[str, Any], regimes: Any) -> Any:
        """Return the true weights of demand regimes, shape (n, 2, nodes)."""
        places = zip(info["seed"], info["episode_number"], regimes, strict=True)
        return np.stack([drawn_demand(self.problem.traffic, *map(int, place)) for place in places])


class Planner(RolloutPlanner):
    """Plans with the demand that it estimates from flows and failures; it never learns the true one.

    Every future has a demand of its own, drawn from what is likely after all that was observed since the last redraw;
    after the next redraw, from the prior.

    Args:
        problem: The problem of the environment it acts on; its observation must show flows.
        horizon: See ``RolloutPlanner``.
        load_samples: Demands that the load expected by the rule is a mean of.
        settings: The other settings of ``RolloutPlanner``.
    """

    def __init__(self, problem: Problem, horizon: int = 6, load_samples: int = 64, **settings: Any) -> None:
        super().__init__(problem, horizon=horizon, **settings)
        if load_samples < 1:
            raise ConfigError(f"load_samples must be at least 1, got {load_samples}")
        self.load_samples = load_samples
        self._estimator = DemandEstimator(problem)
        self._expected_load = ExpectedLoad(problem.topology)

    def demand(self, observation: Any, info: Mapping[str, Any], futures: int, rng: np.random.Generator) -> Demand:
        """See ``RolloutPlanner.demand``."""
        estimator = self._estimator
        estimator.observe(observation, info["step"])
        load = estimator.load(self.load_samples, rng)
        now = estimator.demands(futures, rng)
        later = estimator.fresh_demands(futures, rng)
        mean = np.broadcast_to(self._expected_load(later).mean(axis=0), load.shape)
        return Demand(now, np.broadcast_to(later, now.shape), load, mean)
