"""The columns of one step: what happened on each of many networks, one row per network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int32, Int64
from lnsim_gym.compiled.memory import zeros
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.payments import MAX_ROUTE_HOPS, FailureReason, PaymentBatch, PaymentOutcomes
from lnsim_gym.tasks.liquidity.rewards import TERMS

__all__ = [
    "COUNTS",
    "OUTCOME_COLUMNS",
    "REBALANCE_APPLIED",
    "REBALANCE_FAILURE_INDEX",
    "REBALANCE_FEE",
    "REBALANCE_REASON",
    "REBALANCE_REQUESTED",
    "StepColumns",
]

COUNTS: Final = (
    "succeeded",  # payments that settled
    "volume_msat",  # what they delivered
    "fees_msat",  # what their senders paid in fees
    "rebalance_requested_msat",
    "rebalance_applied_msat",
    "rebalance_fee_msat",
    "rebalance_reason",  # RebalanceReason
    "rebalance_failure_index",  # position on the route of the node that failed it, or -1
    *(f"failures_{reason.name}" for reason in FailureReason),  # failed payments by reason
)
"""Meaning of each column of ``StepColumns.counts``."""
REBALANCE_REQUESTED: Final = COUNTS.index("rebalance_requested_msat")
REBALANCE_APPLIED: Final = COUNTS.index("rebalance_applied_msat")
REBALANCE_FEE: Final = COUNTS.index("rebalance_fee_msat")
REBALANCE_REASON: Final = COUNTS.index("rebalance_reason")
REBALANCE_FAILURE_INDEX: Final = COUNTS.index("rebalance_failure_index")
FIRST_FAILURE: Final = COUNTS.index("failures_NONE")
OUTCOME_COLUMNS: Final = (
    "succeeded",
    "failure_reason",
    "attempts",
    "fee_msat",
    "parts",
    "part_amount_msat",
    "part_route",
)
"""Columns that are fields of ``PaymentOutcomes``, in their order."""


@dataclass(frozen=True, slots=True)
class StepColumns:
    """Arrays that a runner fills in place at every reset and step; read them before the next one."""

    balances_msat: Int64  # (networks, channels, 2)
    observation: npt.NDArray[np.float32]  # (networks, layout.size)
    allowed: npt.NDArray[np.int8]  # (networks, 1 + options) 1 for the no-op and where the paying node can afford it
    terms: npt.NDArray[np.float64]  # (networks, terms)
    reward: npt.NDArray[np.float64]  # (networks,)

    source: Int64  # (networks, payments)
    destination: Int64  # (networks, payments)
    amount_msat: Int64  # (networks, payments)
    description: Int64  # (networks, payments)

    succeeded: npt.NDArray[np.bool_]  # (networks, payments)
    failure_reason: Int32  # (networks, payments)
    attempts: Int32  # (networks, payments) HTLCs sent out; ``UNCOUNTED`` until somebody asks, see ``attempts``
    fee_msat: Int64  # (networks, payments)
    parts: Int32  # (networks, payments)
    part_amount_msat: Int64  # (networks, payments, max_parts)
    part_route: Int32  # (networks, payments, max_parts, MAX_ROUTE_HOPS)

    counts: Int64  # (networks, len(COUNTS))

    @classmethod
    def zeros(cls, problem: Problem, networks: int) -> Self:
        """Make columns for a number of networks."""
        channels = len(problem.topology.channels)
        payments, max_parts = problem.config.payments_per_step, problem.config.payment.max_parts

        def column(*shape: int, dtype: npt.DTypeLike = np.int64) -> npt.NDArray[np.generic]:
            return zeros((networks, *shape), dtype)

        shapes: dict[str, npt.NDArray[np.generic]] = {
            "balances_msat": column(channels, 2),
            "observation": column(problem.layout.size, dtype=np.float32),
            "allowed": column(1 + len(problem.needed_msat), dtype=np.int8),
            "terms": column(len(TERMS), dtype=np.float64),
            "reward": column(dtype=np.float64),
            **{name: column(payments) for name in ("source", "destination", "amount_msat", "description", "fee_msat")},
            "succeeded": column(payments, dtype=np.bool_),
            **{name: column(payments, dtype=np.int32) for name in ("failure_reason", "attempts", "parts")},
            "part_amount_msat": column(payments, max_parts),
            "part_route": column(payments, max_parts, MAX_ROUTE_HOPS, dtype=np.int32),
            "counts": column(len(COUNTS)),
        }
        return cls(**shapes)  # type: ignore[arg-type]

    def batch(self, network: int) -> PaymentBatch:
        """Return a copy of the payments of one network's step."""
        return PaymentBatch(*(getattr(self, name)[network].copy() for name in PaymentBatch._fields))

    def outcomes(self, network: int) -> PaymentOutcomes:
        """Return a copy of the outcomes of one network's step."""
        copies = {name: getattr(self, name)[network].copy() for name in OUTCOME_COLUMNS}
        return PaymentOutcomes(**copies, duration_s=np.zeros(self.source.shape[1]))
