"""A backtest: would the simulation have foretold what a node earned, and what would other policies have earned?

Rolling: for each week the demand is fitted to what came before, and the week is played with every draw of it. First the
policy that the node had is played, its fee rates and refills as far as its history tells them. Only if the income that
came of it lies in the interval of the simulated ones are other policies played, on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.agents import Agent, make_agent
from lnsim_gym.agents.evaluate import Tally, play_episodes
from lnsim_gym.agents.operator import OperatorRule, Plan, Seen
from lnsim_gym.agents.recipe import view_of
from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.own_node.backtest.agents import require_operator_agent
from lnsim_gym.own_node.backtest.calibration import log_error
from lnsim_gym.own_node.backtest.told import LOGGED, Backtest, Played, Week
from lnsim_gym.own_node.demand.fit import fit_demand
from lnsim_gym.own_node.demand.fitted import FittedDemand
from lnsim_gym.own_node.demand.past import Past, around_own
from lnsim_gym.own_node.demand.problem import seeds_of
from lnsim_gym.own_node.demand.sample import LEAST_DAYS
from lnsim_gym.own_node.demand.world import own_problem
from lnsim_gym.own_node.reading.folder import OwnNode
from lnsim_gym.own_node.reading.history import DAY_NS
from lnsim_gym.tasks.operator import OperatorTask

__all__ = ["backtest_node", "check_node", "logged_agent", "longest_weeks"]

_WEEK_DAYS: Final = 7
_STEP_HOURS: Final = 6.0
_STEPS: Final = round(24 * _WEEK_DAYS / _STEP_HOURS)
_FIRST_SEED: Final = 3_000_000
_LEVEL: Final = 0.95
"""What intervals hold, where there are draws enough."""
_MOST_PAYMENTS: Final = 2_000_000
"""Payments of all weeks and policies for which draws are left out, down to ``_LEAST_DRAWS``: about 10 minutes."""
_LEAST_DRAWS: Final = 12
_REFILL_LIMIT: Final = 1.25
"""What a refill of the past may cost at most when it is played, as a multiple of what it did cost."""
_MOST_REFILLS: Final = 100


def longest_weeks(node: OwnNode) -> int:
    """Return how many weeks can be foretold from what came before at most."""
    told = node.forwards
    days = (node.imported_ns - int(told.time_ns[0])) / DAY_NS if len(told) else 0.0
    return max(int((days - LEAST_DAYS) // _WEEK_DAYS), 0)


def check_node(
    node: OwnNode,
    topology: Topology,
    *,
    weeks: int = 4,
    draws: int = 39,
    seed: int = 0,
    threads: int = 1,
    tell: Callable[[str, int, int], None] | None = None,
) -> Backtest | None:
    """Hold the simulation to what the node's own policy earned; None where its history is too short or too thin.

    Args:
        node: The node.
        topology: The network around it, with its balances.
        weeks: How many of the last weeks to foretell, fewer where the history is shorter.
        draws: See ``backtest_node``; so are ``seed``, ``threads`` and ``tell``.
        seed: Seed of all draws.
        threads: Threads that share simulated networks.
        tell: Called with what is done, how much of it, and of how much.
    """
    weeks = min(weeks, longest_weeks(node))
    try:
        return backtest_node(node, topology, [], weeks=weeks, draws=draws, seed=seed, threads=threads, tell=tell)
    except ConfigError:
        return None


def backtest_node(
    node: OwnNode,
    topology: Topology,
    policies: Sequence[str],
    *,
    weeks: int = 4,
    half_life_days: float = 14.0,
    draws: int = 40,
    nodes: int = 1_000,
    seed: int = 0,
    threads: int = 1,
    tell: Callable[[str, int, int], None] | None = None,
) -> Backtest:
    """Foretell the last weeks of a node from what came before each, and play other policies in them.

    Args:
        node: The node.
        topology: The network around it, with its balances.
        policies: Names of agents, recipe files, or classes of one's own; see ``read_recipe``.
        weeks: How many weeks.
        half_life_days: See ``fit_demand``; so are ``draws``, ``nodes``, ``seed`` and ``threads``.
        draws: Draws of what the history leaves open, at least 10; fewer, if no fewer than 12, are played where the
            demand is so busy that it would take too long.
        nodes: Nodes of the network to keep.
        seed: Seed of all draws.
        threads: Threads that share simulated networks.
        tell: Called with what is done, how much of it, and of how much.

    Raises:
        ConfigError: The history is too short, or an agent cannot run a node.
    """
    past = Past(node, around_own(topology, node.name, nodes))
    begins_ns = _begins_ns(past, weeks, draws)
    for policy in policies:
        require_operator_agent(policy)
    told, total = 0, weeks * (2 + len(policies))

    def done(what: str) -> None:
        nonlocal told
        told += 1
        if tell is not None:
            tell(what, told, total)

    if tell is not None:
        tell("fit", 0, total)
    demands, logged = list[FittedDemand](), list[Tally]()
    for begin_ns in begins_ns:
        demands.append(
            fit_demand(
                node,
                topology,
                end_ns=begin_ns,
                half_life_days=half_life_days,
                draws=draws,
                nodes=nodes,
                seed=seed,
                threads=threads,
            )
        )
        demands[-1] = demands[-1].first(_affordable(demands[0], weeks * (1 + len(policies))))
        if not logged:
            for policy in policies:
                _player(policy, node, topology, demands[0], begin_ns)  # what cannot run a node is refused early
        done("fit")
        logged.append(_play_logged(past, topology, demands[-1], begin_ns, threads))
        done(LOGGED)
    found = _foretold(past, begins_ns, demands, logged)
    own = np.mean([_net(tally) for tally in logged], axis=0)
    played = [_played(LOGGED, logged, own)]
    if found.is_reproduced:
        others = []
        for policy in policies:
            tallies = []
            for begin_ns, demand in zip(begins_ns, demands, strict=True):
                tallies.append(_play(policy, node, topology, demand, begin_ns, threads))
                done(policy)
            others.append(_played(policy, tallies, own))
        played += sorted(others, key=lambda one: -one.net)
    return msgspec.structs.replace(found, policies=played)


def _begins_ns(past: Past, weeks: int, draws: int) -> list[int]:
    """Return when the weeks begin, the first one first."""
    if weeks < 1 or draws < 10:
        raise ConfigError(f"expected at least 1 week and 10 draws, got {weeks} and {draws}")
    told = past.forwards
    if not len(told):
        raise ConfigError("the history holds not one forward over channels that are still there: nothing to test")
    days = (past.end_ns - int(told.time_ns[0])) / DAY_NS
    needed = _WEEK_DAYS * weeks + LEAST_DAYS
    if days < needed:
        raise ConfigError(
            f"expected a history of {needed:g} days for {weeks} weeks, one week at least before the first, "
            f"got {days:.1f}: import a longer one, or ask for fewer --weeks"
        )
    return [past.end_ns - (weeks - week) * _WEEK_DAYS * DAY_NS for week in range(weeks)]


def _affordable(demand: FittedDemand, plays: int) -> int:
    """Return how many draws can be played so many times in good time."""
    payments = float(demand.per_day.sum(axis=1).mean()) * _WEEK_DAYS * plays
    return min(demand.draws, max(_LEAST_DRAWS, int(_MOST_PAYMENTS / max(payments, 1.0))))


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


def _play_logged(past: Past, topology: Topology, demand: FittedDemand, begin_ns: int, threads: int) -> Tally:
    """Play a week as the node did."""
    agent = logged_agent(past, topology, demand, begin_ns)
    return play_episodes(agent, seeds_of(agent.problem, _FIRST_SEED), _STEPS, threads=threads)


def logged_agent(past: Past, topology: Topology, demand: FittedDemand, begin_ns: int) -> OperatorRule:
    """Return what does in a week what the node did then, on a problem with every draw of a demand.

    Args:
        past: The node's past.
        topology: The whole network around it.
        demand: The demand.
        begin_ns: When the week begins, in ns since 1970.
    """
    step_ns = round(_STEP_HOURS * DAY_NS / 24)
    middles_ns = begin_ns + step_ns * np.arange(_STEPS, dtype=np.int64) + step_ns // 2
    rates_ppm, refills = past.fee_rate_ppm(middles_ns), _refills(past, begin_ns, step_ns)
    problem = own_problem(
        past.node,
        topology,
        demand,
        at_ns=begin_ns,
        step_hours=_STEP_HOURS,
        fee_change_hours=0,
        least_change=0,
        max_fee_rate_ppm=max(5_000, int(rates_ppm.max())),
        rebalances_per_step=max(1, *map(len, refills)),
    )
    return _Logged(problem, rates_ppm, refills)


def _refills(past: Past, begin_ns: int, step_ns: int) -> list[Int64]:
    """Return the refills of each step of a week as plans have them: channels, sat, and what they may cost in ppm."""
    told = past.refills
    steps = (told.time_ns.astype(np.int64) - begin_ns) // step_ns
    amount_msat = np.maximum(told.amount_msat.astype(np.float64), 1.0)
    limit_ppm = np.ceil(_REFILL_LIMIT * 1e6 * told.fee_msat / amount_msat)
    rows = np.stack(
        [past.places(told.chan_out), past.places(told.chan_in), np.rint(amount_msat / 1000), limit_ppm], axis=1
    ).astype(np.int64)
    late = told.time_ns.astype(np.int64) >= begin_ns
    return [rows[late & (steps == step)][:_MOST_REFILLS] for step in range(_STEPS)]


def _player(policy: str, node: OwnNode, topology: Topology, demand: FittedDemand, begin_ns: int) -> Agent:
    """Return the agent of a policy, on the problem of a week."""
    view: dict[str, Any] = view_of(policy, OperatorTask.name)
    return make_agent(
        policy, own_problem(node, topology, demand, at_ns=begin_ns, **{"step_hours": _STEP_HOURS, **view})
    )


def _play(policy: str, node: OwnNode, topology: Topology, demand: FittedDemand, begin_ns: int, threads: int) -> Tally:
    """Play a week as a policy would."""
    agent = _player(policy, node, topology, demand, begin_ns)
    return play_episodes(agent, seeds_of(agent.problem, _FIRST_SEED), _STEPS, threads=threads)


def _net(tally: Tally) -> Float64:
    """Return the net of each draw, in sat a day."""
    return tally.reward / tally.days


def _level(draws: int) -> float:
    """Return what intervals of so many draws hold at most, and no more than ``_LEVEL``."""
    return min(_LEVEL, 1 - 2 / (draws + 1))


def _interval(values: Float64) -> tuple[float, float]:
    """Return the ends of the interval that holds ``_level`` of further values of any law (order statistics)."""
    outside = (1 - _level(len(values))) / 2
    low, high = np.quantile(values, [outside, 1 - outside], method="weibull")
    return float(low), float(high)


def _played(policy: str, weeks: Sequence[Tally], own: Float64) -> Played:
    """Sum up what a policy did in all weeks, against the net of the node's own."""
    net = np.mean([_net(tally) for tally in weeks], axis=0)
    income, rebalances, swaps, chain = np.mean(
        [(tally.terms / tally.days[:, None]).mean(axis=0) for tally in weeks], axis=0
    ).tolist()
    (low, high), (ahead_low, ahead_high) = _interval(net), _interval(net - own)
    return Played(
        policy=policy,
        net=float(net.mean()),
        net_low=low,
        net_high=high,
        income=income,
        rebalance_fees=rebalances,
        swap_fees=swaps,
        chain_fees=chain,
        ahead=float((net - own).mean()),
        ahead_low=ahead_low,
        ahead_high=ahead_high,
        ahead_chance=float((net > own).mean()),
    )


