"""Playing agents on the same seeds, and what comes out of it, with intervals."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.base import Agent
from lnsim_gym.episodes.columns import COUNTS
from lnsim_gym.episodes.simulated import SimulatedEpisodes

__all__ = ["Score", "evaluate"]

RESAMPLES = 2_000
"""Resamples of a bootstrap interval."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent reached, means over episodes."""

    agent: str
    episodes: int
    success_rate: float
    """Share of payments that settled."""
    success_rate_low: float
    """Lower end of its 95 % bootstrap interval over episodes."""
    success_rate_high: float
    """Upper end."""
    reward: float
    """Sum of rewards of an episode."""
    volume_sat: float
    """Amount settled in an episode."""
    routing_fees_sat: float
    """Fees that senders paid for it."""
    rebalanced_sat: float
    """Amount moved by rebalances in an episode."""
    rebalance_fees_sat: float
    """Fees paid for them."""
    refused: float
    """Share of rebalances that were refused."""


def evaluate(
    name: str, agent: Agent, seeds: range, steps: int, tell: Callable[[int], None] | None = None, threads: int = 1
) -> Score:
    """Let an agent play one simulated episode of each seed.

    Args:
        name: How to call the agent in the result.
        agent: Who plays.
        seeds: Seeds, one episode each.
        steps: Steps of an episode.
        tell: Called with the number of steps done, after each.
        threads: Threads that share the networks.
    """
    problem, count = agent.problem, len(seeds)
    episodes = SimulatedEpisodes(problem, count, threads)
    everyone, rng = np.ones(count, np.bool_), np.random.default_rng(seeds.start)
    for network, seed in enumerate(seeds):
        episodes.seed(network, seed)
    episodes.begin(everyone)
    columns = episodes.columns
    counts, reward, asked, refused = np.zeros_like(columns.counts), np.zeros(count), 0, 0
    for step in range(steps):
        info = {
            "action_mask": problem.actions.mask(columns.allowed),
            "seed": episodes.seeds.copy(),
            "episode_number": episodes.episodes.copy(),
            "step": episodes.steps.copy(),
        }
        actions = agent.act(problem.layout.present(columns.observation), info, rng)
        row, amount_msat = problem.actions.decode(actions)
        episodes.step(everyone, row, amount_msat)
        counts += columns.counts
        reward += columns.reward
        asked += int((row >= 0).sum())
        refused += int((columns.counts[:, COUNTS.index("rebalance_reason")] != 0).sum())
        if tell is not None:
            tell(step + 1)
    episodes.close()
    mean = dict(zip(COUNTS, counts.mean(axis=0).tolist(), strict=True))
    rates = counts[:, 0] / (steps * columns.source.shape[1])
    low, high = _bootstrap(rates)
    return Score(
        agent=name,
        episodes=count,
        success_rate=float(rates.mean()),
        success_rate_low=low,
        success_rate_high=high,
        reward=float(reward.mean()),
        volume_sat=mean["volume_msat"] / 1000,
        routing_fees_sat=mean["fees_msat"] / 1000,
        rebalanced_sat=mean["rebalance_applied_msat"] / 1000,
        rebalance_fees_sat=mean["rebalance_fee_msat"] / 1000,
        refused=refused / asked if asked else 0.0,
    )


def _bootstrap(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean (Efron, 1979)."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
