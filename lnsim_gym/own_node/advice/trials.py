"""Decisions of an operator tried side by side: the same simulated days for each, so that they differ by it alone."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.evaluate import decisions_of
from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.episodes import Episodes, Problem
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.tasks.operator.features import CHANNEL_FEATURES
from lnsim_gym.tasks.operator.ledger import INCOME
from lnsim_gym.tasks.operator.task import OperatorTask

__all__ = ["Trials", "first_decision", "try_decisions"]

_UNITS_SAT: Final = {"fee_earned": 1e3, "forwarded_out_amount": 1e6, "local_balance": 1e6}
"""What of a channel's observation is kept, and its unit in sat."""


class Trials(NamedTuple):
    """What came of some decisions."""

    net_sat: Float64  # (decisions,) gain of all own funds
    earned_sat: Float64  # (decisions,) fees of forwards
    channel_sat: Float64  # (decisions, channels) the same by the channel over which they left
    out_sat: Float64  # (decisions, channels) what they carried
    local_sat: Float64  # (decisions, channels) own ends when the time is over


def try_decisions(problem: Problem, decisions: Int64, days: float, seed: int, threads: int = 1) -> Trials:
    """Carry out each decision at the begin of the same simulated days, and then let things be.

    Args:
        problem: That of an operator's environment.
        decisions: Shape (decisions, len(Task.decision)).
        days: How many, rounded to whole steps, one at least.
        seed: Seed of what others do in these days.
        threads: Threads that share the networks.
    """
    task = problem.task
    assert isinstance(task, OperatorTask)
    count = len(decisions)
    episodes = open_episodes(problem, count, threads)
    every = np.ones(count, np.bool_)
    totals = Trials(np.zeros(count), np.zeros(count), *(np.zeros((count, len(task.out))) for _ in range(3)))
    try:
        for network in range(count):
            episodes.seed(network, seed)
        episodes.begin(every)
        for step in range(max(1, round(24 * days / task.config.step_hours))):
            episodes.step(every, np.tile(task.idle_decision, (count, 1)) if step else decisions)
            _add(totals, episodes, task)
    finally:
        episodes.close()
    return totals


def _add(totals: Trials, episodes: Episodes, task: OperatorTask) -> None:
    """Add a step."""
    columns = episodes.columns
    seen = _seen(episodes, task)
    totals.net_sat[:] += columns.reward
    totals.earned_sat[:] += columns.ledger[:, INCOME] / 1000
    totals.channel_sat[:] += seen["fee_earned"]
    totals.out_sat[:] += seen["forwarded_out_amount"]
    totals.local_sat[:] = seen["local_balance"]


def _seen(episodes: Episodes, task: OperatorTask) -> dict[str, Float64]:
    """Return what is seen of each channel after a step, in sat, shape (networks, channels)."""
    rows = task.observations.by_channel(episodes.columns.observation).astype(np.float64)
    return {name: unit * rows[:, :, CHANNEL_FEATURES.index(name)] for name, unit in _UNITS_SAT.items()}


def first_decision(agent: Agent, seed: int) -> Int64:
    """Return what an agent decides on its node as it is now, shape (len(Task.decision),)."""
    episodes = open_episodes(agent.problem)
    try:
        episodes.seed(0, seed)
        episodes.begin(np.ones(1, np.bool_))
        decision: Int64 = decisions_of(agent, episodes, np.random.default_rng(seed))[0].copy()
    finally:
        episodes.close()
    return decision
