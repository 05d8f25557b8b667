"""What a route carries: the amount on each of its hops, fees included.

Finding routes is the business of the backends.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.network.topology import NetworkArrays, Topology
from lnsim_gym.payments import PaymentOutcomes

__all__ = [
    "MAX_INBOUND_FEE_PPM",
    "earned_msat",
    "forwarding_fees_msat",
    "hop_amounts_msat",
    "inbound_fee_msat",
    "outbound_fee_msat",
    "part_hops_msat",
    "settled_hops",
]

MAX_INBOUND_FEE_PPM: Final = 10_000_000
"""Largest inbound fee rate that counts, in ppm of either sign (``maxFeeRate``)."""

Amount = TypeVar("Amount", int, Int64)


def hop_amounts_msat(topology: Topology, route: tuple[int, ...] | Int64, amount_msat: Amount) -> list[Amount]:
    """Return the HTLC amount in msat on each hop of a route that delivers ``amount_msat``.

    Built backward from the receiver: every forwarding node adds ``fee_base + amount * fee_rate / 1,000,000`` of the
    direction it forwards into, rounded down (BOLT 7), and its inbound fee for the channel that the amount came by, of
    both together (LND, routing/pathfind.go ``newRoute``), but never less than nothing; the sender charges itself
    nothing.

    Args:
        topology: Whose policies apply.
        route: Direction indices in order from the sender.
        amount_msat: Amount on the last hop, or an array of amounts.
    """
    arrays = topology.arrays
    amounts = [amount_msat]
    for incoming, direction in zip(reversed(route[:-1]), reversed(route[1:]), strict=True):
        base_msat, rate_ppm = int(arrays.fee_base_msat[direction]), int(arrays.fee_rate_ppm[direction])
        fee_msat = outbound_fee_msat(amount_msat, base_msat, rate_ppm)
        fee_msat = fee_msat + inbound_fee_msat(arrays, incoming, amount_msat + fee_msat)
        amount_msat = amount_msat + (np.maximum(fee_msat, 0) if isinstance(fee_msat, np.ndarray) else max(fee_msat, 0))
        amounts.append(amount_msat)
    return amounts[::-1]


def outbound_fee_msat(amount_msat: Amount, base_msat: int, rate_ppm: int) -> Amount:
    """Return a fee, its product cut to the 64 unsigned bits that LND has for it: rates go up to 2^32 - 1."""
    if isinstance(amount_msat, np.ndarray):
        return base_msat + ((amount_msat * rate_ppm).view(np.uint64) // np.uint64(10**6)).view(np.int64)
    return base_msat + int(amount_msat) * rate_ppm % 2**64 // 10**6


def inbound_fee_msat(arrays: NetworkArrays, incoming: int, amount_msat: Amount) -> Amount:
    """Return what the node at the end of a direction adds for what arrives over it, in msat; negative for a discount.

    Rounded towards zero, the rate cut to ten times the amount, their product to the 64 bits that LND has for it
    (graph/db/models/inbound_fee.go ``CalcFee``).

    Args:
        arrays: Whose policies apply.
        incoming: Direction that the amount comes by.
        amount_msat: What the node forwards, its outbound fee included, or an array of amounts.
    """
    base_msat, rate_ppm = (
        int(column[incoming ^ 1]) for column in (arrays.inbound_fee_base_msat, arrays.inbound_fee_rate_ppm)
    )
    rate = min(max(rate_ppm, -MAX_INBOUND_FEE_PPM), MAX_INBOUND_FEE_PPM)
    if isinstance(amount_msat, np.ndarray):
        product = amount_msat * rate
        fees_msat: Int64 = base_msat + np.sign(product) * (np.abs(product) // 10**6)
        return fees_msat
    product = (int(amount_msat) * rate + 2**63) % 2**64 - 2**63
    return base_msat + (product // 10**6 if product > 0 else -(-product // 10**6))


def settled_hops(
    topology: Topology, outcomes: PaymentOutcomes, payment: int
) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """Yield the route of each settled part of a payment, and the HTLC amount in msat on each of its hops.

    Args:
        topology: Whose policies apply.
        outcomes: Of a batch.
        payment: Row of the payment in it.
    """
    parts = int(outcomes.parts[payment])
    delivered_msat = outcomes.part_amount_msat[payment].tolist()
    for part, padded in enumerate(outcomes.part_route[payment, :parts].tolist()):
        route = tuple(padded if padded[-1] >= 0 else padded[: padded.index(-1)])
        if outcomes.part_hop_msat is None:
            yield route, hop_amounts_msat(topology, route, delivered_msat[part])
        else:
            yield route, outcomes.part_hop_msat[payment, part, : len(route)].tolist()


def part_hops_msat(topology: Topology, outcomes: PaymentOutcomes) -> Int64:
    """Return what went over each hop of each settled part of a batch, as ``PaymentOutcomes.part_hop_msat`` has it."""
    hops_msat = np.zeros_like(outcomes.part_route, np.int64)
    for payment in np.flatnonzero(outcomes.parts).tolist():
        for part, (route, sent_msat) in enumerate(settled_hops(topology, outcomes, payment)):
            hops_msat[payment, part, : len(route)] = sent_msat
    return hops_msat


def earned_msat(topology: Topology, outcomes: PaymentOutcomes) -> Int64:
    """Return what each node earned by forwarding the payments of a batch, in msat, shape (nodes,)."""
    earned = np.zeros(len(topology.nodes), np.int64)
    for payment in np.flatnonzero(outcomes.parts).tolist():
        for route, sent_msat in settled_hops(topology, outcomes, payment):
            earn(topology, earned, route, sent_msat)
    return earned


def forwarding_fees_msat(topology: Topology, routes: Sequence[tuple[tuple[int, ...], int]]) -> Int64:
    """Return what each node earns by forwarding over settled routes, in msat, shape (nodes,).

    Args:
        topology: Whose policies apply.
        routes: Direction indices in order from the sender, and the amount in msat that arrived.
    """
    earned = np.zeros(len(topology.nodes), np.int64)
    for route, amount_msat in routes:
        if amount_msat:
            earn(topology, earned, route, hop_amounts_msat(topology, route, amount_msat))
    return earned


def earn(topology: Topology, earned: Int64, route: tuple[int, ...], sent_msat: Sequence[int]) -> None:
    """Add what the forwarders of a route keep of the HTLC amounts on its hops, in place.

    Args:
        topology: Whose directions the route has.
        earned: By node in msat, shape (nodes,).
        route: Direction indices in order from the sender.
        sent_msat: HTLC amount on each hop.
    """
    for direction, (taken, passed_on) in zip(route[1:], itertools.pairwise(sent_msat), strict=True):
        earned[topology.arrays.source[direction]] += taken - passed_on