def _foretold(
    past: Past, begins_ns: Sequence[int], demands: Sequence[FittedDemand], logged: Sequence[Tally]
) -> Backtest:
    """Compare what the node earned with what was foretold."""
    weeks, incomes = [], []
    for begin_ns, demand, tally in zip(begins_ns, demands, logged, strict=True):
        income = tally.terms[:, 0] / tally.days
        incomes.append(income)
        weeks.append(_week(past, begin_ns, demand, income))
    every = np.mean(incomes, axis=0)
    low, high = _interval(every)
    rates_ppm = past.fee_rate_ppm(np.linspace(begins_ns[0], past.end_ns, 500))
    return Backtest(
        name=past.node.name,
        draws=len(every),
        level=_level(len(every)),
        weeks=weeks,
        income=float(np.mean([week.income for week in weeks])),
        foretold=float(every.mean()),
        foretold_low=low,
        foretold_high=high,
        rates_ppm=(int(rates_ppm.min()), int(rates_ppm.max())),
        policies=[],
        unknown=[kind for kind in ("payments", "failures") if kind not in past.node.told],
    )


def _week(past: Past, begin_ns: int, demand: FittedDemand, income: Float64) -> Week:
    """Compare one week with what was foretold of it."""
    until_ns = begin_ns + _WEEK_DAYS * DAY_NS
    told, refills = past.forwards, past.refills
    told = told.keep((told.time_ns > begin_ns) & (told.time_ns <= until_ns))
    refills = refills.keep((refills.time_ns > begin_ns) & (refills.time_ns <= until_ns))
    fitted, pooled = None, None
    if len(told):
        ends = past.peers[past.places(told.chan_in)], past.peers[past.places(told.chan_out)]
        fitted, pooled = demand.surprise(*ends)
    low, high = _interval(income)
    fees_msat = told.in_msat.astype(np.int64) - told.out_msat.astype(np.int64)
    return Week(
        begin_ns=begin_ns,
        fitted=demand.forwards,
        unexplained=demand.unexplained,
        forwards=len(told),
        income=float(fees_msat.sum()) / 1000 / _WEEK_DAYS,
        refill_fees=float(refills.fee_msat.sum()) / 1000 / _WEEK_DAYS,
        foretold=float(income.mean()),
        foretold_low=low,
        foretold_high=high,
        log_likelihood=fitted,
        log_likelihood_pooled=pooled,
        log_error=log_error(_WEEK_DAYS * income, float(fees_msat.sum()) / 1000),
    )
