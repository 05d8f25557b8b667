"""Getting back to wanted balances by payments: which pushes over which channels, or that none will do.

Every channel is taken by itself: one end pays the other directly, so no fees arise and the result is exact to the
msat. What payments cannot reach is left to the backend's other reset methods, a snapshot or a new network.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.network import Topology
from lnsim_gym.network.limits import spendable_msat

__all__ = ["Push", "plan_pushes"]

_MOST_PUSHES: Final = 100
"""Most pushes over one channel: where policies allow only small HTLCs, a snapshot is quicker."""

Push = tuple[int, int]
"""Direction index and amount in msat."""


def plan_pushes(topology: Topology, have_msat: Int64, want_msat: Int64) -> list[list[Push]] | None:
    """Return the pushes that lead from some balances to others.

    Args:
        topology: The network.
        have_msat: Balances now, shape (channels, 2), initiator first.
        want_msat: Balances wanted, same shape.

    Returns:
        For every channel that must change its pushes, to be made in order; None when reserves, fee buffers or
        policies do not allow it.
    """
    plans: list[list[Push]] = []
    for channel in np.flatnonzero((have_msat != want_msat).any(axis=1)).tolist():
        moved_msat = int(want_msat[channel, 0] - have_msat[channel, 0])
        direction = 2 * channel + (moved_msat > 0)
        amount_msat = abs(moved_msat)
        candidates = _sequences(topology, direction, amount_msat)
        plan = next((pushes for pushes in candidates if _possible(topology, have_msat[channel], pushes)), None)
        if plan is None:
            return None
        plans.append(plan)
    return plans


def _sequences(topology: Topology, direction: int, amount_msat: int) -> list[list[Push]]:
    """Return the sequences of pushes that move an amount, given the smallest and largest HTLC of both directions."""
    arrays = topology.arrays
    smallest = int(arrays.min_htlc_msat[direction])
    largest = int(arrays.max_htlc_msat[direction])
    if amount_msat >= smallest:
        count = -(-amount_msat // largest)
        if count > _MOST_PUSHES:
            return []
        share = amount_msat // count
        return [[(direction, share)] * (count - 1) + [(direction, amount_msat - share * (count - 1))]]
    # Too little for one HTLC: send more, and the surplus back.
    surplus = max(int(arrays.min_htlc_msat[direction ^ 1]), smallest - amount_msat)
    there = (direction, amount_msat + surplus)
    back = (direction ^ 1, surplus)
    return [[there, back], [back, there]]


def _possible(topology: Topology, start_msat: Int64, pushes: list[Push]) -> bool:
    """Whether every push of a sequence is within what its sender can spend at that moment."""
    arrays = topology.arrays
    balances = start_msat.reshape(1, 2).copy()
    for direction, amount_msat in pushes:
        channel = slice(direction // 2, direction // 2 + 1)
        side = direction % 2
        spendable = spendable_msat(balances, arrays.capacity_sat[channel], arrays.fee_per_kw[channel])
        if (
            not arrays.min_htlc_msat[direction]
            <= amount_msat
            <= min(int(arrays.max_htlc_msat[direction]), int(spendable[0, side]))
        ):
            return False
        balances[0, side] -= amount_msat
        balances[0, 1 - side] += amount_msat
    return True
