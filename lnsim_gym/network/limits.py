"""What a channel end can spend: LND's reserves, commitment fees and fee buffers, as plain arithmetic.

Here live the numbers of LND's channel state machine for anchor channels with zero-fee HTLC transactions (the
default between two LND nodes). Nothing here knows of graphs, payments in flight elsewhere, or gymnasium. All
functions take integers or int64 arrays and return the same; every division is a floor.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.arrays import Int64

__all__ = [
    "ANCHORS_SAT",
    "BASE_COMMIT_WEIGHT",
    "DEFAULT_FEE_PER_KW",
    "DUST_LIMIT_SAT",
    "HTLC_WEIGHT",
    "channel_reserve_sat",
    "least_initiator_sat",
    "commit_fee_sat",
    "max_value_in_flight_msat",
    "owned_total_sat",
    "spendable_msat",
]

DUST_LIMIT_SAT: Final = 354
"""Smallest output either side accepts on a commitment, in sat (unknown-witness output)."""
ANCHORS_SAT: Final = 660
"""Two anchor outputs of 330 sat, paid by the initiator at open."""
BASE_COMMIT_WEIGHT: Final = 1124
"""Weight units of an anchor commitment transaction without HTLCs."""
HTLC_WEIGHT: Final = 172
"""Weight units that one non-dust HTLC output adds."""
DEFAULT_FEE_PER_KW: Final = 2500
"""Commitment fee rate in sat per kilo-weight: LND's cap for anchor channels (10 sat/vB)."""


def channel_reserve_sat(capacity_sat: Any) -> Any:
    """Balance each side must keep, in sat: ``max(capacity / 100, dust limit)`` (LND, server.go)."""
    return np.maximum(capacity_sat // 100, DUST_LIMIT_SAT)


def least_initiator_sat(capacity_sat: Any) -> Any:
    """Least balance with which LND lets an initiator open a channel, in sat: its reserve, and over two dust limits.

    Source: lnwallet/reservation.go, ``NewChannelReservation`` ("funder balance too small").
    """
    return np.maximum(channel_reserve_sat(capacity_sat), 2 * DUST_LIMIT_SAT + 1)


def max_value_in_flight_msat(capacity_sat: Any) -> Any:
    """Largest sum of one side's HTLCs in msat, also the announced default ``max_htlc`` (LND, server.go)."""
    return 1000 * (capacity_sat - capacity_sat // 100)


def commit_fee_sat(fee_per_kw: Any, htlcs: int = 0) -> Any:
    """Fee of the commitment transaction in sat: ``floor(fee_per_kw * weight / 1000)`` (LND, chainfee/rates.go).

    Args:
        fee_per_kw: Fee rate in sat per kilo-weight.
        htlcs: Number of non-dust HTLC outputs on the commitment.
    """
    return fee_per_kw * (BASE_COMMIT_WEIGHT + HTLC_WEIGHT * htlcs) // 1000


def owned_total_sat(capacity_sat: Any, fee_per_kw: Any) -> Any:
    """Sat that the two sides of an idle channel own together: capacity less commitment fee and anchors."""
    return capacity_sat - commit_fee_sat(fee_per_kw) - ANCHORS_SAT


def spendable_msat(balances_msat: Int64, capacity_sat: Int64, fee_per_kw: Int64) -> Int64:
    """Largest HTLC in msat that each end of an idle channel can add (LND, ``AvailableBalance`` with fee buffer).

    The initiator keeps its reserve and a buffer of twice the commitment fee with two more HTLCs; the other side
    keeps its reserve only, but can send no more than dust while the initiator could not pay for one more output.

    Args:
        balances_msat: Balances as ``ListChannels`` reports them, in msat, initiator first, shape (..., channels, 2).
        capacity_sat: Channel capacities in sat, shape (channels,).
        fee_per_kw: Commitment fee rates in sat per kilo-weight, shape (channels,).

    Returns:
        Spendable amounts in msat, of the same shape, never negative.
    """
    reserve_msat = 1000 * channel_reserve_sat(capacity_sat)
    fee_msat = 1000 * commit_fee_sat(fee_per_kw)
    initiator_msat = balances_msat[..., 0] + fee_msat - reserve_msat
    buffer_msat = 1000 * (2 * fee_per_kw * (BASE_COMMIT_WEIGHT + 2 * HTLC_WEIGHT) // 1000)
    next_fee_msat = fee_msat + 1000 * (fee_per_kw * HTLC_WEIGHT // 1000)

    peer_msat = np.maximum(balances_msat[..., 1] - reserve_msat, 0)
    dust_only = initiator_msat < next_fee_msat
    peer_msat = np.where(dust_only, np.minimum(peer_msat, 1000 * DUST_LIMIT_SAT - 1), peer_msat)
    return np.stack([np.maximum(initiator_msat - buffer_msat, 0), peer_msat], axis=-1).astype(np.int64)
