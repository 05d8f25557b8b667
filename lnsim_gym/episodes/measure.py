"""Compiled measurement of one network's step: counts, reward terms, and which rebalances its balances allow.

The same functions serve the compiled loop over thousands of networks and the step on real nodes.
"""

from __future__ import annotations

from typing import Any

from lnsim_gym.compiled import outlined
from lnsim_gym.episodes.columns import FIRST_FAILURE, REBALANCE_APPLIED, REBALANCE_FEE

__all__ = ["allow_rebalances", "measure_step"]


@outlined
def measure_step(
    amount_msat: Any,
    succeeded: Any,
    failure_reason: Any,
    fee_msat: Any,
    rebalance_unit_msat: Any,
    weights: Any,
    counts: Any,
    terms: Any,
) -> Any:
    """Count a batch and compute the reward terms.

    Args:
        amount_msat: Amounts of the batch, shape (payments,).
        succeeded: Which payments settled, shape (payments,).
        failure_reason: Why the others did not, shape (payments,).
        fee_msat: Fees paid, shape (payments,).
        rebalance_unit_msat: Capacity of the smallest channel on the rebalance's route; 1 without one.
        weights: Reward weights, shape (terms,).
        counts: In the order of ``columns.COUNTS``; the entries of the rebalance are read, the others filled.
        terms: Filled in the order of ``rewards.TERMS``, shape (terms,).

    Returns:
        The reward.
    """
    for reason in range(FIRST_FAILURE, counts.shape[0]):
        counts[reason] = 0
    settled, volume_msat, asked_msat, fees_msat = 0, 0, 0, 0
    for payment in range(amount_msat.shape[0]):
        asked_msat += amount_msat[payment]
        if succeeded[payment]:
            settled += 1
            volume_msat += amount_msat[payment]
            fees_msat += fee_msat[payment]
        else:
            counts[FIRST_FAILURE + failure_reason[payment]] += 1
    counts[0] = settled
    counts[1] = volume_msat
    counts[2] = fees_msat
    terms[0] = settled / amount_msat.shape[0]
    terms[1] = volume_msat / asked_msat
    terms[2] = fees_msat / 1000.0
    terms[3] = counts[REBALANCE_FEE] / 1000.0
    terms[4] = counts[REBALANCE_APPLIED] / rebalance_unit_msat
    reward = 0.0
    for term in range(terms.shape[0]):
        reward += weights[term] * terms[term]
    return reward


@outlined
def allow_rebalances(spendable_msat: Any, first_direction: Any, needed_msat: Any, allowed: Any) -> None:
    """Mark the rebalances that the paying node's own balance carries.

    Args:
        spendable_msat: Spendable amount of each direction, shape (directions,).
        first_direction: First direction of each rebalance, shape (options,).
        needed_msat: Amount and fees it needs there, shape (options,).
        allowed: Filled with 1 for doing nothing, then with 0 or 1 for each, shape (1 + options,).
    """
    allowed[0] = 1
    for option in range(first_direction.shape[0]):
        allowed[1 + option] = spendable_msat[first_direction[option]] >= needed_msat[option]
