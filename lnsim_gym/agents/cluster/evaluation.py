"""Playing the seeds of an evaluation on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import ray

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.cluster.connection import RETRIES
from lnsim_gym.agents.evaluate import Score, Tally, play_episodes

__all__ = ["evaluate_on_cluster", "play_on_cluster"]

Key = TypeVar("Key")

SEEDS_AT_ONCE: Final = 25
"""Seeds that a worker plays at once."""


def evaluate_on_cluster(
    players: Mapping[str, tuple[Agent, int]],
    seeds: range,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> list[Score]:
    """Let agents play one episode of each seed on the simulator; scores are those of ``evaluate`` to the last bit.

    Args:
        players: Agents and the steps of their episodes, by the name to call them in the result.
        seeds: Seeds, one episode each.
        tell: See ``play_on_cluster``.

    Returns:
        Scores in the order of the players.
    """
    return [tally.score(name) for name, tally in play_on_cluster(players, seeds, tell).items()]


def play_on_cluster(
    players: Mapping[Key, tuple[Agent, int]],
    seeds: range,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> dict[Key, Tally]:
    """Let agents play one episode of each seed on the simulator, and sum up each of them, as ``play_episodes`` does.

    A share of the seeds whose worker dies is played again by another.

    Args:
        players: Agents and the steps of their episodes.
        seeds: Seeds, one episode each.
        tell: Called after each share with the number of episodes played, and of those to play.
    """
    parts: dict[Key, list[Any]] = {}
    sizes: dict[Any, int] = {}
    for name, (agent, steps) in players.items():
        sent = ray.put(agent)
        at_once = SEEDS_AT_ONCE if agent.is_separable else len(seeds)
        shares = [seeds[first : first + at_once] for first in range(0, len(seeds), at_once)]
        parts[name] = [_play.remote(sent, share, steps, seeds[0]) for share in shares]
        sizes |= dict(zip(parts[name], map(len, shares), strict=True))
    pending, total, done = list(sizes), sum(sizes.values()), 0
    while pending:
        ready, pending = ray.wait(pending)
        done += sum(sizes[part] for part in ready)
        tell(done, total)
    return {name: Tally.joined(ray.get(tallies)) for name, tallies in parts.items()}


@ray.remote(max_retries=RETRIES)  # type: ignore[untyped-decorator]
def _play(agent: Agent, seeds: range, steps: int, chance: int) -> Tally:
    """Play a share of the seeds."""
    return play_episodes(agent, seeds, steps, chance=chance)
