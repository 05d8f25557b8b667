"""A week that is played with every draw of its demand, by what the node did then and by other policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.agents import Agent, make_agent
from lnsim_gym.agents.evaluate import Tally, play_episodes
from lnsim_gym.agents.operator import OperatorRule, Plan, Seen
from lnsim_gym.agents.recipe import view_of
from lnsim_gym.arrays import Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.network import Topology
from lnsim_gym.own_node.backtest.told import WEEK_DAYS
from lnsim_gym.own_node.demand.fitted import FittedDemand
from lnsim_gym.own_node.demand.past import Past
from lnsim_gym.own_node.demand.problem import laid_out, seeds_of
from lnsim_gym.own_node.demand.world import own_problem
from lnsim_gym.own_node.reading.history import DAY_NS
from lnsim_gym.tasks.operator import OperatorTask
from lnsim_gym.tasks.state import Variants

__all__ = ["Stage", "logged_agent"]

_STEP_HOURS: Final = 6.0
_FIRST_SEED: Final = 3_000_000
_REFILL_LIMIT: Final = 1.25
"""What a refill of the past may cost at most when it is played, as a multiple of what it did cost."""
_MOST_REFILLS: Final = 100


class Stage:
    """A week of a node's past with every draw of a demand; what policies play on is made once for all of them.

    Args:
        past: The node's past.
        topology: The whole network around it.
        demand: The demand.
        begin_ns: When the week begins, in ns since 1970.
        threads: Threads that share simulated networks.
        days: Its first days that are played.
    """

    def __init__(
        self,
        past: Past,
        topology: Topology,
        demand: FittedDemand,
        begin_ns: int,
        threads: int = 1,
        days: int = WEEK_DAYS,
    ) -> None:
        self.past, self.topology, self.demand = past, topology, demand
        self.begin_ns, self.threads, self.steps = begin_ns, threads, round(24 * days / _STEP_HOURS)
        self._problems: dict[bytes, Problem] = {}
        self._laid_out: dict[bool, Variants] = {}

    def player(self, policy: str) -> Agent:
        """Return the agent of a policy on this week.

        Raises:
            ConfigError: It cannot run a node.
        """
        return make_agent(policy, self.problem(**view_of(policy, OperatorTask.name)))

    def problem(self, **settings: Any) -> Problem:
        """Return the problem of this week; see ``own_problem``."""
        key = msgspec.json.encode(settings, order="sorted")
        if key not in self._problems:
            chosen = {"at_ns": self.begin_ns, "step_hours": _STEP_HOURS, **settings}
            self._problems[key] = own_problem(self.past.node, self.topology, self.demand, **chosen)
        return self._problems[key]

    def play(self, agent: Agent) -> Tally:
        """Let an agent of this week's problem play every draw."""
        problem = agent.problem
        if problem.is_linked not in self._laid_out:
            self._laid_out[problem.is_linked] = laid_out(problem)
        seeds = seeds_of(problem, _FIRST_SEED)
        episodes = SimulatedEpisodes(problem, len(seeds), self.threads, self._laid_out[problem.is_linked])
        return play_episodes(agent, seeds, self.steps, threads=self.threads, episodes=episodes)


class _Logged(OperatorRule):
    """Does what the node did: its fee rates as far as its forwards tell them, and its refills.

    Args:
        problem: The problem.
        rates_ppm: Fee rates by step, shape (steps, channels).
        refills: By step, rebalances as plans have them, shape (rebalances, 4).
    """

    def __init__(self, problem: Problem, rates_ppm: Int64, refills: Sequence[Int64]) -> None:
        super().__init__(problem)
        self._rates_ppm, self._refills = rates_ppm, refills

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:  # noqa: ARG002 - nothing is decided
        """See ``OperatorRule.decide``."""
        step = int(self._steps[0])
        plan.fee_rate_ppm[:] = self._rates_ppm[step]
        plan.rebalance[:, : len(self._refills[step])] = self._refills[step]


def logged_agent(stage: Stage) -> OperatorRule:
    """Return what does in a week what the node did then."""
    past, begin_ns = stage.past, stage.begin_ns
    step_ns = round(_STEP_HOURS * DAY_NS / 24)
    middles_ns = begin_ns + step_ns * np.arange(stage.steps, dtype=np.int64) + step_ns // 2
    rates_ppm, refills = past.fee_rate_ppm(middles_ns), _refills(past, begin_ns, step_ns, stage.steps)
    problem = stage.problem(
        fee_change_hours=0,
        least_change=0,
        max_fee_rate_ppm=max(5_000, int(rates_ppm.max())),
        rebalances_per_step=max(1, *map(len, refills)),
    )
    return _Logged(problem, rates_ppm, refills)


def _refills(past: Past, begin_ns: int, step_ns: int, count: int) -> list[Int64]:
    """Return the refills of each step of a week as plans have them: channels, sat, and what they may cost in ppm."""
    told = past.refills
    steps = (told.time_ns.astype(np.int64) - begin_ns) // step_ns
    amount_msat = np.maximum(told.amount_msat.astype(np.float64), 1.0)
    limit_ppm = np.ceil(_REFILL_LIMIT * 1e6 * told.fee_msat / amount_msat)
    rows = np.stack(
        [past.places(told.chan_out), past.places(told.chan_in), np.rint(amount_msat / 1000), limit_ppm], axis=1
    ).astype(np.int64)
    late = told.time_ns.astype(np.int64) >= begin_ns
    return [rows[late & (steps == step)][:_MOST_REFILLS] for step in range(count)]
