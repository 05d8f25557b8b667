"""The problem an environment poses: everything that follows from its config and never changes afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int64
from lnsim_gym.episodes.config import EnvironmentConfig, StartBalances
from lnsim_gym.episodes.variants import variants_of
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.tasks.liquidity.actions import ActionScheme, RebalanceRoutes, make_actions, rebalance_routes
from lnsim_gym.tasks.liquidity.observations import ObservationLayout
from lnsim_gym.tasks.liquidity.rewards import reward_weights
from lnsim_gym.traffic.kernels import TrafficProgram
from lnsim_gym.traffic.models import compile_traffic
from lnsim_gym.traffic.source import draw_start_balances

__all__ = ["NEVER_ALLOWED_MSAT", "Problem"]

NEVER_ALLOWED_MSAT = np.iinfo(np.int64).max
"""Stands for the balance needed by a rebalance that no balance allows."""


@dataclass(frozen=True)
class Problem:
    """A config worked out on its topology."""

    config: EnvironmentConfig
    topology: Topology
    traffic: TrafficProgram
    routes: RebalanceRoutes
    actions: ActionScheme
    layout: ObservationLayout
    weights: npt.NDArray[np.float64]  # (terms,) reward weights
    per_capacity: npt.NDArray[np.float64]  # (directions,) 1 / capacity in msat
    first_direction: Int64  # (options,) first direction of each (row, size) of the action scheme
    needed_msat: Int64  # (options,) spendable balance it needs there, amount and fees

    variants: tuple[Problem, ...] = ()
    """The variants that episodes are drawn from, this one first; just this one where nothing varies."""

    @classmethod
    def of(cls, config: EnvironmentConfig) -> Problem:
        """Work a config out.

        Raises:
            ConfigError: The config asks for the impossible.
        """
        variants = tuple(cls._of_variant(variant, topology) for variant, topology in variants_of(config))
        for index, variant in enumerate(variants):
            _require_same_shape(variants[0], variant, index)
        return replace(variants[0], config=config, variants=variants)

    @classmethod
    def _of_variant(cls, config: EnvironmentConfig, topology: Topology) -> Problem:
        """Work out one variant."""
        routes = rebalance_routes(config.operation, topology, config.circular_max_hops)
        actions = make_actions(config.action, routes, config.action_sizes)
        return cls(
            config=config,
            topology=topology,
            traffic=compile_traffic(config.traffic, topology),
            routes=routes,
            actions=actions,
            layout=ObservationLayout.of(
                config.observation, topology, config.observation_history, config.observation_averages
            ),
            weights=reward_weights(config.reward),
            per_capacity=np.repeat(1.0 / (1000.0 * topology.arrays.capacity_sat), 2),
            first_direction=np.repeat(routes.directions[:, 0], len(config.action_sizes)).astype(np.int64),
            needed_msat=_needed_msat(topology, routes, actions.amounts_msat).ravel(),
        )

    def require_same_channels(self, who: str) -> None:
        """Refuse variants whose nodes or channels differ, on behalf of what takes their names from the first.

        Raises:
            ConfigError: Two variants have other nodes, or channels between others.
        """
        if not all(self.topology.has_channels_of(variant.topology) for variant in self.variants):
            raise ConfigError(f"{who} need channels that stay the same: leave out lists of unlike topologies")

    def require_one_topology(self, who: str) -> None:
        """Refuse variants of the network, policies included, on behalf of what knows only one; demand may vary.

        Raises:
            ConfigError: Two variants have other topologies.
        """
        if any(variant.topology != self.topology for variant in self.variants):
            raise ConfigError(f"{who} need a network that stays the same: leave out variants and lists of topologies")

    def start_balances_msat(self, seed: int, episode: int) -> Int64:
        """Return the balances at the start of an episode, in msat, shape (channels, 2)."""
        start = self.config.start_balances
        if not isinstance(start, StartBalances):
            return self.topology.start_balances_msat()
        balances_msat = np.empty((len(self.topology.channels), 2), np.int64)
        draw_start_balances(
            self.topology.owned_total_msat,
            self.topology.arrays.reserve_msat,
            start.low,
            start.high,
            np.uint64(seed % 2**64),
            episode,
            balances_msat.ravel(),
        )
        return balances_msat


def _require_same_shape(first: Problem, other: Problem, index: int) -> None:
    """Refuse a variant whose spaces would not be those of the first, or whose actions would mean other amounts."""
    for what, own, its in (
        ("nodes", first.layout.nodes, other.layout.nodes),
        ("channels", first.layout.directions // 2, other.layout.directions // 2),
        ("rebalance routes", first.routes.directions.shape, other.routes.directions.shape),
    ):
        if own != its:
            raise ConfigError(f"variants must be of one shape: {what} of the first are {own}, of number {index} {its}")
    if not np.array_equal(first.routes.smallest_capacity_sat, other.routes.smallest_capacity_sat):
        raise ConfigError(f"variants must have equal capacities, channel by channel; number {index} differs")


def _needed_msat(topology: Topology, routes: RebalanceRoutes, amounts_msat: Int64) -> Int64:
    """Spendable balance that each (row, size) needs at the paying node, shape (rows, sizes)."""
    arrays = topology.arrays
    needed = np.empty_like(amounts_msat)
    for row in range(len(needed)):
        route = routes.route(row)
        needed[row] = hop_amounts_msat(topology, route, amounts_msat[row])[0]
        edges = list(route)
        too_small = amounts_msat[row] < arrays.min_htlc_msat[edges].max()
        too_large = needed[row] > arrays.max_htlc_msat[edges].min()
        needed[row][too_small | too_large] = NEVER_ALLOWED_MSAT
    return needed
