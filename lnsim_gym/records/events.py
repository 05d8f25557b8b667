"""What an episode leaves behind, as plain immutable events, and the balances around every single payment.

What steps an environment makes these events; every recorder, the bridge and the trace consume them. Nothing here
writes a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.interventions import Intervention, Rebalance, balances_after, settle, topology_after
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import settled_hops
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes

__all__ = [
    "EpisodeEnd",
    "EpisodeStart",
    "Recorder",
    "StepEvents",
    "balances_per_payment",
]


@dataclass(frozen=True, slots=True)
class EpisodeStart:
    """An episode began."""

    episode: int
    seed: int
    start_balances_msat: Int64  # (channels, 2) initiator first
    timestamp: datetime
    environment_id: str = ""
    """Id under which the environment is registered, when it is."""
    backend: str = ""
    """Name of the backend the episode runs on."""
    topology: Topology | None = None
    """The network with its policies at that moment, where these are not those that all episodes begin with."""


@dataclass(frozen=True, slots=True)
class StepEvents:
    """One step: what the task did to the network, then a batch of payments."""

    episode: int
    step: int
    """Number of the step in its episode, from 0."""
    seed: int
    action: Any
    """The action as given to ``step``, in plain JSON types or numpy; None when there was none."""
    interventions: tuple[Intervention, ...]
    """What was done to the network before the payments, in order, and what became of it."""
    batch: PaymentBatch
    outcomes: PaymentOutcomes
    balances_before_msat: Int64  # (channels, 2) before the interventions
    balances_served_from_msat: Int64  # (channels, 2) before the first payment
    balances_after_msat: Int64  # (channels, 2) after the last payment
    timestamp: datetime
    """When the step began."""
    topology_before: Topology
    """The network with the policies that it had before the interventions."""
    topology: Topology
    """The network with the policies that the payments met."""

    @property
    def rebalances(self) -> tuple[Rebalance, ...]:
        """The rebalances among the interventions."""
        return tuple(done for done in self.interventions if isinstance(done, Rebalance))

    def rebalances_with_balances(self) -> Iterator[tuple[Rebalance, Int64, Int64]]:
        """Yield each rebalance with the balances before and after it, shape (channels, 2)."""
        topology = self.topology_before
        before_msat = self.balances_before_msat
        others: list[Intervention] = []
        for done in self.interventions:
            if not isinstance(done, Rebalance):
                others.append(done)
                continue
            before_msat = balances_after(topology, before_msat, tuple(others))
            topology = topology_after(topology, tuple(others))
            after_msat = balances_after(topology, before_msat, (done,))
            yield done, before_msat, after_msat
            before_msat = after_msat
            others.clear()

    @property
    def intervening_s(self) -> float:
        """Wall time that the interventions took; 0 in the simulator."""
        return sum(rebalance.result.duration_s for rebalance in self.rebalances)


@dataclass(frozen=True, slots=True)
class EpisodeEnd:
    """An episode ended: by its time limit, by a lost backend, or by a reset."""

    episode: int
    steps: int
    """Steps done."""
    timestamp: datetime
    backend_error: str = ""
    """Why the backend was lost, when it was."""


class Recorder(Protocol):
    """Something that keeps or passes on the events of episodes, in the order in which they happen."""

    def episode_started(self, event: EpisodeStart) -> None:
        """Take note that an episode began."""

    def stepped(self, event: StepEvents) -> None:
        """Take note of a step."""

    def episode_ended(self, event: EpisodeEnd) -> None:
        """Take note that an episode ended."""

    def close(self) -> None:
        """Finish what was begun; harmless when closed already."""


def balances_per_payment(
    topology: Topology, balances_msat: Int64, outcomes: PaymentOutcomes
) -> Iterator[tuple[Int64, Int64]]:
    """Yield the exact balances before and after each payment of a batch made one after the other.

    Every hop of every settled part moves its HTLC amount, fees included, from the near to the far end of its
    channel; a payment that failed moves nothing.

    Args:
        topology: The network.
        balances_msat: Balances before the first payment, shape (channels, 2), initiator first.
        outcomes: What became of the payments.

    Yields:
        Two arrays of shape (channels, 2) for each payment, the same one twice when nothing moved; do not write to
        them.
    """
    before = balances_msat
    for payment, parts in enumerate(outcomes.parts.tolist()):
        after = before.copy() if parts else before
        for route, hop_msat in settled_hops(topology, outcomes, payment):
            settle(topology, after.reshape(-1), route, hop_msat[-1], hop_msat)
        yield before, after
        before = after
