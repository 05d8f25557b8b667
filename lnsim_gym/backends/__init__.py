"""The two worlds an episode can run on, behind one interface (``base``)."""

from lnsim_gym.backends.base import (
    Backend,
    FailureReason,
    PaymentBatch,
    PaymentOptions,
    PaymentOutcomes,
    RebalanceReason,
    RebalanceResult,
    ResetReport,
)

__all__ = [
    "Backend",
    "FailureReason",
    "PaymentBatch",
    "PaymentOptions",
    "PaymentOutcomes",
    "RebalanceReason",
    "RebalanceResult",
    "ResetReport",
]
