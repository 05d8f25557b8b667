"""What must be true of the balances before and after payments. All of it is plain arithmetic on whole batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.network import Topology
from lnsim_gym.network.limits import channel_reserve_sat
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import PaymentBatch, PaymentOptions, PaymentOutcomes

__all__ = ["faults_of_balances", "faults_of_payments", "moved_msat"]


def faults_of_balances(topology: Topology, balances_msat: Int64) -> Iterator[str]:
    """Yield what is wrong with balances by themselves.

    Args:
        topology: The network.
        balances_msat: Shape (..., channels, 2), initiator first.
    """
    reserve_msat = 1000 * channel_reserve_sat(topology.arrays.capacity_sat)
    checks = {
        "have gained or lost money": np.not_equal(balances_msat.sum(axis=-1), topology.owned_total_msat),
        "have an end with less than nothing": (balances_msat < 0).any(axis=-1),
        "have an initiator with less than its reserve": np.less(balances_msat[..., 0], reserve_msat),
    }
    for what, at in checks.items():
        if at.any():
            yield f"channels {_channels(at)} {what}"


def moved_msat(topology: Topology, outcomes: PaymentOutcomes) -> tuple[Int64, Int64]:
    """Return how payments changed the balances, and the amount on each hop.

    Args:
        topology: The network, with the policies of the payments.
        outcomes: What became of them.

    Returns:
        Changes in msat, shape (channels, 2); HTLC amounts in msat, shape (payments, parts, hops), 0 beyond a route.
    """
    route = outcomes.part_route
    on_route = route >= 0
    hops_msat = outcomes.part_hop_msat
    if hops_msat is None:
        hops_msat = np.zeros(route.shape, np.int64)
        for payment, part in np.argwhere(on_route[..., 0]).tolist():
            own = route[payment, part][on_route[payment, part]]
            amounts = hop_amounts_msat(topology, own, int(outcomes.part_amount_msat[payment, part]))
            hops_msat[payment, part, : len(own)] = amounts
    hops_msat = np.where(on_route, hops_msat, 0)
    change = np.zeros(2 * len(topology.channels), np.int64)
    np.subtract.at(change, route[on_route], hops_msat[on_route])
    np.add.at(change, route[on_route] ^ 1, hops_msat[on_route])
    return change.reshape(-1, 2), hops_msat


def faults_of_payments(
    topology: Topology,
    options: PaymentOptions,
    batch: PaymentBatch,
    outcomes: PaymentOutcomes,
    before_msat: Int64,
    after_msat: Int64,
) -> Iterator[str]:
    """Yield what is wrong with payments and with what they made of the balances.

    Args:
        topology: The network, with the policies of the payments.
        options: How they were sent.
        batch: The payments.
        outcomes: What became of them.
        before_msat: Balances before them, shape (channels, 2).
        after_msat: Balances after them.
    """
    yield from faults_of_balances(topology, after_msat)
    change_msat, hops_msat = moved_msat(topology, outcomes)
    wrong = (before_msat + change_msat != after_msat).any(axis=1)
    if wrong.any():
        yield f"balances of channels {_channels(wrong)} do not follow from the payments that settled"
    route = outcomes.part_route
    length = (route >= 0).sum(axis=2)
    settled = length > 0
    checks = {
        "a failed payment has parts or a fee": ~outcomes.succeeded
        & (settled.any(axis=1) | (outcomes.fee_msat != 0) | (outcomes.parts != 0)),
        "a settled payment has a reason, or a number of parts that it has not": outcomes.succeeded
        & ((outcomes.failure_reason != 0) | (outcomes.parts != settled.sum(axis=1)) | (outcomes.parts < 1)),
        "parts do not make up the amount": outcomes.succeeded
        & (np.where(settled, outcomes.part_amount_msat, 0).sum(axis=1) != batch.amount_msat),
        "the sender did not pay the amount and the fee": outcomes.succeeded
        & (hops_msat[:, :, 0].sum(axis=1) != batch.amount_msat + outcomes.fee_msat),
        "a fee exceeds its limit": outcomes.fee_msat > options.fee_limit_msat(batch.amount_msat),
    }
    source, destination = topology.arrays.source, topology.arrays.destination
    owner = np.broadcast_to(np.arange(len(route))[:, None], settled.shape)[settled]
    routes, amounts_msat, hops = route[settled], hops_msat[settled], length[settled]
    rows = np.arange(len(routes))
    onward = routes[:, 1:] >= 0
    parts = {
        "a part did not deliver what it should": amounts_msat[rows, hops - 1] != outcomes.part_amount_msat[settled],
        "a route does not lead from the sender": source[routes[:, 0]] != batch.source[owner],
        "a route does not lead to the receiver": destination[routes[rows, hops - 1]] != batch.destination[owner],
        "a route has a gap": (onward & (destination[routes[:, :-1]] != source[routes[:, 1:]])).any(axis=1),
        "a forwarder lost money": (onward & (amounts_msat[:, :-1] < amounts_msat[:, 1:])).any(axis=1),
    }
    for what, at in checks.items():
        if at.any():
            yield f"payment {int(at.argmax())}: {what}"
    for what, at in parts.items():
        if at.any():
            yield f"payment {int(owner[at.argmax()])}: {what}"


def _channels(which: Bool) -> list[int]:
    """Return the channels of a mask of shape (..., channels)."""
    return sorted({int(place[-1]) for place in np.argwhere(which)})[:10]
