"""Planning with the simulator as the model of the world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lnsim_gym.actions import NO_OP
from lnsim_gym.agents.base import Agent, Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.traffic.source import draw_weights

__all__ = ["PlannerOracle"]

Int64Pair = tuple[Int64, Int64]


class PlannerOracle(Agent):
    """Rolls every rebalance out over sampled futures of the true demand, and takes the best.

    It knows the weights that payments are drawn with at the moment, though not the payments themselves: a reference
    that no agent without this knowledge need reach. After the first rebalance the rollouts do nothing.

    Args:
        problem: The problem of the environment it acts on; its traffic must have drifting weights.
        horizon: Steps of a rollout.
        samples: Futures for each rebalance, the same for all of them.
        sizes: How many of the largest sizes are tried.
        threads: Threads that share the rollouts.
    """

    def __init__(self, problem: Problem, horizon: int = 4, samples: int = 8, sizes: int = 1, threads: int = 1) -> None:
        super().__init__(problem)
        if not 1 <= horizon <= problem.traffic.redraw_every_steps:
            raise ConfigError(f"horizon must lie in 1..{problem.traffic.redraw_every_steps}, got {horizon}")
        if len(problem.variants) > 1:
            raise ConfigError(
                "the planner needs a problem that stays the same: leave out variants and lists of topologies"
            )
        if samples < 1 or not 1 <= sizes <= len(problem.actions.sizes):
            raise ConfigError(f"samples must be at least 1 and sizes in 1..{len(problem.actions.sizes)}")
        self.horizon, self.samples, self.threads = horizon, samples, threads
        tried = range(len(problem.actions.sizes) - sizes, len(problem.actions.sizes))
        rows = range(len(problem.routes.hops))
        self._candidates = [(NO_OP, 0), *((row, size) for row in rows for size in tried)]
        self._models: dict[int, SimulatedEpisodes] = {}

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        """See ``Agent.act``."""
        balances_msat = self._balances_msat(self.balance_shares(observation))
        cumulative = np.stack([self._weights(*place) for place in zip(*self._places(info), strict=True)])
        chosen: list[tuple[int, int]] = []
        for first in range(0, len(balances_msat), _NETWORKS_AT_ONCE):
            part = slice(first, first + _NETWORKS_AT_ONCE)
            scores = self._scores(balances_msat[part], cumulative[part], int(rng.integers(2**62)))
            chosen += [self._candidates[best] for best in scores.argmax(axis=1)]
        row, size = (np.array(column, np.int64) for column in zip(*chosen, strict=True))
        return self.problem.actions.encode(row, size)

    def _scores(self, balances_msat: Int64, cumulative: Float64, seed: int) -> Float64:
        """Return the mean reward over the horizon of each candidate, shape (n, candidates)."""
        count, candidates = len(balances_msat), len(self._candidates)
        copies = candidates * self.samples
        model = self._model(count * copies)
        model.imagine(np.repeat(balances_msat, copies, axis=0), np.repeat(cumulative, copies, axis=0), seed)
        futures = np.tile(np.arange(self.samples, dtype=np.uint64), count * candidates)
        model.seeds[:] = np.uint64(seed) + futures  # every candidate meets the same futures
        row, amount_msat = (np.tile(np.repeat(column, self.samples), count) for column in self._rebalances())
        everyone, idle = np.ones(count * copies, np.bool_), np.full(count * copies, NO_OP)
        total = np.zeros(count * copies)
        for step in range(self.horizon):
            model.step(everyone, row if step == 0 else idle, amount_msat if step == 0 else np.zeros_like(amount_msat))
            total += model.columns.reward
        scores: Float64 = total.reshape(count, candidates, self.samples).mean(axis=2)
        return scores

    def _rebalances(self) -> Int64Pair:
        """Return row and amount in msat of each candidate."""
        row, size = np.array(self._candidates, np.int64).T
        return row, np.where(row == NO_OP, 0, self.problem.actions.amounts_msat[row, size])

    def _model(self, networks: int) -> SimulatedEpisodes:
        """Return the model for a number of networks; two sizes at most are kept."""
        if networks not in self._models:
            if len(self._models) == 2:
                self._models.pop(next(iter(self._models))).close()
            self._models[networks] = SimulatedEpisodes(self.problem, networks, self.threads)
        return self._models[networks]

    def _balances_msat(self, shares: Float64) -> Int64:
        """Return balances in whole sat, in msat, that the channels can hold."""
        topology = self.problem.topology
        total_sat = topology.owned_total_msat // 1000
        initiator_sat = np.rint(shares[:, :, 0] * topology.arrays.capacity_sat).astype(np.int64)
        initiator_sat = np.clip(initiator_sat, topology.arrays.reserve_msat // 1000, total_sat)
        return 1000 * np.stack([initiator_sat, total_sat - initiator_sat], axis=2)

    def _weights(self, seed: int, episode: int, regime: int) -> Float64:
        """Return the true weights of a demand regime, shape (2, nodes)."""
        cumulative = np.empty((2, len(self.problem.topology.nodes)))
        draw_weights(self.problem.traffic, np.uint64(seed % 2**64), episode, regime, cumulative)
        return cumulative

    def _places(self, info: Mapping[str, Any]) -> tuple[list[int], list[int], list[int]]:
        """Return seed, episode and demand regime of each network."""
        regimes = np.asarray(info["step"]) // self.problem.traffic.redraw_every_steps
        return [int(seed) for seed in info["seed"]], np.asarray(info["episode_number"]).tolist(), regimes.tolist()


_NETWORKS_AT_ONCE = 64
