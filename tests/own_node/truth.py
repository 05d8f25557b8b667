"""Does advice pay where the demand is known, and do its forecasts hold? ``python -m tests.own_node.truth 1:13``.

Each node lives 42 days in a small market of its own, run by a rule; advice sees its history alone. Then the true market
plays fresh weeks from where the node stands, once as it is and once with all that was advised done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lnsim_gym.agents.evaluate import bootstrap
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.public import public
from lnsim_gym.own_node.advice.advising import SCREEN_DRAWS, Terms, advise
from lnsim_gym.own_node.advice.board import Board
from lnsim_gym.own_node.advice.changes import Closing
from lnsim_gym.own_node.advice.told import Advice
from lnsim_gym.own_node.advice.trials import try_decisions
from lnsim_gym.own_node.advice.worlds import worlds_of
from lnsim_gym.own_node.backtest.weeks import check_node
from tests.own_node.histories import History, problem_of, simulate, with_numbers

DAYS, WEEKS = 42, 24
MARKET = {"kind": "market", "payments_per_day": 300}


class Truth(NamedTuple):
    """What was told of a node, and what was true."""

    seed: int
    advice: Advice
    before_sat: float
    """Earned a day in the last week of the history."""
    left_sat: np.ndarray  # (weeks,) earned in each if nothing is done
    done_sat: np.ndarray  # (weeks,) the same if all is done
    gain_sat: np.ndarray  # (weeks,) net a day that doing all brings

    def inside(self) -> tuple[float, float]:
        """Return the shares of weeks inside the intervals of 90 %: left, and done."""
        foreseen = self.advice.forecast
        pairs = (self.left_sat, foreseen.left_sat), (self.done_sat, foreseen.done_sat)
        left, done = (float(((weeks >= told[0]) & (weeks <= told[-1])).mean()) for weeks, told in pairs)
        return left, done

    def line(self) -> str:
        """Return it as a row of a table."""
        told = self.advice.together
        gain = f"{told.sat_per_day:.1f} ({told.low:.1f}..{told.high:.1f})" if told else "-"
        true, (low, high), inside = self.gain_sat.mean(), bootstrap(self.gain_sat), self.inside()
        return (
            f"| {self.seed} | {gain} | {true:.1f} ({low:.1f}..{high:.1f}) | {self.before_sat:.0f} "
            f"| {self.advice.forecast.left_sat[2] / 7:.0f} | {self.left_sat.mean() / 7:.0f} "
            f"| {inside[0]:.0%}, {inside[1]:.0%} |"
        )


def of_node(seed: int) -> Truth:
    """Advise one node, and let the truth play.

    Raises:
        ConfigError: Its history is too short to tell anything.
    """
    topology = public(nodes=120, own_channels=8, own_capacity_sat=30_000_000, seed=seed, own_seed=seed)
    history = simulate(problem_of(with_numbers(topology), traffic=MARKET), "charge_lnd", DAYS, 100 + seed)
    advice = advised(history)
    problem = problem_of(history.topology, warm_up_days=0.0, least_change=0.0, traffic=MARKET)
    board = Board(history.node, problem)
    changes = [one.change for one in advice.advised if not isinstance(one.change, Closing)]
    decisions = np.stack([board.decision(()), board.decision(changes)])
    weeks = [try_decisions(problem, decisions, 7, 5_000 + week) for week in range(WEEKS)]
    earned_sat = np.array([week.earned_sat for week in weeks])
    net_sat = np.array([week.net_sat for week in weeks])
    last_sat = float(history.income_sat[-28:].sum() / 7)
    return Truth(seed, advice, last_sat, *earned_sat.T, (net_sat[:, 1] - net_sat[:, 0]) / 7)


def advised(history: History) -> Advice:
    """Return the advice that the history alone leads to."""
    terms = Terms()
    worlds = worlds_of(history.node, history.topology, draws=terms.draws + SCREEN_DRAWS)
    return advise(history.node, worlds, terms, checked=check_node(history.node, history.topology))


def table(seeds: range) -> Iterator[str]:
    """Yield a table, line by line."""
    yield "| node | gain told | true gain | last week | told if left | true if left | weeks inside 90 %: left, done |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    truths = []
    for seed in seeds:
        try:
            truths.append(of_node(seed))
        except ConfigError as problem:
            yield f"| {seed} | {problem} | | | | | |"
            continue
        yield truths[-1].line()
    gains = np.concatenate([one.gain_sat for one in truths])
    inside = np.mean([one.inside() for one in truths], axis=0)
    told = np.mean([one.advice.together.sat_per_day if one.advice.together else 0.0 for one in truths])
    yield f"| all | {told:.1f} | {gains.mean():.1f} | | | | {inside[0]:.0%}, {inside[1]:.0%} |"


if __name__ == "__main__":
    first, last = (int(part) for part in sys.argv[1].split(":"))
    for row in table(range(first, last)):
        print(row, flush=True)
