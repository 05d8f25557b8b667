"""The environments of a node for advice: one for each draw of the demand that was fitted to its history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lnsim_gym.environment import LightningNetEnv
from lnsim_gym.episodes import Problem
from lnsim_gym.network import Topology
from lnsim_gym.own_node.advice.advising import Worlds
from lnsim_gym.own_node.demand.fit import fit_demand
from lnsim_gym.own_node.demand.world import own_environment
from lnsim_gym.own_node.reading.folder import OwnNode

__all__ = ["worlds_of"]


def worlds_of(
    node: OwnNode,
    topology: Topology,
    *,
    draws: int = 40,
    seed: int = 0,
    threads: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> Worlds:
    """Fit the demand around a node, and return its environments; draws beyond those of the demand begin anew.

    Args:
        node: The node.
        topology: The network around it, with its balances.
        draws: Draws of the demand.
        seed: Seed of all draws.
        threads: Threads that share simulated networks while it is fitted.
        tell: Called with how much of the fit is done, and of how much.

    Raises:
        ConfigError: The history is too short to fit anything to.
    """
    demand = fit_demand(node, topology, draws=draws, seed=seed, threads=threads, tell=tell)

    def world(draw: int, **settings: Any) -> Problem:
        env: LightningNetEnv = own_environment(node, topology, demand, draw=draw % demand.draws, **settings)
        return env.problem

    return world
