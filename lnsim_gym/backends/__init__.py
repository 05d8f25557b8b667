"""The two worlds an episode can run on, behind one interface (``base``)."""

from lnsim_gym.backends.base import Backend, ResetReport
from lnsim_gym.payments import (
    FailureReason,
    PaymentBatch,
    PaymentOptions,
    PaymentOutcomes,
    RebalanceReason,
    RebalanceResult,
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
