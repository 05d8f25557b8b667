"""What a route carries: the amount on each of its hops, fees included.

Finding routes is the business of the backends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.network.topology import Topology

__all__ = ["forwarding_fees_msat", "hop_amounts_msat"]

Amount = TypeVar("Amount", int, Int64)


def hop_amounts_msat(topology: Topology, route: tuple[int, ...] | Int64, amount_msat: Amount) -> list[Amount]:
    """Return the HTLC amount in msat on each hop of a route that delivers ``amount_msat``.

    Built backward from the receiver: every forwarding node adds ``fee_base + amount * fee_rate / 1,000,000`` of the
    direction it forwards into, rounded down (BOLT 7); the sender charges itself nothing.

    Args:
        topology: Whose policies apply.
        route: Direction indices in order from the sender.
        amount_msat: Amount on the last hop, or an array of amounts.
    """
    arrays = topology.arrays
    amounts = [amount_msat]
    for direction in reversed(route[1:]):
        fee_msat = int(arrays.fee_base_msat[direction]) + amount_msat * int(arrays.fee_rate_ppm[direction]) // 10**6
        amount_msat = amount_msat + fee_msat
        amounts.append(amount_msat)
    return amounts[::-1]


def forwarding_fees_msat(topology: Topology, routes: Sequence[tuple[tuple[int, ...], int]]) -> Int64:
    """Return what each node earns by forwarding over settled routes, in msat, shape (nodes,).

    Args:
        topology: Whose policies apply.
        routes: Direction indices in order from the sender, and the amount in msat that arrived.
    """
    earned_msat = np.zeros(len(topology.nodes), np.int64)
    for route, amount_msat in routes:
        sent = hop_amounts_msat(topology, route, amount_msat) if amount_msat else []
        for direction, taken, passed_on in zip(route[1:], sent, sent[1:], strict=False):
            earned_msat[topology.arrays.source[direction]] += taken - passed_on
    return earned_msat
