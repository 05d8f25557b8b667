"""Settling: moving the money of a route, and writing down what became of a payment."""

from __future__ import annotations

from typing import Any, Final

from lnsim_gym.compiled import fused
from lnsim_gym.payments import MAX_ROUTE_HOPS, FailureReason

__all__ = ["ERROR", "INSUFFICIENT_BALANCE", "NONE", "NO_ROUTE", "TIMEOUT", "blank", "settle", "write_part"]

NONE: Final = int(FailureReason.NONE)
TIMEOUT: Final = int(FailureReason.TIMEOUT)
NO_ROUTE: Final = int(FailureReason.NO_ROUTE)
ERROR: Final = int(FailureReason.ERROR)
INSUFFICIENT_BALANCE: Final = int(FailureReason.INSUFFICIENT_BALANCE)


@fused
def settle(sources: Any, balances: Any, earned_msat: Any, route: Any, sent: Any, hops: Any) -> Any:
    """Move the amounts of a settled route from each channel's sending end to the other, and book what forwarders earn.

    Args:
        sources: Sending node by direction.
        balances: Balances in msat by direction.
        earned_msat: Forwarding fees by node, shape (nodes,), or (0,) when earnings are not counted.
        route: Direction indices in order.
        sent: Amount in msat over each of them.
        hops: How many of them count.
    """
    for hop in range(hops):
        balances[route[hop]] -= sent[hop]
        balances[route[hop] ^ 1] += sent[hop]
    if earned_msat.shape[0] > 0:
        for hop in range(1, hops):
            earned_msat[sources[route[hop]]] += sent[hop - 1] - sent[hop]


@fused
def write_part(links: Any, outcomes: Any, index: Any, part: Any, amount: Any, route: Any, sent: Any, hops: Any) -> Any:
    """Write the amount and route of a settled part; with links also what went over each hop."""
    outcomes.part_amount_msat[index, part] = amount
    if links is not None:
        for hop in range(MAX_ROUTE_HOPS):
            outcomes.part_hop_msat[index, part, hop] = sent[hop] if hop < hops else 0
    for hop in range(MAX_ROUTE_HOPS):
        outcomes.part_route[index, part, hop] = route[hop] if hop < hops else -1


@fused
def blank(outcomes: Any, index: Any, first: Any) -> Any:
    """Blank the parts of an outcome from one on."""
    for part in range(first, outcomes.part_amount_msat.shape[1]):
        outcomes.part_amount_msat[index, part] = 0
        for hop in range(MAX_ROUTE_HOPS):
            outcomes.part_route[index, part, hop] = -1
        for hop in range(outcomes.part_hop_msat.shape[2]):
            outcomes.part_hop_msat[index, part, hop] = 0
