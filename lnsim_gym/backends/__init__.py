"""The two backends an episode can run on, the simulator and real LND nodes, behind one interface (``base``)."""

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
