"""The two backends an episode can run on, the simulator and real LND nodes, behind one interface (``base``)."""

from typing import TYPE_CHECKING

from lnsim_gym.lazy import imported_when_used

if TYPE_CHECKING:
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

# lncli on a node, or a name that no network has, needs no numpy.
__getattr__ = imported_when_used(
    __name__,
    {
        name: "lnsim_gym.backends.base" if name in ("Backend", "ResetReport") else "lnsim_gym.payments"
        for name in __all__
    },
)
