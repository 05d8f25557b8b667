"""Estimating the demand from what an agent sees: which payments flowed where, and whose failed."""

from __future__ import annotations

import copy
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.networks import require_network_for_demand
from lnsim_gym.agents.planner.demand import ExpectedLoad, drawn_demand, log_weights, of_log_weights
from lnsim_gym.agents.rules import MostUnbalanced
from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.liquidity import as_liquidity
from lnsim_gym.tasks.presentation import without_mask
from lnsim_gym.traffic.kernels import KIND_WEIGHTED

__all__ = ["DemandEstimator", "imagined_problem"]

FIT_NETWORKS: Final = 500
"""Simulated networks that the estimate is fitted to."""
FIT_REGIMES: Final = 4
"""Demand regimes that each of them goes through."""
LONGEST_MEMORY: Final = 50
"""Steps since a redraw after which nothing more is learned of a regime."""
RIDGE: Final = 10.0
"""Penalty on squared coefficients, in units of one fitted sample."""


class DemandEstimator:
    """Estimates the node weights of the current demand regime, with an honest idea of how sure it is.

    It knows the traffic model (how often weights are redrawn and how far they spread), but neither seeds nor weights.
    From the redraw on it adds up the payments over each direction and the failures of each sender and receiver; these
    counts and their logarithms predict the logarithms of the weights by ridge regression, one for each number of
    steps since the redraw, fitted to simulated networks at construction: the best linear estimate (linear Bayes;
    Goldstein and Wooff, Bayes linear statistics, 2007). What the regression leaves unexplained is taken as normal.

    Args:
        problem: The problem of the environment; its observation must be ``flows``, ``averages`` or ``dict``.

    Raises:
        ConfigError: The observation has no flows, the problem varies from episode to episode, or the network is too
            large.
    """

    def __init__(self, problem: Problem) -> None:
        self._layout = as_liquidity(problem.task, type(self).__name__).observations
        if self._layout.history == 0:
            raise ConfigError(
                "estimating the demand needs observation 'flows', 'averages' or 'dict', got 'balances': "
                "set it in the [view] of the recipe"
            )
        require_network_for_demand(problem.topology)
        self.problem = problem
        self.model = imagined_problem(problem, observation="flows", observation_history=1)
        self._expected_load = ExpectedLoad(problem.topology)
        self._counts: Float64 = np.zeros((0, self._layout.features))
        self._steps: Int64 = np.zeros(0, np.int64)
        self._mean = log_weights(drawn_demand(problem.traffic, 0, 0, 0)).ravel()
        memory = 0
        outputs = 2 * self._layout.nodes
        if problem.traffic.kind == KIND_WEIGHTED:
            self._mean[:] = 0.0
            memory = min(problem.traffic.redraw_every_steps - 1, LONGEST_MEMORY)
        self._memory = memory
        features = len(self._features(np.zeros((1, self._layout.features)))[0])
        self._centre: Float64 = np.zeros((memory + 1, features))
        self._slope: Float64 = np.zeros((memory + 1, features, outputs))
        self._spread: Float64 = np.zeros((memory + 1, outputs, outputs))  # Cholesky factor of what is unexplained
        self._spread[0] = problem.traffic.weight_spread * np.eye(outputs)
        if memory > 0:
            self._fit()

    def observe(self, observation: Any, step: Int64) -> None:
        """Take in what the last step showed.

        Args:
            observation: Observations, as for ``Agent.act``.
            step: Steps done in the episode of each network, shape (n,).
        """
        if len(step) != len(self._steps):
            self._counts = np.zeros((len(step), self._layout.features))
            self._steps = np.zeros(len(step), np.int64)
        fresh = np.asarray(step) % self.problem.traffic.redraw_every_steps == 0
        learning = (self._steps < self._memory) & ~fresh
        self._counts[fresh] = 0.0
        self._counts[learning] += self._last_step(observation)[learning]
        self._steps = np.where(fresh, 0, self._steps + learning)

    def demands(self, count: int, rng: np.random.Generator) -> Float64:
        """Draw demands as likely as what was observed makes them, the same chance for each network.

        Returns:
            Weights as ``draw_weights`` gives them, shape (n, count, 2, nodes).
        """
        chance = rng.standard_normal((count, self._spread.shape[1]))
        logs = self.expected_log_weights()[:, None] + np.einsum("cv,nwv->ncw", chance, self._spread[self._steps])
        return of_log_weights(logs.reshape(*logs.shape[:2], 2, -1))

    def expected_log_weights(self) -> Float64:
        """Return the expected logarithms of the senders' and then the receivers' weights, shape (n, 2 * nodes)."""
        expected = np.empty((len(self._steps), len(self._mean)))
        features = self._features(self._counts)
        for steps in np.unique(self._steps):
            which = self._steps == steps
            expected[which] = self._mean + (features[which] - self._centre[steps]) @ self._slope[steps]
        return expected

    def mean_step(self) -> Float64:
        """Return the features of the steps since the last redraw, on average, shape (n, layout.features)."""
        return self._counts / np.maximum(self._steps, 1)[:, None]

    def load_of(self, logs: Float64) -> Float64:
        """Return the expected load, shape (n, directions), for logarithms of weights of shape (n, 2 * nodes)."""
        return self._expected_load(of_log_weights(logs.reshape(len(logs), 2, -1)))

    def fresh_demands(self, count: int, rng: np.random.Generator) -> Float64:
        """Draw demands of a regime of which nothing was observed yet, shape (count, 2, nodes)."""
        logs = self._mean + rng.standard_normal((count, self._spread.shape[1])) @ self._spread[0].T
        return of_log_weights(logs.reshape(count, 2, -1))

    def load(self, count: int, rng: np.random.Generator) -> Float64:
        """Return the mean expected load over drawn demands, shape (n, directions)."""
        load: Float64 = self._expected_load(self.demands(count, rng)).mean(axis=1)
        return load

    def forget(self, which: npt.NDArray[np.bool_]) -> None:
        """Forget what was observed of the chosen networks, shape (n,): new episodes begin there."""
        self._counts[which] = 0.0
        self._steps[which] = 0

    def fresh_copy(self) -> DemandEstimator:
        """Return an estimator with the same fit that has observed nothing yet."""
        other = copy.copy(self)
        other._counts = self._counts[:0]
        other._steps = self._steps[:0]
        return other

    def save_state(self) -> tuple[Float64, Int64]:
        """Return what was added up for each network, and over how many steps."""
        return self._counts.copy(), self._steps.copy()

    def restore_state(self, memory: tuple[Float64, Int64]) -> None:
        """Put back what ``save_state`` returned."""
        counts, steps = memory
        self._counts = counts.copy()
        self._steps = steps.copy()

    def _last_step(self, observation: Any) -> Float64:
        """Read the features of the last step as an observation row has them, shape (n, layout.features)."""
        layout = self._layout
        observation = without_mask(observation)
        if not isinstance(observation, dict):
            row: Float64 = observation[:, layout.directions : layout.directions + layout.features].astype(np.float64)
            return row
        sizes = {"flows": layout.directions, "failed_by_sender": layout.nodes, "failed_by_receiver": layout.nodes}
        parts = [observation[key][:, :size] for key, size in sizes.items()]
        return np.concatenate(parts, axis=1).astype(np.float64)

    def _features(self, counts: Float64) -> Float64:
        """Return what the regression looks at, for sums of step features of shape (n, layout.features)."""
        arrays = self.problem.topology.arrays
        layout = self._layout
        payments = self.problem.config.payments_per_step
        typical = self._typical_msat * as_liquidity(self.problem.task, type(self).__name__).per_capacity
        flows = counts[:, : layout.directions] / typical
        sent, received = np.split(payments * counts[:, layout.directions :], 2, axis=1)
        leaving, arriving = (np.eye(layout.nodes)[ends] for ends in (arrays.source, arrays.destination))
        columns = np.concatenate([flows, sent, received, flows @ leaving + sent, flows @ arriving + received], axis=1)
        return np.concatenate([columns, np.log(columns + 1)], axis=1)

    @property
    def _typical_msat(self) -> float:
        """Mean amount of a payment, which turns flows into counts."""
        return 1000 * float(self.problem.traffic.amount_table.mean())

    def _fit(self) -> None:
        """Fit the regressions to simulated networks that a simple rule keeps balanced."""
        counts, logs = self._simulated()
        for steps in range(1, self._memory + 1):
            features = self._features(counts[steps - 1])
            wanted = logs - self._mean
            self._centre[steps] = features.mean(axis=0)
            features = features - self._centre[steps]
            scale = features.std(axis=0) + 1e-9
            scaled = features / scale
            penalty = RIDGE * np.eye(scaled.shape[1])
            slope = np.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ wanted)
            left = wanted - scaled @ slope
            self._slope[steps] = slope / scale[:, None]
            self._spread[steps] = np.linalg.cholesky(left.T @ left / len(left) + 1e-9 * np.eye(left.shape[1]))

    def _simulated(self) -> tuple[Float64, Float64]:
        """Simulate demand regimes.

        Returns:
            Sums of step features after each number of steps, shape (memory, samples, layout.features), and logarithms
            of weights, shape (samples, 2 * nodes).
        """
        episodes = SimulatedEpisodes(self.model, FIT_NETWORKS)
        rule = MostUnbalanced(self.model)
        everyone = np.ones(FIT_NETWORKS, np.bool_)
        rng = np.random.default_rng(0)
        columns = episodes.columns
        seeds = np.arange(FIT_NETWORKS, dtype=np.uint64)
        episodes.seeds[:] = seeds
        episodes.begin(everyone)
        counts = []
        logs = []
        for _ in range(FIT_REGIMES):
            demand = self.fresh_demands(FIT_NETWORKS, rng)
            seeds = seeds + np.uint64(FIT_NETWORKS)
            episodes.imagine(columns.balances_msat.copy(), demand, seeds)
            shown = []
            for _ in range(self._memory):
                observation = columns.observation
                info = {"action_mask": columns.allowed, "step": episodes.steps}
                episodes.step(everyone, self.model.task.actions.decode(rule.act(observation, info, rng)))
                shown.append(self._last_step(columns.observation))
            counts.append(np.cumsum(shown, axis=0))
            logs.append(log_weights(demand).reshape(FIT_NETWORKS, -1))
        episodes.close()
        return np.concatenate(counts, axis=1), np.concatenate(logs)


def imagined_problem(problem: Problem, **view: Any) -> Problem:
    """Return the same problem on the simulator, as a planner looks at it.

    Args:
        problem: The problem of an environment.
        **view: Settings of the observation.

    Raises:
        ConfigError: The problem varies from episode to episode.
    """
    if len(problem.variants) > 1:
        raise ConfigError("planners need a problem that stays the same: leave out variants and lists of topologies")
    return Problem.of(msgspec.structs.replace(problem.config, backend="simulator", action="discrete", **view))
