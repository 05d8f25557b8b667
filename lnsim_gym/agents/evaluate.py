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
from lnsim_gym.tasks.operator import OperatorTask
from lnsim_gym.tasks.operator.ledger import FUNDS
from lnsim_gym.tasks.presentation import Presentation

__all__ = ["NodeScore", "Score", "Tally", "behind", "bootstrap", "decisions_of", "evaluate", "play_episodes"]


RESAMPLES = 2_000
"""Resamples of a bootstrap interval."""


class NodeScore(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator's own node gained, in sat a day, means over episodes."""

    net_sat_per_day: float
    """Income less all costs: the reward."""
    net_sat_per_day_low: float
    """Lower end of its 95 % bootstrap interval over episodes."""
    net_sat_per_day_high: float
    """Upper end."""
    net_sat_per_day_per_100m_sat: float
    """The same for 100 M sat of own funds at the start, in channels and wallet."""
    income_sat_per_day: float
    """Fees earned by forwarding."""
    rebalance_fees_sat_per_day: float
    """Fees paid for circular rebalances."""
    swap_fees_sat_per_day: float
    """Fees paid to swap services, and for the off-chain way to them."""
    chain_fees_sat_per_day: float
    """Fees paid for transactions."""
    net_sat_per_day_of_episodes: tuple[float, ...]
    """Income less all costs in each episode, in the order of the seeds."""


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
    node: NodeScore | None = None
    """What the own node gained, where the agent is its operator."""
    places: int = 1
    """Networks that it played on, with as many episodes each; intervals are over them where there are several."""

    @property
    def objective(self) -> float:
        """What agents are compared by: the own node's net sat a day if there is one, else the success rate."""
        return self.success_rate if self.node is None else self.node.net_sat_per_day

    @property
    def objectives(self) -> tuple[float, ...]:
        """The same of each episode."""
        return self.success_rates if self.node is None else self.node.net_sat_per_day_of_episodes

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval of the objective."""
        if self.node is None:
            return self.success_rate_low, self.success_rate_high
        return self.node.net_sat_per_day_low, self.node.net_sat_per_day_high

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
    episodes: Episodes | None = None,
) -> Tally:
    """Let an agent play one episode of each seed, and sum up each of them; see ``evaluate``.

    Args:
        agent: See ``evaluate``.
        seeds: See ``evaluate``.
        steps: See ``evaluate``.
        tell: See ``evaluate``.
        threads: See ``evaluate``.
        chance: Seed of the agent's own draws; the first of the seeds by default.
        episodes: Episodes on the agent's problem to play on; they are closed at the end. By default others are opened.
    """
    if not len(seeds) or steps < 1:
        raise ConfigError(f"expected at least one seed and one step to play, got {len(seeds)} and {steps}")
    at_once = len(seeds) if agent.problem.config.backend == "simulator" else 1
    agent.threads = max(agent.threads, threads)
    episodes = episodes or open_episodes(agent.problem, at_once, threads)
    rng = np.random.default_rng(seeds[0] if chance is None else chance)
    tally = Tally.zeros(len(seeds), len(agent.problem.task.terms))
    try:
        for first in range(0, len(seeds), at_once):
            for network, seed in enumerate(seeds[first : first + at_once]):
                episodes.seed(network, seed)
            episodes.begin(np.ones(at_once, np.bool_))
            for step in range(steps):
                episodes.step(np.ones(at_once, np.bool_), decisions_of(agent, episodes, rng))
                tally.add(slice(first, first + at_once), episodes)
                if tell is not None:
                    tell(first // at_once * steps + step + 1, len(seeds) // at_once * steps)
    finally:
        episodes.close()
    return tally


def behind(score: Score, best: Score) -> tuple[float, float, float]:
    """Compare the objectives of two agents that played the same seeds, episode by episode.

    What makes an episode hard is hard for both, so that the interval is much narrower than those of the two means.

    Returns:
        How much higher that of ``best`` is, and the ends of the 95 % bootstrap interval of that.
    """
    differences = np.array(best.objectives) - np.array(score.objectives)
    return float(differences.mean()), *bootstrap(differences, score.places)


def decisions_of(agent: Agent, episodes: Episodes, rng: np.random.Generator) -> Int64:
    """Let an agent choose what to do on every network as it is now, shape (networks, len(Task.decision)).

    Raises:
        InvalidAction: It returned another number of actions than there are networks, or an impossible one.
    """
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
    return task.actions.decode(chosen)


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
    terms: Float64
    """Terms of the reward, shape (episodes, terms)."""
    days: Float64
    """Simulated days with the operator's task, 0 with others, shape (episodes,)."""
    funds_sat: Float64
    """Own funds at the start with the operator's task, shape (episodes,)."""

    @classmethod
    def zeros(cls, episodes: int, terms: int) -> Self:
        """Begin with a number of episodes, and of terms of the reward."""
        return cls(
            sent=np.zeros(episodes, np.int64),
            counts=np.zeros((episodes, len(COUNTS)), np.int64),
            rebalances=np.zeros((episodes, len(RebalanceTally._fields)), np.int64),
            reward=np.zeros(episodes),
            terms=np.zeros((episodes, terms)),
            days=np.zeros(episodes),
            funds_sat=np.zeros(episodes),
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
        self.terms[which] += columns.terms
        task = episodes.problem.task
        if isinstance(task, OperatorTask):
            if not self.days[which].any():
                self.funds_sat[which] = columns.ledger[:, FUNDS] / 1000 - columns.reward
            self.days[which] += task.config.step_hours / 24

    def score(self, name: str, places: int = 1) -> Score:
        """Return the means over episodes.

        Args:
            name: How to call the agent.
            places: Networks that were played on, one after the other, with as many episodes each.
        """
        mean = dict(zip(COUNTS, self.counts.mean(axis=0).tolist(), strict=True))
        rebalanced = RebalanceTally(*self.rebalances.mean(axis=0))
        rates = self.counts[:, SUCCEEDED] / np.maximum(self.sent, 1)
        low, high = bootstrap(rates, places)
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
            node=self._node_score(places) if self.days.any() else None,
            places=places,
        )

    def _node_score(self, places: int) -> NodeScore:
        """Return what an operator's own node gained."""
        net = self.reward / self.days
        income, rebalances, swaps, chain = (self.terms / self.days[:, None]).mean(axis=0).tolist()[:4]
        low, high = bootstrap(net, places)
        return NodeScore(
            net_sat_per_day=float(net.mean()),
            net_sat_per_day_low=low,
            net_sat_per_day_high=high,
            net_sat_per_day_per_100m_sat=float(1e8 * net.mean() / self.funds_sat.mean()),
            income_sat_per_day=income,
            rebalance_fees_sat_per_day=rebalances,
            swap_fees_sat_per_day=swaps,
            chain_fees_sat_per_day=chain,
            net_sat_per_day_of_episodes=tuple(net.tolist()),
        )


def bootstrap(values: Float64, groups: int = 1) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean (Efron, 1979).

    Args:
        values: Shape (values,).
        groups: How many groups of one size the values form, one after the other: with several, whole groups are
            resampled (the cluster bootstrap), as values of a group are alike.
    """
    if groups > 1:
        values = values.reshape(groups, -1).mean(axis=1)
    rng = np.random.default_rng(0)
    picks = rng.integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
