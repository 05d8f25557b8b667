"""Episodes made up for the records: payments over random walks of a network, with the balances they leave."""

from datetime import UTC, datetime, timedelta

import numpy as np

from lnsim_gym.backends.interventions import Rebalance
from lnsim_gym.network.presets import preset
from lnsim_gym.payments import (
    MAX_ROUTE_HOPS,
    FailureReason,
    PaymentBatch,
    PaymentOutcomes,
    RebalanceResult,
)
from lnsim_gym.records.events import StepEvents

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FIVE = preset("default")
PUSH = (FIVE.direction("alice", "bob"),)


def payments(*rows, topology=FIVE, max_parts=1):
    """Make a batch and its outcomes from rows (sender, receiver, amount_msat, parts), parts = [(route, msat), ...]."""
    count = len(rows)
    routes = np.full((count, max_parts, MAX_ROUTE_HOPS), -1, np.int32)
    amounts = np.zeros((count, max_parts), np.int64)
    fees = np.zeros(count, np.int64)
    for index, (_, _, _, parts) in enumerate(rows):
        for part, (route, msat) in enumerate(parts):
            routes[index, part, : len(route)] = route
            amounts[index, part] = msat
            fees[index] += fee_of(topology, route, msat)
    settled = np.array([bool(row[3]) for row in rows], np.bool_)
    batch = PaymentBatch(
        source=np.array([topology.nodes.index(row[0]) for row in rows], np.int64),
        destination=np.array([topology.nodes.index(row[1]) for row in rows], np.int64),
        amount_msat=np.array([row[2] for row in rows], np.int64),
        description=np.arange(count) % 15,
    )
    outcomes = PaymentOutcomes(
        succeeded=settled,
        failure_reason=np.where(settled, FailureReason.NONE, FailureReason.NO_ROUTE).astype(np.int32),
        attempts=np.array([max(len(row[3]), 1) for row in rows], np.int32),
        fee_msat=fees,
        parts=np.array([len(row[3]) for row in rows], np.int32),
        part_amount_msat=amounts,
        part_route=routes,
        duration_s=np.full(count, 0.25),
        payment_hash=tuple(f"{index:064x}" for index in range(count)),
    )
    return batch, outcomes


def fee_of(topology, route, amount_msat):
    """Fee of a route in msat, hop by hop from the receiver."""
    arrays = topology.arrays
    sent = amount_msat
    for direction in reversed(route[1:]):
        sent += int(arrays.fee_base_msat[direction]) + sent * int(arrays.fee_rate_ppm[direction]) // 1_000_000
    return sent - amount_msat


def settle(topology, balances_msat, route, amount_msat):
    """Move a payment over a route, the long way round."""
    after = balances_msat.copy()
    for hop, direction in enumerate(route):
        htlc = amount_msat + fee_of(topology, route[hop:], amount_msat)
        channel, side = divmod(direction, 2)
        after[channel, side] -= htlc
        after[channel, 1 - side] += htlc
    return after


def rebalanced(route=PUSH, amount_msat=50_000_000, **result):
    """Return a rebalance, by default the push of ``a_step``, with the fields of its result."""
    return Rebalance(route, amount_msat, RebalanceResult(**result))


def a_step(step=0, *, episode=0):
    """Return a step on the five nodes: alice pushes to bob, two payments settle, one fails."""
    route = (FIVE.direction("alice", "bob"), FIVE.direction("bob", "carol"))
    push = (FIVE.direction("alice", "bob"),)
    before = FIVE.start_balances_msat() - step * np.array([[1_000_000, -1_000_000]])
    after_rebalance = settle(FIVE, before, push, 50_000_000)
    batch, outcomes = payments(
        ("alice", "carol", 7_000_123, [(route, 7_000_123)]),
        ("dave", "alice", 900_000_000, []),
        ("bob", "carol", 1_500_000, [(route[1:], 1_500_000)]),
    )
    balances = settle(FIVE, after_rebalance, route, 7_000_123)
    return StepEvents(
        episode=episode,
        step=step,
        seed=11,
        action=3,
        interventions=(rebalanced(push, applied_msat=50_000_000),),
        batch=batch,
        outcomes=outcomes,
        balances_before_msat=before,
        balances_served_from_msat=after_rebalance,
        balances_after_msat=settle(FIVE, balances, route[1:], 1_500_000),
        timestamp=START + timedelta(seconds=30 * step),
        topology_before=FIVE,
        topology=FIVE,
    )
