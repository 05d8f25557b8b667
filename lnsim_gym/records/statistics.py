"""Running statistics of payments and rebalances: totals, rates, and what each node sent and received.

Kept from the events of the steps; nothing is sampled or estimated. How they are shown is up to the caller.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import numpy as np

from lnsim_gym.network import Topology
from lnsim_gym.payments import FailureReason
from lnsim_gym.records.events import EpisodeEnd, EpisodeStart, StepEvents

__all__ = ["NodeStatistics", "RunningStatistics", "Statistics"]


class NodeStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Payments of one node."""

    sent_msat: int
    """Amounts of its settled payments, without fees."""
    received_msat: int
    """Amounts of settled payments to it."""
    fees_paid_msat: int
    """Routing fees of its settled payments."""

    @property
    def net_flow_msat(self) -> int:
        """Received less sent, without fees."""
        return self.received_msat - self.sent_msat


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """A run so far."""

    episodes: int
    steps: int
    runtime_s: float
    """Time from the first event to the last."""
    payments: int
    succeeded: int
    consecutive_failures: int
    """Failed payments since the last that settled."""
    failures: dict[str, int]
    """Failed payments by LND's reason, those that occurred."""
    volume_msat: int
    """Amounts that settled."""
    fees_msat: int
    """Routing fees paid for them."""
    rebalances: int
    """Rebalances asked for."""
    rebalances_applied: int
    rebalance_volume_msat: int
    """Amounts moved by rebalances."""
    rebalance_fees_msat: int
    backend_errors: int
    """Episodes ended by a lost backend."""
    nodes: dict[str, NodeStatistics]
    """By node name, in the order of the topology."""

    @property
    def success_rate(self) -> float:
        """Share of payments that settled; 0 before the first."""
        return self.succeeded / self.payments if self.payments else 0.0

    @property
    def payments_per_minute(self) -> float:
        """Payments made per minute of runtime; 0 while no time has passed."""
        return 60.0 * self.payments / self.runtime_s if self.runtime_s > 0 else 0.0


class RunningStatistics:
    """Counts the events of a run.

    Args:
        topology: Whose nodes the events speak of.
    """

    def __init__(self, topology: Topology) -> None:
        nodes = len(topology.nodes)
        self._topology = topology
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._episodes = self._steps = self._payments = self._succeeded = self._consecutive_failures = 0
        self._rebalances = self._rebalances_applied = 0
        self._rebalance_volume_msat = self._rebalance_fees_msat = self._backend_errors = 0
        self._failures = np.zeros(len(FailureReason), np.int64)
        self._sent_msat, self._received_msat, self._fees_msat = np.zeros((3, nodes), np.int64)

    def episode_started(self, event: EpisodeStart) -> None:
        """Count an episode."""
        self._episodes += 1
        self._note_time(event.timestamp)

    def stepped(self, event: StepEvents) -> None:
        """Count a step with its rebalance and payments."""
        self._steps += 1
        self._note_time(event.timestamp)
        for rebalance in event.rebalances:
            self._rebalances += 1
            self._rebalances_applied += rebalance.result.applied_msat > 0
            self._rebalance_volume_msat += rebalance.result.applied_msat
            self._rebalance_fees_msat += rebalance.result.fee_msat
        self._count_payments(event)

    def episode_ended(self, event: EpisodeEnd) -> None:
        """Count a lost backend, if there was one."""
        self._backend_errors += bool(event.backend_error)
        self._note_time(event.timestamp)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def statistics(self) -> Statistics:
        """Return the statistics of all events so far."""
        runtime_s = (self._last - self._first).total_seconds() if self._first and self._last else 0.0
        columns = (self._sent_msat.tolist(), self._received_msat.tolist(), self._fees_msat.tolist())
        return Statistics(
            episodes=self._episodes,
            steps=self._steps,
            runtime_s=runtime_s,
            payments=self._payments,
            succeeded=self._succeeded,
            consecutive_failures=self._consecutive_failures,
            failures={reason.name: int(self._failures[reason]) for reason in FailureReason if self._failures[reason]},
            volume_msat=int(self._sent_msat.sum()),
            fees_msat=int(self._fees_msat.sum()),
            rebalances=self._rebalances,
            rebalances_applied=self._rebalances_applied,
            rebalance_volume_msat=self._rebalance_volume_msat,
            rebalance_fees_msat=self._rebalance_fees_msat,
            backend_errors=self._backend_errors,
            nodes={
                name: NodeStatistics(sent_msat=sent, received_msat=received, fees_paid_msat=fees)
                for name, sent, received, fees in zip(self._topology.nodes, *columns, strict=True)
            },
        )

    def _count_payments(self, event: StepEvents) -> None:
        """Count the payments of a step."""
        batch = event.batch
        outcomes = event.outcomes
        settled = outcomes.succeeded
        self._payments += len(settled)
        self._succeeded += int(settled.sum())
        places = np.flatnonzero(settled)
        self._consecutive_failures = (
            len(settled) - 1 - int(places[-1]) if len(places) else self._consecutive_failures + len(settled)
        )
        np.add.at(self._failures, outcomes.failure_reason[~settled], 1)
        np.add.at(self._sent_msat, batch.source[settled], batch.amount_msat[settled])
        np.add.at(self._received_msat, batch.destination[settled], batch.amount_msat[settled])
        np.add.at(self._fees_msat, batch.source[settled], outcomes.fee_msat[settled])

    def _note_time(self, timestamp: datetime) -> None:
        """Remember the first and the last moment."""
        self._first = self._first or timestamp
        self._last = timestamp
