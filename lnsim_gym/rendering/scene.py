"""What is shown of one network: its balances, what the last step did to it, and how many payments succeeded so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lnsim_gym.backends import interventions
from lnsim_gym.episodes import Episodes
from lnsim_gym.network import Topology
from lnsim_gym.payments import RebalanceReason
from lnsim_gym.tasks.columns import SUCCEEDED

__all__ = ["DRY", "History", "Rebalance", "Scene", "Watcher", "count_dry_ends"]

DRY: Final = 0.1
"""Share of a channel's funds below which an end is dry."""
_WHY: Final = {
    RebalanceReason.NONE: "",
    RebalanceReason.INSUFFICIENT_LOCAL_BALANCE: "{payer} cannot spend that much on this channel",
    RebalanceReason.AMOUNT_OUT_OF_RANGE: "a channel on the route takes no such amount",
    RebalanceReason.FEE_LIMIT_EXCEEDED: "its fees exceed the limit",
    RebalanceReason.TEMPORARY_CHANNEL_FAILURE: "{failing} lacks the balance to forward it",
    RebalanceReason.OTHER: "{detail}",
    RebalanceReason.NO_ROUTE: "no route leads around within the fee limit",
}


@dataclass(frozen=True, slots=True)
class Rebalance:
    """The rebalance of a step, and what became of it."""

    route: tuple[int, ...]
    """Direction indices in order from the paying node."""
    nodes: tuple[str, ...]
    """Names of the nodes on the route, the payer first."""
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
    sent: tuple[int, ...]
    """Payments that were sent, step by step."""
    succeeded: tuple[int, ...]
    """Payments that settled, step by step."""
    rebalance: Rebalance | None
    """First rebalance of the last step; None when there was none."""
    length: int | None = None
    """Steps of the whole episode; None where that is unknown."""
    policy_changes: tuple[str, ...] = ()
    """Routing policies that the last step changed, in words; of an own node only its own."""
    own: int | None = None
    """The own node, where the task has one."""
    money: npt.NDArray[np.float64] = field(
        default_factory=lambda: np.zeros((0, 1))
    )  # (steps, terms) of an own node: income, then each kind of cost, in sat

    @property
    def profit_sat(self) -> npt.NDArray[np.float64]:
        """What each step brought the own node, shape (steps,)."""
        profit: npt.NDArray[np.float64] = self.money[:, 0] - self.money[:, 1:].sum(axis=1)
        return profit

    def own_channels(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the directions out of the own node, and what it and its peers hold there, in sat."""
        out = np.flatnonzero(self.topology.arrays.source == self.own)
        balances_sat = self.balances_sat.ravel()
        return out, balances_sat[out], balances_sat[out ^ 1]

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Share of each channel's funds that its initiator holds, 0 where it is closed, shape (channels,)."""
        held: npt.NDArray[np.float64] = self.balances_sat[:, 0] / np.maximum(self.balances_sat.sum(axis=1), 1)
        return held

    @property
    def dry_ends(self) -> int:
        """How many channel ends hold less than a tenth of their channel's funds."""
        return count_dry_ends(self.balances_sat)

    @property
    def rates(self) -> npt.NDArray[np.float64]:
        """Success rate of each step, 0 where nothing was sent, shape (steps,)."""
        return np.array(self.succeeded, np.float64) / np.maximum(self.sent, 1)

    @property
    def rates_so_far(self) -> npt.NDArray[np.float64]:
        """Success rate of the episode up to each step, shape (steps,)."""
        rates: npt.NDArray[np.float64] = np.cumsum(self.succeeded) / np.maximum(np.cumsum(self.sent), 1)
        return rates


class History(NamedTuple):
    """What a watcher knows of an episode."""

    sent: tuple[int, ...] = ()
    succeeded: tuple[int, ...] = ()
    done: tuple[interventions.Intervention, ...] = ()
    money: tuple[tuple[float, ...], ...] = ()


class Watcher:
    """Keeps what a runner's columns forget: the success of earlier steps, and what the last one did.

    Args:
        episodes: The runner.
        network: Which of its networks to follow.
    """

    def __init__(self, episodes: Episodes, network: int) -> None:
        self._episodes = episodes
        self._network = network
        self._sent: list[int] = []
        self._succeeded: list[int] = []
        self._done: tuple[interventions.Intervention, ...] = ()
        self._money: list[tuple[float, ...]] = []
        self._own = episodes.problem.task.watched

    @property
    def history(self) -> History:
        """What happened in the episode so far; set it to go on from there."""
        return History(tuple(self._sent), tuple(self._succeeded), self._done, tuple(self._money))

    @history.setter
    def history(self, history: History) -> None:
        self._sent = list(history.sent)
        self._succeeded = list(history.succeeded)
        self._done = history.done
        self._money = list(history.money)

    def began(self) -> None:
        """Forget the episode before."""
        self.history = History()

    def stepped(self) -> None:
        """Take in the step that was just made."""
        columns = self._episodes.columns
        self._sent.append(int(columns.due[self._network]))
        self._succeeded.append(int(columns.counts[self._network, SUCCEEDED]))
        self._done = self._episodes.interventions(self._network)
        if self._own is not None:
            self._money.append(tuple(columns.terms[self._network].tolist()))

    def scene(self, length: int | None = None) -> Scene:
        """Return the network as it is now, in an episode of a number of steps."""
        episodes = self._episodes
        network = self._network
        topology = episodes.topology(network)
        done = self._done
        rebalances = [_shown(topology, one) for one in done if isinstance(one, interventions.Rebalance)]
        return Scene(
            topology=topology,
            balances_sat=episodes.columns.balances_msat[network] // 1000,
            seed=int(episodes.seeds[network]),
            episode=int(episodes.episodes[network]),
            step=int(episodes.steps[network]),
            sent=tuple(self._sent),
            succeeded=tuple(self._succeeded),
            rebalance=rebalances[0] if rebalances else None,
            length=length,
            policy_changes=tuple(
                _in_words(topology, one)
                for one in done
                if isinstance(one, interventions.PolicyChange)
                and self._own in (None, topology.arrays.source[one.direction])
            ),
            own=self._own,
            money=np.array(self._money, np.float64).reshape(len(self._money), len(episodes.problem.task.terms)),
        )


def _shown(topology: Topology, done: interventions.Rebalance) -> Rebalance:
    """Return a rebalance as it is shown."""
    nodes = tuple(topology.nodes[node] for node in topology.nodes_of(done.route))
    result = done.result
    why = _WHY[result.reason].format(
        payer=nodes[0],
        failing=nodes[result.failure_source_index] if result.failure_source_index >= 0 else "a node",
        detail=result.detail or "LND refused it",
    )
    return Rebalance(done.route, nodes, done.amount_msat // 1000, result.fee_msat, why)


def _in_words(topology: Topology, done: interventions.PolicyChange) -> str:
    """Return a change of policy as one phrase."""
    source, destination = (topology.nodes[node] for node in topology.nodes_of((done.direction,)))
    return f"{source} → {destination}: {done.policy.fee_base_msat:,} msat + {done.policy.fee_rate_ppm:,} ppm"


def count_dry_ends(balances: npt.NDArray[np.int64]) -> int:
    """Return how many channel ends hold less than a tenth of their channel's funds.

    Args:
        balances: In any unit, shape (channels, 2).
    """
    return int((balances < DRY * balances.sum(axis=1, keepdims=True)).sum())
