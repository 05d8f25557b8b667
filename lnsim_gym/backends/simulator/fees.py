"""What a node charges for forwarding a payment."""

from __future__ import annotations

from typing import Any

import numpy as np

from lnsim_gym.compiled import fused
from lnsim_gym.network.routes import MAX_INBOUND_FEE_PPM

__all__ = ["forwarding_fee_msat", "inbound_fee_msat", "node_fee_msat", "route_fees_msat"]


@fused
def forwarding_fee_msat(base_msat: Any, rate_ppm: Any, amount_msat: Any) -> Any:
    """Return the fee of a forwarding node in msat, as BOLT 7 ("HTLC Fees") defines it.

    Args:
        base_msat: ``fee_base_msat`` of the direction that the amount leaves by.
        rate_ppm: Its ``fee_proportional_millionths``.
        amount_msat: The amount that it forwards in msat, the fees of later hops included.
    """
    # Nothing here is negative, and LLVM divides an unsigned number by a constant in fewer instructions.
    return base_msat + np.int64(np.uint64(amount_msat * rate_ppm) // np.uint64(1_000_000))


@fused
def inbound_fee_msat(base_msat: Any, rate_ppm: Any, amount_msat: Any) -> Any:
    """Return what a forwarding node adds for the channel that an amount came by, in msat; negative for a discount.

    As ``InboundFee.CalcFee`` (LND, graph/db/models/inbound_fee.go): the rate is cut to ten times the amount, and the
    share of it is rounded towards zero.

    Args:
        base_msat: ``inbound_fee_base_msat`` of the node's policy for that channel.
        rate_ppm: Its ``inbound_fee_rate_ppm``.
        amount_msat: What the node forwards, its outbound fee included.
    """
    rate = min(max(rate_ppm, -MAX_INBOUND_FEE_PPM), MAX_INBOUND_FEE_PPM)
    product = rate * amount_msat
    share = np.int64(product // 1_000_000)
    if share < 0 and share * 1_000_000 != product:
        share += 1
    return base_msat + share


@fused
def node_fee_msat(network: Any, links: Any, incoming: Any, outgoing: Any, amount: Any) -> Any:
    """Return what a node charges for forwarding an amount between two of its channels, never less than 0.

    As senders work it out (``newRoute`` in LND's routing/pathfind.go).

    Args:
        network: ``Network``.
        links: Its links.
        incoming: Direction that the amount comes by.
        outgoing: Direction that it leaves by.
        amount: What leaves, in msat.
    """
    policy = network.policy[outgoing]
    fee = forwarding_fee_msat(policy.fee_base_msat, policy.fee_rate_ppm, amount)
    if links is None:
        return fee
    terms = links.inbound[incoming ^ 1]
    return max(fee + inbound_fee_msat(terms.fee_base_msat, terms.fee_rate_ppm, amount + fee), np.int64(0))


@fused
def route_fees_msat(network: Any, route: Any, length: Any, amount: Any) -> Any:
    """Return what the forwarders of a route charge in all, in msat.

    Args:
        network: ``Network``.
        route: Direction indices in order.
        length: How many of them count.
        amount: Amount that is to arrive at the end, in msat.
    """
    needed = amount
    for hop in range(length - 1, 0, -1):
        needed += node_fee_msat(network, network.links, route[hop - 1], route[hop], needed)
    return needed - amount
