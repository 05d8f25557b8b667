"""A backtest: would the simulation have foretold what a node earned, and what would other policies have earned?

Rolling: for each week the demand is fitted to what came before, and the week is played with every draw of it. First the
policy that the node had is played, its fee rates and refills as far as its history tells them. Only if the income that
came of it lies in the interval of the simulated ones are other policies played, on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from lnsim_gym.agents.evaluate import Tally
from lnsim_gym.arrays import Float64
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.own_node.backtest.agents import require_operator_agent
from lnsim_gym.own_node.backtest.calibration import log_error
from lnsim_gym.own_node.backtest.stage import Stage, logged_agent
from lnsim_gym.own_node.backtest.told import LOGGED, WEEK_DAYS, Backtest, Played, Week
from lnsim_gym.own_node.demand.fit import fit_demand
from lnsim_gym.own_node.demand.fitted import FittedDemand
from lnsim_gym.own_node.demand.past import Past, around_own
from lnsim_gym.own_node.demand.sample import LEAST_DAYS
from lnsim_gym.own_node.reading.folder import OwnNode
from lnsim_gym.own_node.reading.history import DAY_NS

__all__ = ["backtest_node", "check_node", "longest_weeks"]

_LEVEL: Final = 0.95
"""What intervals hold, where there are draws enough."""
_MOST_PAYMENTS: Final = 2_000_000
"""Payments of all weeks and policies for which draws are left out, down to ``_LEAST_DRAWS``."""
_MOST_IN_ALL: Final = 3_000_000
"""Payments for which days of weeks are left out, too: some 10 minutes of two cores, at 0.3 ms for each."""
_LEAST_DRAWS: Final = 12


def longest_weeks(node: OwnNode) -> int:
    """Return how many weeks can be foretold from what came before at most."""
    told = node.forwards
    days = (node.imported_ns - int(told.time_ns[0])) / DAY_NS if len(told) else 0.0
    return max(int((days - LEAST_DAYS) // WEEK_DAYS), 0)


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
            demand is so busy that it would take too long, and then of each week its first days alone.
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
        demand = fit_demand(
            node,
            topology,
            end_ns=begin_ns,
            half_life_days=half_life_days,
            draws=draws,
            nodes=nodes,
            seed=seed,
            threads=threads,
        )
        if not demands:
            most, days = _affordable(demand, weeks * (1 + len(policies)))
        demands.append(demand.first(most))
        stage = Stage(past, topology, demands[-1], begin_ns, threads, days)
        if not logged:
            for policy in policies:
                stage.player(policy)  # what cannot run a node is refused early
        done("fit")
        logged.append(stage.play(logged_agent(stage)))
        done(LOGGED)
    found = _foretold(past, begins_ns, demands, logged, days)
    own = np.mean([_net(tally) for tally in logged], axis=0)
    played = [_played(LOGGED, logged, own)]
    if found.is_reproduced:
        tallies: list[list[Tally]] = [[] for _ in policies]
        for begin_ns, demand in zip(begins_ns, demands, strict=True):
            stage = Stage(past, topology, demand, begin_ns, threads, days)
            for policy, weekly in zip(policies, tallies, strict=True):
                weekly.append(stage.play(stage.player(policy)))
                done(policy)
        others = [_played(policy, weekly, own) for policy, weekly in zip(policies, tallies, strict=True)]
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
    needed = WEEK_DAYS * weeks + LEAST_DAYS
    if days < needed:
        raise ConfigError(
            f"expected a history of {needed:g} days for {weeks} weeks, one week at least before the first, "
            f"got {days:.1f}: import a longer one, or ask for fewer --weeks"
        )
    return [past.end_ns - (weeks - week) * WEEK_DAYS * DAY_NS for week in range(weeks)]


def _affordable(demand: FittedDemand, plays: int) -> tuple[int, int]:
    """Return how many draws, and how many days of each, can be played so many times in good time."""
    daily = max(float(demand.per_day.sum(axis=1).mean()) * plays, 1.0)
    draws = min(demand.draws, max(_LEAST_DRAWS, int(_MOST_PAYMENTS / (WEEK_DAYS * daily))))
    return draws, min(WEEK_DAYS, max(1, int(_MOST_IN_ALL / (draws * daily))))


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
    past: Past, begins_ns: Sequence[int], demands: Sequence[FittedDemand], logged: Sequence[Tally], days: int
) -> Backtest:
    """Compare what the node earned with what was foretold."""
    weeks, incomes = [], []
    for begin_ns, demand, tally in zip(begins_ns, demands, logged, strict=True):
        income = tally.terms[:, 0] / tally.days
        incomes.append(income)
        weeks.append(_week(past, begin_ns, demand, income, days))
    every = np.mean(incomes, axis=0)
    low, high = _interval(every)
    rates_ppm = past.fee_rate_ppm(np.linspace(begins_ns[0], past.end_ns, 500))
    return Backtest(
        name=past.node.name,
        draws=len(every),
        days=days,
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


def _week(past: Past, begin_ns: int, demand: FittedDemand, income: Float64, days: int) -> Week:
    """Compare so many days of a week with what was foretold of them."""
    until_ns = begin_ns + days * DAY_NS
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
        income=float(fees_msat.sum()) / 1000 / days,
        refill_fees=float(refills.fee_msat.sum()) / 1000 / days,
        foretold=float(income.mean()),
        foretold_low=low,
        foretold_high=high,
        log_likelihood=fitted,
        log_likelihood_pooled=pooled,
        log_error=log_error(days * income, float(fees_msat.sum()) / 1000),
    )
