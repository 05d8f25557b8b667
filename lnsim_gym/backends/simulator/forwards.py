"""What one node sees of the HTLCs that come through it, counted by channel: LND's ``SubscribeHtlcEvents``.

The node whose view is taken is ``Outcomes.watched``. Each of its channels has a row of ``Outcomes.forwards``, in the
order of its incoming directions in ``Network.incoming``; columns are ``payments.FORWARD_COUNTS``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lnsim_gym.backends.simulator.forwarding import FEE_INSUFFICIENT, PASSED, TEMPORARY_CHANNEL_FAILURE
from lnsim_gym.compiled import fused, outlined
from lnsim_gym.payments import (
    FAILED_AFTERWARDS,
    FAILED_FEE,
    FAILED_LIQUIDITY,
    FAILED_OTHERWISE,
    FEE_EARNED_MSAT,
    FEE_SOURCED_MSAT,
    FORWARDED_IN,
    FORWARDED_IN_MSAT,
    FORWARDED_OUT,
    FORWARDED_OUT_MSAT,
)

__all__ = ["forward_row", "note_forward"]


@outlined
def forward_row(network: Any, node: Any, direction: Any) -> Any:
    """Return the place of a direction among those into a node."""
    first = np.int64(network.first_incoming[node])
    for place in range(first, np.int64(network.first_incoming[node + 1])):
        if np.int64(network.incoming[place]) == direction:
            return place - first
    return np.int64(0)


@fused
def note_forward(network: Any, columns: Any, route: Any, sent: Any, hops: Any, refused: Any, failure: Any) -> None:
    """Count an HTLC that the watched node, where there is one, was asked to forward.

    Args:
        network: ``Network``.
        columns: ``Outcomes``.
        route: Directions of the route.
        sent: Amounts in msat over each of them.
        hops: How many of them count.
        refused: Position of the forwarder that refused it, or 0 where it settled.
        failure: Why it did; see ``forwarding``.
    """
    if columns.forwards.shape[0] > 0:
        _note_forward(network, columns.forwards, np.int64(columns.watched), route, sent, hops, refused, failure)


@outlined
def _note_forward(
    network: Any, forwards: Any, node: Any, route: Any, sent: Any, hops: Any, refused: Any, failure: Any
) -> None:
    """Do what ``note_forward`` does where a node is watched."""
    for hop in range(1, hops):
        if np.int64(network.source[route[hop]]) != node:
            continue
        if 0 < refused < hop:
            return
        into, out = (
            forward_row(network, node, np.int64(route[hop - 1])),
            forward_row(network, node, np.int64(route[hop]) ^ 1),
        )
        if failure == PASSED:
            fee = sent[hop - 1] - sent[hop]
            forwards[into, FORWARDED_IN] += 1
            forwards[into, FORWARDED_IN_MSAT] += sent[hop - 1]
            forwards[into, FEE_SOURCED_MSAT] += fee
            forwards[out, FORWARDED_OUT] += 1
            forwards[out, FORWARDED_OUT_MSAT] += sent[hop]
            forwards[out, FEE_EARNED_MSAT] += fee
        elif refused > hop:
            forwards[out, FAILED_AFTERWARDS] += 1
        elif failure == TEMPORARY_CHANNEL_FAILURE:
            forwards[out, FAILED_LIQUIDITY] += 1
        elif failure == FEE_INSUFFICIENT:
            forwards[out, FAILED_FEE] += 1
        else:
            forwards[out, FAILED_OTHERWISE] += 1
