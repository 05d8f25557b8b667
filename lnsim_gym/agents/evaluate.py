"""Playing agents on the same seeds, on any backend, and what comes out of it, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import msgspec
import numpy as np

from lnsim_gym.agents.base import Agent
from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.episodes import Episodes
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.tasks.base import RebalanceTally
from lnsim_gym.tasks.columns import COUNTS, SUCCEEDED
from lnsim_gym.tasks.presentation import Presentation

__all__ = ["Score", "Tally", "behind", "bootstrap", "evaluate", "play_episodes"]


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
    success_rates: tuple[float, ...]
    """Share of payments that settled in each episode, in the order of the seeds."""

    @property
    def profit_sat(self) -> float:
        """What all nodes together gain in an episode: routing fees less the fees of rebalances."""
        return self.routing_fees_sat - self.rebalance_fees_sat


def evaluate(
    name: str,
    agent: Agent,
    seeds: Sequence[int],
    steps: int,
    tell: Callable[[int, int], None] | None = None,
    threads: int = 1,
) -> Score:
    """Let an agent play one episode of each seed: all at once in the simulator, one by one on real nodes.

    Args:
        name: How to call the agent in the result.
        agent: Who plays, on the backend that the config of its problem names.
        seeds: Seeds, one episode each.
        steps: Steps of an episode.
        tell: Called after each step with the number of steps done, and of those to do.
        threads: Threads that share simulated networks, those of the agent too.

    Raises:
        ConfigError: There is no seed or no step to play.
        InvalidAction: The agent returned another number of actions than there are networks, or an impossible one.
        BackendError: Real nodes could not be brought up, or were lost.
    """
    return play_episodes(agent, seeds, steps, tell, threads).score(name)


def play_episodes(
    agent: Agent,
    seeds: Sequence[int],
    steps: int,
    tell: Callable[[int, int], None] | None = None,
    threads: int = 1,
    chance: int | None = None,
) -> Tally:
    """Let an agent play one episode of each seed, and sum up each of them; see ``evaluate``.

    Args:
        agent: See ``evaluate``.
        seeds: See ``evaluate``.
        steps: See ``evaluate``.
        tell: See ``evaluate``.
        threads: See ``evaluate``.
        chance: Seed of the agent's own draws; the first of the seeds by default.
    """
    if not len(seeds) or steps < 1:
        raise ConfigError(f"expected at least one seed and one step to play, got {len(seeds)} and {steps}")
    at_once = len(seeds) if agent.problem.config.backend == "simulator" else 1
    agent.threads = max(agent.threads, threads)
    episodes = open_episodes(agent.problem, at_once, threads)
    rng = np.random.default_rng(seeds[0] if chance is None else chance)
    tally = Tally.zeros(len(seeds))
    try:
        for first in range(0, len(seeds), at_once):
            for network, seed in enumerate(seeds[first : first + at_once]):
                episodes.seed(network, seed)
            episodes.begin(np.ones(at_once, np.bool_))
            for step in range(steps):
                _step(agent, episodes, rng)
                tally.add(slice(first, first + at_once), episodes)
                if tell is not None:
                    tell(first // at_once * steps + step + 1, len(seeds) // at_once * steps)
    finally:
        episodes.close()
    return tally


def behind(score: Score, best: Score) -> tuple[float, float, float]:
    """Compare two agents that played the same seeds, episode by episode.

    What makes an episode hard is hard for both, so that the interval is much narrower than those of the two means.

    Returns:
        How much higher the success rate of ``best`` is, and the ends of the 95 % bootstrap interval of that.
    """
    differences = np.array(best.success_rates) - np.array(score.success_rates)
    return float(differences.mean()), *bootstrap(differences)


def _step(agent: Agent, episodes: Episodes, rng: np.random.Generator) -> None:
    """Let the agent choose and do a step on every network."""
    task = agent.problem.task
    columns = episodes.columns
    info = {
        "action_mask": task.actions.mask(columns.allowed),
        "seed": episodes.seeds.copy(),
        "episode_number": episodes.episodes.copy(),
        "step": episodes.steps.copy(),
    }
    chosen = agent.act(Presentation(task).present(columns.observation, columns.allowed), info, rng)
    if len(chosen) != episodes.networks:
        raise InvalidAction(f"expected an action for each of {episodes.networks} networks, got {len(chosen)}")
    episodes.step(np.ones(episodes.networks, np.bool_), task.actions.decode(chosen))


@dataclass(frozen=True)
class Tally:
    """Sums over the steps of each episode."""

    sent: Int64
    """Payments, shape (episodes,)."""
    counts: Int64
    """Shape (episodes, len(COUNTS))."""
    rebalances: Int64
    """Shape (episodes, len(RebalanceTally._fields))."""
    reward: Float64
    """Shape (episodes,)."""

    @classmethod
    def zeros(cls, episodes: int) -> Self:
        """Begin with a number of episodes."""
        return cls(
            sent=np.zeros(episodes, np.int64),
            counts=np.zeros((episodes, len(COUNTS)), np.int64),
            rebalances=np.zeros((episodes, len(RebalanceTally._fields)), np.int64),
            reward=np.zeros(episodes),
        )

    @classmethod
    def joined(cls, tallies: Sequence[Self]) -> Self:
        """Put the episodes of several tallies one behind the other."""
        columns = (field.name for field in fields(cls))
        return cls(**{column: np.concatenate([getattr(tally, column) for tally in tallies]) for column in columns})

    def add(self, which: slice, episodes: Episodes) -> None:
        """Add the step that some episodes just did."""
        columns = episodes.columns
        self.sent[which] += columns.due
        self.counts[which] += columns.counts[:, : len(COUNTS)]
        self.rebalances[which] += np.stack(episodes.problem.task.rebalance_tally(columns.ledger), axis=1)
        self.reward[which] += columns.reward

    def score(self, name: str) -> Score:
        """Return the means over episodes."""
        mean = dict(zip(COUNTS, self.counts.mean(axis=0).tolist(), strict=True))
        rebalanced = RebalanceTally(*self.rebalances.mean(axis=0))
        rates = self.counts[:, SUCCEEDED] / np.maximum(self.sent, 1)
        low, high = bootstrap(rates)
        return Score(
            agent=name,
            episodes=len(rates),
            success_rate=float(rates.mean()),
            success_rate_low=low,
            success_rate_high=high,
            reward=float(self.reward.mean()),
            volume_sat=mean["volume_msat"] / 1000,
            routing_fees_sat=mean["fees_msat"] / 1000,
            rebalanced_sat=float(rebalanced.applied_msat) / 1000,
            rebalance_fees_sat=float(rebalanced.fee_msat) / 1000,
            refused=float(rebalanced.refused / rebalanced.asked) if rebalanced.asked else 0.0,
            success_rates=tuple(rates.tolist()),
        )


def bootstrap(values: Float64) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean (Efron, 1979)."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
