"""What a channel end can send right now, HTLCs in flight included: compiled twins of ``network.limits``.

Balances are kept as an idle channel would show them: the sender's side is reduced by every HTLC it has in flight,
and the initiator's side is *not* reduced by the commitment fee of those HTLCs. Formulas: LND's
``availableCommitmentBalance``, ``validateCommitmentSanity`` and ``CalcFeeBuffer`` (lnwallet/channel.go).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.compiled import fused, outlined
from lnsim_gym.network.limits import BASE_COMMIT_WEIGHT, DUST_LIMIT_SAT, HTLC_WEIGHT

__all__ = ["NON_DUST_MSAT", "can_add", "hold", "release", "spendable"]

NON_DUST_MSAT: Final = 1000 * DUST_LIMIT_SAT
"""Smallest HTLC that gets an output of its own on the commitment transaction, in msat."""


@fused
def can_add(network: Any, balances: Any, htlcs: Any, direction: Any, amount: Any) -> Any:
    """Return whether a channel end can add an HTLC, as its link decides.

    Args:
        network: The network.
        balances: Balances in msat by direction, reduced by what is in flight.
        htlcs: Non-dust HTLCs in flight by channel, or None when there are none.
        direction: Direction of the HTLC.
        amount: Its amount in msat.
    """
    channel = direction >> 1
    if htlcs is not None and htlcs[channel] != 0:
        return _can_add_to_busy(network.commitment[channel], balances, np.int64(htlcs[channel]), direction, amount)
    if amount > balances[direction] - network.policy[direction].keep_msat:
        return False
    return amount < NON_DUST_MSAT or balances[direction ^ 1] >= network.policy[direction].need_msat


@fused
def spendable(network: Any, balances: Any, htlcs: Any, direction: Any) -> Any:
    """Return the bandwidth that LND's link reports for a channel end, in msat (``AvailableBalance``)."""
    channel = direction >> 1
    if htlcs is not None and htlcs[channel] != 0:
        return _spendable_of_busy(network.commitment[channel], balances, np.int64(htlcs[channel]), direction)
    free = balances[direction] - network.policy[direction].keep_msat
    if free < 0:
        return np.int64(0)
    if direction & 1 == 0 or free < NON_DUST_MSAT:
        return free
    poor = balances[direction ^ 1] < network.commitment[channel].dust_below_msat
    return np.int64(NON_DUST_MSAT - 1) if poor else free


@outlined
def hold(balances: Any, htlcs: Any, direction: Any, sent: Any) -> Any:
    """Put an HTLC on a channel."""
    balances[direction] -= sent
    htlcs[direction >> 1] += sent >= NON_DUST_MSAT


@outlined
def release(balances: Any, htlcs: Any, direction: Any, sent: Any) -> Any:
    """Take an HTLC off a channel, back to its sender."""
    balances[direction] += sent
    htlcs[direction >> 1] -= sent >= NON_DUST_MSAT


@fused
def _fee_msat(fee_per_kw: Any, htlcs: Any) -> Any:
    """Return the fee in msat of a commitment transaction with non-dust HTLCs."""
    return 1000 * (fee_per_kw * (BASE_COMMIT_WEIGHT + HTLC_WEIGHT * htlcs) // 1000)


@outlined
def _spendable_of_busy(commitment: Any, balances: Any, htlcs: Any, direction: Any) -> Any:
    """Return the bandwidth of a channel end with HTLCs in flight."""
    rate = commitment.fee_per_kw
    reserve = commitment.reserve_msat
    initiator = balances[direction & ~1] + _fee_msat(rate, np.int64(0)) - reserve
    if direction & 1 == 0:
        return max(initiator - _fee_msat(2 * rate, htlcs + 2), 0)
    free = max(balances[direction] - reserve, 0)
    if initiator < _fee_msat(rate, htlcs) + 1000 * (rate * HTLC_WEIGHT // 1000):
        return min(free, NON_DUST_MSAT - 1)
    return free


@outlined
def _can_add_to_busy(commitment: Any, balances: Any, htlcs: Any, direction: Any, amount: Any) -> Any:
    """Return whether a channel end with HTLCs in flight can add one more."""
    if amount > _spendable_of_busy(commitment, balances, htlcs, direction):
        return False
    if direction & 1 == 0 or amount < NON_DUST_MSAT:
        return True
    rate = commitment.fee_per_kw
    reserve = commitment.reserve_msat
    return balances[direction ^ 1] + _fee_msat(rate, np.int64(0)) - _fee_msat(rate, htlcs + 1) >= reserve
