"""The columns of one step: what happened on each of many networks, one row per network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Float32, Float64, Int8, Int32, Int64
from lnsim_gym.compiled.memory import zeros
from lnsim_gym.payments import FORWARD_COUNTS, MAX_ROUTE_HOPS, FailureReason, PaymentBatch, PaymentOutcomes
from lnsim_gym.tasks.base import Task

__all__ = [
    "COUNTS",
    "FEES",
    "FIRST_FAILURE",
    "LEDGER",
    "SUCCEEDED",
    "VOLUME",
    "OUTCOME_COLUMNS",
    "Sizes",
    "StepColumns",
    "unpack_batch",
    "unpack_outcomes",
]

COUNTS: Final = (
    "succeeded",  # payments that settled
    "volume_msat",  # what they delivered
    "fees_msat",  # what their senders paid in fees
    *(f"failures_{reason.name}" for reason in FailureReason),  # failed payments by reason
)
"""Meaning of the first columns of ``StepColumns.counts``, the same for every task; those of its ledger follow."""
SUCCEEDED: Final = COUNTS.index("succeeded")
VOLUME: Final = COUNTS.index("volume_msat")
FEES: Final = COUNTS.index("fees_msat")
FIRST_FAILURE: Final = COUNTS.index("failures_NONE")
LEDGER: Final = len(COUNTS)
"""Column of ``StepColumns.counts`` at which the ledger of the task begins."""
OUTCOME_COLUMNS: Final = (
    "succeeded",
    "failure_reason",
    "attempts",
    "fee_msat",
    "parts",
    "part_amount_msat",
    "part_route",
    "part_hop_msat",
)
"""Columns that are fields of ``PaymentOutcomes``, in their order."""


class Sizes(NamedTuple):
    """Lengths of the columns of one network."""

    nodes: int
    channels: int
    payments: int
    max_parts: int
    decision: int
    observation: int
    options: int
    terms: int
    ledger: int
    earners: int
    """Nodes whose earnings are counted: all or none."""
    watched_channels: int
    """Channels of the node whose forwards are counted; none without one."""
    kept: int
    hop_amounts: int
    """Hops of a part whose amounts are kept: all in networks where they do not follow from the route, or none."""

    @classmethod
    def of(cls, task: Task, *, linked: bool) -> Self:
        """Return the sizes of a task on its topology.

        Args:
            task: The task.
            linked: Whether the networks have links (see ``backends.simulator.layout``).
        """
        nodes = len(task.topology.nodes)
        return cls(
            nodes=nodes,
            channels=len(task.topology.channels),
            payments=task.config.payments_per_step,
            max_parts=task.config.payment.max_parts,
            decision=len(task.decision),
            observation=task.observations.size,
            options=task.options,
            terms=len(task.terms),
            ledger=len(task.ledger),
            earners=nodes if task.counts_earnings else 0,
            watched_channels=0
            if task.watched is None
            else len(np.flatnonzero(task.topology.arrays.source == task.watched)),
            kept=len(task.kept),
            hop_amounts=MAX_ROUTE_HOPS if linked else 0,
        )


@dataclass(frozen=True, slots=True)
class StepColumns:
    """Arrays that a runner fills in place at every reset and step; read them before the next one."""

    decision: Int64  # (networks, len(Task.decision)) what the agent decided
    balances_msat: Int64  # (networks, channels, 2)
    observation: Float32  # (networks, size)
    allowed: Int8  # (networks, Task.options)
    terms: Float64  # (networks, len(Task.terms))
    reward: Float64  # (networks,)

    due: Int64  # (networks,) payments of the batch that were sent; the rest of a row means nothing
    source: Int64  # (networks, payments)
    destination: Int64  # (networks, payments)
    amount_msat: Int64  # (networks, payments)
    description: Int64  # (networks, payments)

    succeeded: Bool  # (networks, payments)
    failure_reason: Int32  # (networks, payments)
    attempts: Int32  # (networks, payments) HTLCs sent out; ``UNCOUNTED`` until they are asked for, see ``attempts``
    fee_msat: Int64  # (networks, payments)
    parts: Int32  # (networks, payments)
    part_amount_msat: Int64  # (networks, payments, max_parts)
    part_route: Int32  # (networks, payments, max_parts, MAX_ROUTE_HOPS)
    part_hop_msat: Int64  # (networks, payments, max_parts, MAX_ROUTE_HOPS); (.., 0) without links

    counts: Int64  # (networks, len(COUNTS) + len(Task.ledger))
    earned_msat: Int64  # (networks, nodes) forwarding fees by node; (networks, 0) when the task does not count them
    forwards: Int64  # (networks, channels, FORWARD_COUNTS) of the task's watched node; (networks, 0, ..) without one
    kept: Int64  # (networks, len(Task.kept)) what the task keeps from step to step

    @classmethod
    def zeros(cls, sizes: Sizes, networks: int) -> Self:
        """Make columns for a number of networks."""

        def column(*shape: int, dtype: npt.DTypeLike = np.int64) -> npt.NDArray[np.generic]:
            return zeros((networks, *shape), dtype)

        payments = sizes.payments
        max_parts = sizes.max_parts
        shapes: dict[str, npt.NDArray[Any]] = {
            "decision": column(sizes.decision),
            "balances_msat": column(sizes.channels, 2),
            "observation": column(sizes.observation, dtype=np.float32),
            "allowed": column(sizes.options, dtype=np.int8),
            "terms": column(sizes.terms, dtype=np.float64),
            "reward": column(dtype=np.float64),
            "due": column(),
            **{name: column(payments) for name in ("source", "destination", "amount_msat", "description", "fee_msat")},
            "succeeded": column(payments, dtype=np.bool_),
            **{name: column(payments, dtype=np.int32) for name in ("failure_reason", "attempts", "parts")},
            "part_amount_msat": column(payments, max_parts),
            "part_route": column(payments, max_parts, MAX_ROUTE_HOPS, dtype=np.int32),
            "part_hop_msat": column(payments, max_parts, sizes.hop_amounts),
            "counts": column(LEDGER + sizes.ledger),
            "earned_msat": column(sizes.earners),
            "forwards": column(sizes.watched_channels, len(FORWARD_COUNTS)),
            "kept": column(sizes.kept),
        }
        return cls(**shapes)

    @property
    def ledger(self) -> Int64:
        """What the task noted of the step, shape (networks, len(Task.ledger)); a view."""
        return self.counts[:, LEDGER:]

    def batch(self, network: int) -> PaymentBatch:
        """Return a copy of the payments of one network's step."""
        return unpack_batch([getattr(self, name)[network].copy() for name in PaymentBatch._fields], self.due[network])

    def outcomes(
        self, network: int, time_ms: Int64 | None = None, fee_limit_msat: Int64 | None = None
    ) -> PaymentOutcomes:
        """Return a copy of the outcomes of one network's step; see ``unpack_outcomes``."""
        copies = [getattr(self, name)[network].copy() for name in OUTCOME_COLUMNS]
        return unpack_outcomes(copies, self.due[network], time_ms, fee_limit_msat)

    def fill(self, batch: PaymentBatch, outcomes: PaymentOutcomes) -> None:
        """Copy a batch that a backend made, and its outcomes, into the row of the only network."""
        due = len(batch.source)
        self.due[0] = due
        for name in PaymentBatch._fields:
            getattr(self, name)[0, :due] = getattr(batch, name)
        for name in OUTCOME_COLUMNS:
            values = getattr(outcomes, name)
            if values is not None:
                getattr(self, name)[0, :due] = values


def unpack_batch(columns: Sequence[npt.NDArray[Any]], due: int) -> PaymentBatch:
    """Return the payments that were due, for columns in the order of the fields of ``PaymentBatch``."""
    return PaymentBatch(*(column[:due] for column in columns))


def unpack_outcomes(
    columns: Sequence[npt.NDArray[Any]],
    due: int,
    time_ms: Int64 | None = None,
    fee_limit_msat: Int64 | None = None,
) -> PaymentOutcomes:
    """Return the outcomes of payments that were due, for columns in the order of ``OUTCOME_COLUMNS``.

    Args:
        columns: One row of each.
        due: Payments that were due.
        time_ms: When each was made, where it matters; see ``PaymentOutcomes``.
        fee_limit_msat: Fee limits of those that were due, where they have some of their own.
    """
    fields: dict[str, Any] = {name: column[:due] for name, column in zip(OUTCOME_COLUMNS, columns, strict=True)}
    if not fields["part_hop_msat"].shape[-1]:
        fields["part_hop_msat"] = None
    made_ms = None if time_ms is None else time_ms[:due]
    return PaymentOutcomes(**fields, duration_s=np.zeros(int(due)), time_ms=made_ms, fee_limit_msat=fee_limit_msat)
