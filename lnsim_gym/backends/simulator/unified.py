"""All channels between two nodes as one: LND's unified edges (routing/unified_edges.go).

A sender does not choose the channel that a forwarder takes to the next node, so it prices a hop for whichever that may
be: the dearest of the channels in question, with the longest time lock and the largest capacity among them. Its own
channel it does choose: the one with the largest bandwidth. What it learns it keeps for the two nodes, not a channel.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.backends.simulator.channels import can_add, spendable
from lnsim_gym.backends.simulator.fees import forwarding_fee_msat, inbound_fee_msat
from lnsim_gym.compiled import fused, outlined
from lnsim_gym.traffic.random import fork

__all__ = ["NO_DIRECTION", "Edge", "foreign_edge", "is_disabled", "is_further_channel", "own_edge", "pair_of"]

NO_DIRECTION: Final = 2**32 - 1
"""Stands for the direction of an edge that there is not."""
LEAST: Final = -(2**62)
"""Less than any fee."""


class Edge(NamedTuple):
    """One hop as a sender sees it, over one of the channels between two nodes (``unifiedEdge``)."""

    direction: Any  # of the channel that the sender asks for, or ``NO_DIRECTION``
    sent_msat: Any  # what goes over it: what the far node forwards and charges, its inbound fee included
    inbound_fee_msat: Any  # of the far node, not less than minus its outbound fee
    outbound_fee_msat: Any  # of the near node
    time_lock: Any  # blocks
    capacity_msat: Any


@fused
def pair_of(links: Any, direction: Any) -> Any:
    """Return the direction that stands for the directed pair of nodes that a direction joins."""
    if links is None:
        return direction
    return links.pair[direction]


@fused
def is_disabled(links: Any, direction: Any) -> Any:
    """Return whether other senders than its own node leave a direction out."""
    if links is None:
        return False
    return links.disabled[direction] != 0


@fused
def is_further_channel(network: Any, links: Any, place: Any) -> Any:
    """Return whether an incoming direction comes after another one of its pair, which stands for all of them."""
    if links is None:
        return False
    return place != links.place[network.incoming[place]]


@fused
def _floored_inbound_fee(links: Any, direction: Any, path: Any) -> Any:
    """Return the inbound fee of a direction's far node (``calcCappedInboundFee``): 0 at the receiver."""
    if path.is_target:
        return np.int64(0)
    terms = links.inbound[direction ^ 1]
    fee = inbound_fee_msat(terms.fee_base_msat, terms.fee_rate_ppm, path.received_msat)
    return fee if fee > -path.outbound_fee_msat else -path.outbound_fee_msat


@outlined
def foreign_edge(network: Any, place: Any, path: Any) -> Any:
    """Return the edge over channels of another node than the sender (``getEdgeNetwork``).

    Args:
        network: ``Network`` with links.
        place: Where the directions between the two nodes begin in ``network.incoming``.
        path: ``Path`` from the far node on.
    """
    links = network.links
    chosen, dearest = np.int64(NO_DIRECTION), np.int64(LEAST)
    sent, inbound, outbound, lock, capacity = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for channel in range(place, place + np.int64(links.parallel[network.incoming[place]])):
        direction = network.incoming[channel]
        policy = network.policy[direction]
        fee_in = _floored_inbound_fee(links, direction, path)
        amount = path.received_msat + fee_in
        if amount < policy.min_htlc_msat or amount > policy.max_htlc_msat or links.disabled[direction] != 0:
            continue
        capacity = max(capacity, policy.capacity_msat)
        lock = max(lock, policy.time_lock)
        fee_out = forwarding_fee_msat(policy.fee_base_msat, policy.fee_rate_ppm, amount)
        if fee_in + fee_out < dearest:
            continue
        dearest = fee_in + fee_out
        chosen, sent, inbound, outbound = np.int64(direction), amount, fee_in, fee_out
    return Edge(chosen, sent, inbound, outbound, lock, capacity)


@outlined
def own_edge(network: Any, balances: Any, work: Any, place: Any, path: Any) -> Any:
    """Return the edge over channels of the sender, who charges itself nothing (``getEdgeLocal``).

    Disabled channels count too. Among equal bandwidths, which LND takes in an order left to chance, one is drawn for
    the payment.

    Args:
        network: ``Network`` with links.
        balances: Balances in msat by direction.
        work: ``Workspace`` with what is in flight.
        place: As for ``foreign_edge``.
        path: As for ``foreign_edge``.
    """
    links, htlcs, key = network.links, work.htlcs, work.knowledge.draws[1]
    chosen, most = np.int64(NO_DIRECTION), np.int64(0)
    sent, inbound, capacity = np.int64(0), np.int64(0), np.int64(0)
    for channel in range(place, place + np.int64(links.parallel[network.incoming[place]])):
        direction = network.incoming[channel]
        policy = network.policy[direction]
        fee_in = _floored_inbound_fee(links, direction, path)
        amount = path.received_msat + fee_in
        if amount < policy.min_htlc_msat or amount > policy.max_htlc_msat:
            continue
        bandwidth = spendable(network, balances, htlcs, direction)
        if amount > bandwidth or bandwidth < most or not can_add(network, balances, htlcs, direction, amount):
            continue
        if bandwidth == most and chosen != NO_DIRECTION and fork(key, direction) < fork(key, chosen):
            continue
        most = bandwidth
        chosen, sent, inbound, capacity = np.int64(direction), amount, fee_in, policy.capacity_msat
    return Edge(chosen, sent, inbound, np.int64(0), np.int64(0), capacity)
