"""What an episode leaves behind, as plain immutable events, and the balances around every single payment.

Whoever steps an environment makes these events; every recorder, the bridge and the trace consume them. Nothing here
writes a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from lnsim_gym.arrays import Int64
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes, RebalanceResult

__all__ = [
    "EpisodeEnd",
    "EpisodeStart",
    "Recorder",
    "StepEvents",
    "balances_after_rebalance",
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
    """Name of the world the episode runs on."""


@dataclass(frozen=True, slots=True)
class StepEvents:
    """One step: a rebalance, if any was asked for, then a batch of payments."""

    episode: int
    step: int
    """Number of the step in its episode, from 0."""
    seed: int
    action: Any
    """The action as given to ``step``, in plain JSON types or numpy; None when there was none."""
    rebalance_route: tuple[int, ...]
    """Direction indices in order from the paying node; empty when no rebalance was asked for."""
    rebalance_amount_msat: int
    """Amount asked for; 0 when no rebalance was asked for."""
    rebalance: RebalanceResult
    batch: PaymentBatch
    outcomes: PaymentOutcomes
    balances_before_msat: Int64  # (channels, 2) before the rebalance
    balances_after_rebalance_msat: Int64  # (channels, 2) before the first payment
    balances_after_msat: Int64  # (channels, 2) after the last payment
    timestamp: datetime
    """When the step began."""
    topology: Topology
    """The network with the policies that it has in this episode."""


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


def balances_after_rebalance(
    topology: Topology, balances_msat: Int64, route: tuple[int, ...], applied_msat: int
) -> Int64:
    """Return the balances after an amount arrived over a pinned route, as a fresh array of shape (channels, 2)."""
    after = balances_msat.copy()
    if applied_msat:
        _settle(topology, after.reshape(-1), route, applied_msat)
    return after


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
    routes, delivered_msat = outcomes.part_route.tolist(), outcomes.part_amount_msat.tolist()
    for payment, parts in enumerate(outcomes.parts.tolist()):
        after = before.copy() if parts else before
        for part in range(parts):
            route = routes[payment][part]
            hops = route if route[-1] >= 0 else route[: route.index(-1)]
            _settle(topology, after.reshape(-1), tuple(hops), delivered_msat[payment][part])
        yield before, after
        before = after


def _settle(topology: Topology, flat_msat: Int64, route: tuple[int, ...], amount_msat: int) -> None:
    """Move the HTLC amounts of a settled route, in place, in balances that lie in direction order."""
    for direction, hop_msat in zip(route, hop_amounts_msat(topology, route, amount_msat), strict=True):
        flat_msat[direction] -= hop_msat
        flat_msat[direction ^ 1] += hop_msat
