"""What the liquidity task notes of a step besides its payments: the rebalance, and what became of it."""

from __future__ import annotations

from typing import Final

from lnsim_gym.payments import MAX_ROUTE_HOPS

__all__ = [
    "APPLIED",
    "FAILURE_INDEX",
    "FEE",
    "HOPS",
    "NAMES",
    "NAMES_WITH_HOPS",
    "NAMES_WITH_ROUTE",
    "REASON",
    "REQUESTED",
    "ROUTE",
]

NAMES: Final = (
    "rebalance_requested_msat",
    "rebalance_applied_msat",
    "rebalance_fee_msat",
    "rebalance_reason",  # RebalanceReason
    "rebalance_failure_index",  # position on the route of the node that failed it, or -1
)
"""Meaning of each entry."""
REQUESTED: Final = NAMES.index("rebalance_requested_msat")
APPLIED: Final = NAMES.index("rebalance_applied_msat")
FEE: Final = NAMES.index("rebalance_fee_msat")
REASON: Final = NAMES.index("rebalance_reason")
FAILURE_INDEX: Final = NAMES.index("rebalance_failure_index")
ROUTE: Final = len(NAMES)
"""Where the route begins, in ``NAMES_WITH_ROUTE``."""
NAMES_WITH_ROUTE: Final = (*NAMES, *(f"rebalance_direction_{hop}" for hop in range(MAX_ROUTE_HOPS)))
"""The same for circular rebalances: the directions that carried one, or that a found one tried, -1 beyond its end."""
HOPS: Final = len(NAMES_WITH_ROUTE)
"""Where the amounts begin, in ``NAMES_WITH_HOPS``."""
NAMES_WITH_HOPS: Final = (*NAMES_WITH_ROUTE, *(f"rebalance_hop_{hop}_msat" for hop in range(MAX_ROUTE_HOPS)))
"""The same for circular rebalances over found routes, and what went over each of their directions."""
