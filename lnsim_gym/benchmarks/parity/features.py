"""What of the public network's features a deed met, and of what kind it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from lnsim_gym.benchmarks.parity.deeds import Deed
from lnsim_gym.network import NetworkArrays

__all__ = ["CIRCULAR", "FEATURES", "IN_PARTS", "KINDS", "PAYMENT", "PUSH", "features_of", "kind_of"]

PAYMENT: Final = "payments"
IN_PARTS: Final = "payments in several parts"
CIRCULAR: Final = "circular rebalances"
PUSH: Final = "pushes"
KINDS: Final = (PAYMENT, IN_PARTS, CIRCULAR, PUSH)

PARALLEL: Final = "over parallel channels"
DISCOUNT: Final = "a negative inbound fee met"
SURCHARGE: Final = "a positive inbound fee met"
DISABLED: Final = "over a disabled end"
BOTH_DISABLED: Final = "over a channel with both ends disabled"
CLOSED: Final = "over an end closed for outbound"
SMALL: Final = "over a channel of less than 200,000 sat"
LARGE: Final = "over a channel of 1 BTC"
RETRIED: Final = "several attempts"
CHANGED: Final = "after a change of policies"
REFUSED: Final = "without an attempt"
FEATURES: Final = (
    PARALLEL,
    DISCOUNT,
    SURCHARGE,
    DISABLED,
    BOTH_DISABLED,
    CLOSED,
    SMALL,
    LARGE,
    RETRIED,
    REFUSED,
    CHANGED,
)
"""All that ``features_of`` may yield; those of channels are of channels that carried something."""

CLOSED_FROM_MSAT: Final = 2**31 - 1
SMALL_SAT: Final = 200_000
LARGE_SAT: Final = 100_000_000


def kind_of(deed: Deed, *, tried_in_parts: bool) -> str:
    """Return of what kind a deed is: one of ``KINDS``.

    Args:
        deed: Done.
        tried_in_parts: Whether real nodes or the simulator took more than one attempt or part, where they may split.
    """
    if deed.route:
        return PUSH if len(deed.route) == 1 else CIRCULAR
    return IN_PARTS if tried_in_parts else PAYMENT


def features_of(deed: Deed) -> Iterator[str]:
    """Yield what a deed met, in no particular order."""
    arrays = deed.topology.arrays
    for route, _ in deed.carried:
        yield from _of_route(arrays, np.array(route))
    if deed.seen is not None and not deed.route:
        if deed.seen.attempts > 1:
            yield RETRIED
        if deed.seen.attempts == 0:
            yield REFUSED
    if deed.changed:
        yield CHANGED


def _of_route(arrays: NetworkArrays, route: np.ndarray) -> Iterator[str]:
    """Yield what the channels are that carried something."""
    pairs = np.stack([arrays.source, arrays.destination])
    beside = (pairs[:, route, None] == pairs[:, None, :]).all(axis=0).sum(axis=1)
    received = route[:-1] ^ 1
    inbound = np.stack([arrays.inbound_fee_base_msat[received], arrays.inbound_fee_rate_ppm[received]])
    disabled = arrays.disabled[route].astype(bool)
    capacity_sat = arrays.capacity_sat[route // 2]
    met = {
        PARALLEL: (beside > 1).any(),
        DISCOUNT: (inbound < 0).any(),
        SURCHARGE: (inbound > 0).any(),
        DISABLED: disabled.any(),
        BOTH_DISABLED: (disabled & arrays.disabled[route ^ 1].astype(bool)).any(),
        CLOSED: (arrays.fee_base_msat[route] >= CLOSED_FROM_MSAT).any(),
        SMALL: (capacity_sat < SMALL_SAT).any(),
        LARGE: (capacity_sat == LARGE_SAT).any(),
    }
    yield from (feature for feature, there in met.items() if there)
