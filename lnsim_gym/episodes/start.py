"""Choosing the runner for a config's backend; heavy imports happen only for the backend that is used."""

from __future__ import annotations

from lnsim_gym.episodes.backed import BackendEpisodes
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.episodes.runner import Episodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.schema import convert

__all__ = ["open_episodes"]


def open_episodes(problem: Problem, networks: int = 1, threads: int = 1) -> Episodes:
    """Return the runner for the config's backend; real nodes start at the first reset.

    Args:
        problem: What is to be done.
        networks: How many networks step together.
        threads: Threads that share simulated networks.

    Raises:
        ConfigError: Real nodes were asked for several networks at once, or for delays of gossip.
    """
    if problem.config.backend == "simulator":
        from lnsim_gym.episodes.simulated import SimulatedEpisodes  # noqa: PLC0415

        return SimulatedEpisodes(problem, networks, threads)
    if problem.config.gossip_options is not None and problem.task.changes_policies:
        raise ConfigError(
            "backend 'lnd' goes on when all nodes have heard of a policy, whatever the delays: set gossip='at_once'"
        )
    if len(problem.variants) > 1:
        raise ConfigError("backend 'lnd' runs one network: leave out variants and lists of topologies")
    if networks != 1:
        raise ConfigError(
            f"backend 'lnd' runs one network per environment, asked for {networks}: "
            'use gym.make_vec(..., vectorization_mode="sync") for several'
        )
    from lnsim_gym.backends.lnd import LndBackend, LndSettings  # noqa: PLC0415

    settings = convert(problem.config.lnd, LndSettings, "lnd")
    return BackendEpisodes(
        problem, LndBackend(problem.topology, problem.config.payment, settings, payment_ms=problem.traffic.payment_ms)
    )
