"""What a node charges for forwarding a payment."""

from __future__ import annotations

from typing import Any

import numpy as np

from lnsim_gym.compiled import fused

__all__ = ["forwarding_fee_msat"]


@fused
def forwarding_fee_msat(base_msat: Any, rate_ppm: Any, amount_msat: Any) -> Any:
    """Return the fee of a forwarding node in msat, as BOLT 7 ("HTLC Fees") defines it.

    Args:
        base_msat: ``fee_base_msat`` of the direction that the amount leaves by.
        rate_ppm: Its ``fee_proportional_millionths``.
        amount_msat: The amount that it forwards in msat, the fees of later hops included.
    """
    # Nothing here is negative, and LLVM divides an unsigned number by a constant in fewer instructions.
    return base_msat + np.int64(np.uint64(amount_msat * rate_ppm) // np.uint64(1_000_000))
