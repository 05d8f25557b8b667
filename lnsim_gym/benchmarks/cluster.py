"""How much faster an evaluation is on more workers of a Ray cluster: measured here, and modelled beyond."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from lnsim_gym.agents import Agent, make_agent, view_of
from lnsim_gym.agents.cluster import evaluate_on_cluster, joined
from lnsim_gym.benchmarks.report import Report, circumstances, system_load
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig

__all__ = ["ClusterFigures", "bench_cluster"]

MODELLED: Final = (4, 8, 16, 32, 64)
"""Workers that the model is asked about."""


class ClusterFigures(Report, frozen=True, kw_only=True):
    """What was measured: an agent that plans by rollouts plays episodes, clusters already up."""

    agent: str
    episodes: int
    steps_per_s: dict[str, float]
    """Environment steps per second of wall time, by number of workers."""
    serial_s: float
    """Seconds of the evaluation that more workers do not shorten, fitted as in Amdahl's law."""
    parallel_s: float
    """Seconds that are shared among the workers."""
    modelled_steps_per_s: dict[str, float]
    """What that model says of more workers than were measured; as many shares of the seeds are assumed."""


def bench_cluster(
    workers: Sequence[int] = (1, 2), episodes: int = 200, steps: int = 5, agent: str = "planner"
) -> ClusterFigures:
    """Measure an evaluation on clusters of this machine.

    Args:
        workers: Numbers of workers to measure with, two at least.
        episodes: Episodes to play.
        steps: Steps of an episode.
        agent: Name of the agent that plays.

    Raises:
        ConfigError: There are fewer than two different numbers of workers, or one below 1.
    """
    if len(set(workers)) < 2 or min(workers) < 1:
        raise ConfigError(f"expected at least two different numbers of workers, got {list(workers)}")
    load_before = system_load()
    player = make_agent(agent, Problem.of(EnvironmentConfig.of(view_of(agent))))
    seconds = {count: _seconds(player, count, range(episodes), steps) for count in workers}
    design = np.array([[1.0, 1.0 / count] for count in seconds])
    serial_s, parallel_s = np.linalg.lstsq(design, np.array(list(seconds.values())), rcond=None)[0].tolist()
    serial_s = max(serial_s, 0.0)
    played = episodes * steps
    return ClusterFigures(
        agent=agent,
        episodes=episodes,
        steps_per_s={str(count): played / taken for count, taken in seconds.items()},
        serial_s=serial_s,
        parallel_s=parallel_s,
        modelled_steps_per_s={str(count): played / (serial_s + parallel_s / count) for count in MODELLED},
        **circumstances(load_before, "numba", "numpy", "ray"),
    )


def _seconds(player: Agent, workers: int, seeds: range, steps: int) -> float:
    """Return how long an evaluation takes on a cluster of this machine, whose workers have compiled everything."""
    with joined("local", workers):
        evaluate_on_cluster({"warm": (player, 1)}, seeds)
        started = time.perf_counter()
        evaluate_on_cluster({"timed": (player, steps)}, seeds)
        return time.perf_counter() - started
