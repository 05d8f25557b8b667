"""What is shown of one network: its balances, the last rebalance, and how many payments succeeded so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.episodes import Episodes
from lnsim_gym.episodes.columns import REBALANCE_REQUESTED
from lnsim_gym.network import Topology
from lnsim_gym.payments import RebalanceReason
from lnsim_gym.tasks.liquidity.actions import NO_OP

__all__ = ["DRY", "Rebalance", "Scene", "Watcher"]

DRY: Final = 0.1
"""Share of a channel's funds below which an end is dry."""
_WHY: Final = {
    RebalanceReason.NONE: "",
    RebalanceReason.INSUFFICIENT_LOCAL_BALANCE: "{payer} cannot spend that much on this channel",
    RebalanceReason.AMOUNT_OUT_OF_RANGE: "a channel on the way takes no such amount",
    RebalanceReason.FEE_LIMIT_EXCEEDED: "its fees exceed the limit",
    RebalanceReason.TEMPORARY_CHANNEL_FAILURE: "{failing} lacks the balance to forward it",
    RebalanceReason.OTHER: "{detail}",
}


@dataclass(frozen=True, slots=True)
class Rebalance:
    """The rebalance of a step, and what became of it."""

    route: tuple[int, ...]
    """Direction indices in order from the paying node."""
    nodes: tuple[str, ...]
    """Names of the nodes on the way, the payer first."""
    amount_sat: int
    """Amount asked for."""
    fee_msat: int
    """Routing fees paid."""
    why: str
    """Why it was refused, in words; empty when it was applied."""

    @property
    def refused(self) -> bool:
        """Whether it changed nothing."""
        return bool(self.why)


@dataclass(frozen=True, slots=True)
class Scene:
    """One network at one moment."""

    topology: Topology
    balances_sat: npt.NDArray[np.int64]  # (channels, 2) initiator first
    seed: int
    episode: int
    step: int
    """Steps done in the episode."""
    payments: int
    """Payments of each step."""
    succeeded: tuple[int, ...]
    """Payments that settled, step by step."""
    rebalance: Rebalance | None
    """Rebalance of the last step; None when there was none."""

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Share of each channel's funds that its initiator holds, shape (channels,)."""
        held: npt.NDArray[np.float64] = self.balances_sat[:, 0] / self.balances_sat.sum(axis=1)
        return held

    @property
    def dry_ends(self) -> int:
        """How many channel ends hold less than a tenth of their channel's funds."""
        shares = self.shares
        return int((shares < DRY).sum() + (shares > 1 - DRY).sum())

    @property
    def rates(self) -> npt.NDArray[np.float64]:
        """Success rate of each step, shape (steps,)."""
        return np.array(self.succeeded, np.float64) / self.payments

    @property
    def rates_so_far(self) -> npt.NDArray[np.float64]:
        """Success rate of the episode up to each step, shape (steps,)."""
        sums: npt.NDArray[np.float64] = self.rates.cumsum() / np.arange(1, len(self.succeeded) + 1)
        return sums


class Watcher:
    """Keeps what a runner's columns forget: the success of earlier steps, and the last rebalance.

    Args:
        episodes: The runner.
        network: Which of its networks to follow.
    """

    def __init__(self, episodes: Episodes, network: int) -> None:
        self._episodes = episodes
        self._network = network
        self._succeeded: list[int] = []
        self._rebalance: Rebalance | None = None

    def began(self) -> None:
        """Forget the episode before."""
        self._succeeded = []
        self._rebalance = None

    def stepped(self, row: int) -> None:
        """Take in the step that was just made, with a rebalance over a row of the routes."""
        self._succeeded.append(int(self._episodes.columns.counts[self._network, 0]))
        self._rebalance = None if row == NO_OP else self._read_rebalance(row)

    def scene(self) -> Scene:
        """Return the network as it is now."""
        episodes, network = self._episodes, self._network
        return Scene(
            topology=self._topology(),
            balances_sat=episodes.columns.balances_msat[network] // 1000,
            seed=int(episodes.seeds[network]),
            episode=int(episodes.episodes[network]),
            step=int(episodes.steps[network]),
            payments=episodes.problem.config.payments_per_step,
            succeeded=tuple(self._succeeded),
            rebalance=self._rebalance,
        )

    def _topology(self) -> Topology:
        """Return the topology of the current episode."""
        return self._episodes.problem.variants[int(self._episodes.variants[self._network])].topology

    def _read_rebalance(self, row: int) -> Rebalance:
        """Return the rebalance of the last step."""
        topology, arrays = self._topology(), self._topology().arrays
        route = self._episodes.problem.routes.route(row)
        on_the_way = [int(arrays.source[route[0]]), *arrays.destination[list(route)].tolist()]
        nodes = tuple(topology.nodes[node] for node in on_the_way)
        result = self._episodes.rebalance_result(self._network)
        why = _WHY[result.reason].format(
            payer=nodes[0],
            failing=nodes[result.failure_source_index] if result.failure_source_index >= 0 else "a node",
            detail=result.detail or "LND refused it",
        )
        requested_msat = int(self._episodes.columns.counts[self._network, REBALANCE_REQUESTED])
        return Rebalance(route, nodes, requested_msat // 1000, result.fee_msat, why)
