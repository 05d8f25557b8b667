"""The problem an environment poses: everything that follows from its config and never changes afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.episodes.variants import variants_of
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.tasks import EnvironmentConfig, Task, task_type
from lnsim_gym.tasks.config import StartBalances
from lnsim_gym.traffic import DriftTraffic
from lnsim_gym.traffic.kernels import TrafficProgram
from lnsim_gym.traffic.models import compile_traffic
from lnsim_gym.traffic.source import draw_start_balances

__all__ = ["Problem", "traffic_of"]


@dataclass(frozen=True)
class Problem:
    """A config worked out on its topology."""

    config: EnvironmentConfig
    topology: Topology
    traffic: TrafficProgram
    task: Task

    variants: tuple[Problem, ...] = ()
    """The variants that episodes are drawn from, this one first; just this one where nothing varies."""

    def __deepcopy__(self, memo: dict[int, object]) -> Problem:
        """Return itself: copies of an environment share the problem, which never changes."""
        return self

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
        kind = task_type(config)
        topology = kind.prepared(config, topology)
        return cls(
            config=config,
            topology=topology,
            traffic=traffic_of(config, topology),
            task=kind(config, topology),
        )

    @property
    def is_linked(self) -> bool:
        """Whether networks have links (see ``backends.simulator.layout``): one is not plain, or changes spread late."""
        spreads = self.config.gossip_options is not None and self.task.changes_policies
        return spreads or self.task.needs_links or not all(variant.topology.is_plain for variant in self.variants)

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
            self.topology.given_initiator_msat,
            self.topology.owned_total_msat,
            self.topology.arrays.reserve_msat,
            start.low,
            start.high,
            start.skew,
            np.uint64(seed % 2**64),
            episode,
            balances_msat.ravel(),
        )
        return balances_msat


def traffic_of(config: EnvironmentConfig, topology: Topology) -> TrafficProgram:
    """Compile the traffic of a config; where a task draws its own payments, another one stands in that draws none."""
    return compile_traffic(DriftTraffic() if task_type(config).draws_payments else config.traffic, topology)


def _require_same_shape(first: Problem, other: Problem, index: int) -> None:
    """Refuse a variant whose spaces would not be those of the first, or whose actions would mean other amounts."""
    for what, own, its in (
        ("nodes", len(first.topology.nodes), len(other.topology.nodes)),
        ("channels", len(first.topology.channels), len(other.topology.channels)),
    ):
        if own != its:
            raise ConfigError(f"variants must be of one shape: {what} of the first are {own}, of number {index} {its}")
    first.task.require_same_shape(other.task, index)
