"""Planning by rollouts: the simulator as the model, a rule as the guess at what one will do later."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.planner.estimator import imagined_problem
from lnsim_gym.agents.planner.forecast import TowardLoad
from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.liquidity.actions import decisions
from lnsim_gym.tasks.liquidity.routes import NO_OP

__all__ = ["Demand", "RolloutPlanner"]

NETWORKS_AT_ONCE: Final = 16
"""Networks whose rollouts go together: few enough for the processor's cache."""
KEPT_MODELS: Final = 4
"""Sizes of batches that models are kept for."""


class Demand(NamedTuple):
    """What a planner takes the demand of n networks to be."""

    now: Float64  # (n, futures, 2, nodes) weights of each future, as ``draw_weights`` gives them
    later: Float64  # (n, futures, 2, nodes) those after the next redraw
    load: Float64  # (n, directions) load that the rule expects
    later_load: Float64  # (n, directions)


class RolloutPlanner(Agent):
    """Rolls the most promising rebalances out over sampled futures, and takes the best.

    The candidates are doing nothing, and those rebalances that ``TowardLoad`` finds most urgent. Each is tried over
    the same sampled futures; ``TowardLoad`` acts in the steps after it. The best few are then tried over more futures.
    A rollout with a rule behind its first step improves on that rule (Tesauro and Galperin, On-line policy
    improvement using Monte-Carlo search, 1996); dropping candidates halfway spends the samples where they count
    (Karnin, Koren and Somekh, Almost optimal exploration in multi-armed bandits, 2013).

    Args:
        problem: The problem of the environment it acts on.
        horizon: Steps of a rollout.
        candidates: Rebalances that are tried, besides doing nothing.
        samples: Futures for each candidate.
        finalists: Candidates that are tried over more futures.
        more_samples: Further futures for each finalist.
        evenness: See ``TowardLoad``.
        threads: Threads that share the rollouts.
    """

    def __init__(
        self,
        problem: Problem,
        horizon: int = 8,
        candidates: int = 4,
        samples: int = 24,
        finalists: int = 2,
        more_samples: int = 96,
        evenness: float = 0.1,
        threads: int = 1,
    ) -> None:
        super().__init__(problem)
        if not 1 <= horizon <= problem.traffic.redraw_every_steps:
            raise ConfigError(f"horizon must lie in 1..{problem.traffic.redraw_every_steps}, got {horizon}")
        if candidates < 1 or samples < 1 or finalists < 1 or more_samples < 0:
            raise ConfigError(
                "candidates, samples and finalists must be at least 1 and more_samples at least 0, "
                f"got {candidates}, {samples}, {finalists} and {more_samples}"
            )
        self.model = imagined_problem(problem, observation="balances")
        self.horizon = horizon
        self.candidates = min(candidates, len(self.liquidity.routes.hops))
        self.samples = samples
        self.finalists = min(finalists, 1 + self.candidates)
        self.more_samples = more_samples
        self.threads = threads
        self._rule = TowardLoad(self.model, evenness)
        self._models: dict[int, SimulatedEpisodes] = {}

    @abstractmethod
    def demand(self, observation: Any, info: Mapping[str, Any], futures: int, rng: np.random.Generator) -> Demand:
        """Say what the demand is now, and after the next redraw.

        Args:
            observation: As for ``act``.
            info: As for ``act``.
            futures: Number of futures.
            rng: Source of any randomness, used alike whatever the number of networks.
        """

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        """See ``Agent.act``."""
        futures = self.samples + self.more_samples
        demand = self.demand(observation, info, futures, rng)
        balances_msat = self.balances_msat(observation)
        step = np.asarray(info["step"])
        left = self.problem.traffic.redraw_every_steps - step % self.problem.traffic.redraw_every_steps
        row, size = self._promising(observation, info, demand.load, rng)
        seeds = rng.integers(2**62, size=futures).astype(np.uint64)
        best = np.zeros(len(step), np.int64)
        for first in range(0, len(step), NETWORKS_AT_ONCE):
            part = slice(first, first + NETWORKS_AT_ONCE)
            here = Demand(*(field[part] for field in demand))
            best[part] = self._best((row[part], size[part]), balances_msat[part], here, left[part], seeds)
        picked = np.arange(len(best)), best
        return self.liquidity.actions.encode(row[picked], size[picked])

    def _promising(
        self, observation: Any, info: Mapping[str, Any], load: Float64, rng: np.random.Generator
    ) -> tuple[Int64, Int64]:
        """Return rows and sizes of the candidates, doing nothing first, shape (n, 1 + candidates)."""
        self._rule.targets = self._rule.targets_for(load)
        shares = self.balance_shares(observation).reshape(len(load), -1)
        carried = self._rule.carried(observation, info["action_mask"])
        row, size = self._rule.ranked(*self._rule.wishes(shares, info, rng), carried, self.candidates)
        idle = np.zeros((len(load), 1), np.int64)
        return np.concatenate([idle + NO_OP, row], axis=1), np.concatenate([idle, size], axis=1)

    def _best(
        self, candidates: tuple[Int64, Int64], balances_msat: Int64, demand: Demand, left: Int64, seeds: Any
    ) -> Int64:
        """Return the index of the best candidate of each network, shape (n,)."""
        early = slice(0, self.samples)
        late = slice(self.samples, None)
        reward = self._rewards(candidates, balances_msat, demand, left, seeds, early)
        kept: Int64 = np.argsort(-reward, axis=1, kind="stable")[:, : self.finalists]
        row, size = (np.take_along_axis(column, kept, axis=1) for column in candidates)
        reward = np.take_along_axis(reward, kept, axis=1)
        if self.more_samples:
            reward = reward + self._rewards((row, size), balances_msat, demand, left, seeds, late)
        best: Int64 = np.take_along_axis(kept, reward.argmax(axis=1)[:, None], axis=1)[:, 0]
        return best

    def _rewards(
        self,
        candidates: tuple[Int64, Int64],
        balances_msat: Int64,
        demand: Demand,
        left: Int64,
        seeds: npt.NDArray[np.uint64],
        futures: slice,
    ) -> Float64:
        """Return the sum over futures of the reward over the horizon of each candidate, shape (n, candidates)."""
        count, tried = candidates[0].shape
        samples = len(seeds[futures])
        networks = count * tried * samples
        copies = tried * samples

        def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            """Repeat what futures of one network have in common."""
            return np.repeat(values, copies, axis=0)

        now, later = (
            np.repeat(weights[:, None, futures], tried, axis=1).reshape(networks, 2, -1)
            for weights in (demand.now, demand.later)
        )
        row, size = (np.repeat(column.ravel(), samples) for column in candidates)
        redraw = spread(left)
        targets, later_targets = (spread(self._rule.targets_for(load)) for load in (demand.load, demand.later_load))
        model = self._model(networks)
        model.imagine(spread(balances_msat), now, np.tile(seeds[futures], count * tried))
        everyone = np.ones(networks, np.bool_)
        total = np.zeros(networks)
        for step in range(self.horizon):
            redrawn = redraw == step
            if redrawn.any():
                model.imagine_demand(redrawn, later)
                targets[redrawn] = later_targets[redrawn]
            if step > 0:
                row, size = self._follow(model, targets)
            amount_msat = np.where(row == NO_OP, 0, self.liquidity.actions.amounts_msat[row, size])
            model.step(everyone, decisions(row, amount_msat))
            total += model.columns.reward
        rewards: Float64 = total.reshape(count, tried, samples).sum(axis=2)
        return rewards

    def _follow(self, model: SimulatedEpisodes, targets: Float64) -> tuple[Int64, Int64]:
        """Return what the rule does on each network of a model, as rows and sizes."""
        columns = model.columns
        self._rule.targets = targets
        shares = columns.observation.astype(np.float64)
        wishes = self._rule.wishes(shares, {}, _NO_CHANCE)
        row, size = self._rule.ranked(*wishes, self._rule.carried(columns.observation, columns.allowed), 1)
        return row[:, 0], size[:, 0]

    def _model(self, networks: int) -> SimulatedEpisodes:
        """Return the model for a number of networks."""
        if networks not in self._models:
            if len(self._models) == KEPT_MODELS:
                self._models.pop(next(iter(self._models))).close()
            self._models[networks] = SimulatedEpisodes(self.model, networks, self.threads)
        return self._models[networks]


_NO_CHANCE: Final = np.random.default_rng(0)  # the rule draws nothing
