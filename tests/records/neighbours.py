"""The smallest backend: payments go over a channel between neighbours, or fail."""

import numpy as np

from lnsim_gym.backends.base import Backend, ResetReport
from lnsim_gym.payments import (
    MAX_ROUTE_HOPS,
    FailureReason,
    PaymentOptions,
    PaymentOutcomes,
    RebalanceReason,
    RebalanceResult,
)


class Neighbours(Backend):
    def __init__(self, topology, options=None):
        self.topology = topology
        self.options = options or PaymentOptions()
        self.resets = 0
        self._balances = topology.start_balances_msat()

    def open(self):
        pass

    def reset(self, balances_msat):
        self.resets += 1
        self._balances = balances_msat.copy()
        return ResetReport("assign", 0.0)

    def rebalance(self, route, amount_msat):
        (direction,) = route
        if not self._send(direction, amount_msat):
            return RebalanceResult(reason=RebalanceReason.INSUFFICIENT_LOCAL_BALANCE)
        return RebalanceResult(applied_msat=amount_msat, duration_s=0.5, payment_hash="ab")

    def set_policy(self, direction, policy):
        # No node forwards here, so none charges what a policy says.
        self.topology.checked_policy(direction, policy)

    def pay(self, batch, time_ms=None):
        ends = zip(self.topology.arrays.source.tolist(), self.topology.arrays.destination.tolist(), strict=True)
        joins = {pair: direction for direction, pair in enumerate(ends)}
        count = len(batch.source)
        routes = np.full((count, self.options.max_parts, MAX_ROUTE_HOPS), -1, np.int32)
        settled = np.zeros(count, np.bool_)
        for index, (source, destination, msat, _) in enumerate(zip(*batch, strict=True)):
            direction = joins.get((int(source), int(destination)), -1)
            settled[index] = direction >= 0 and self._send(direction, int(msat))
            routes[index, 0, 0] = direction if settled[index] else -1
        amounts = np.zeros((count, self.options.max_parts), np.int64)
        amounts[:, 0] = np.where(settled, batch.amount_msat, 0)
        return PaymentOutcomes(
            succeeded=settled,
            failure_reason=np.where(settled, FailureReason.NONE, FailureReason.NO_ROUTE).astype(np.int32),
            attempts=settled.astype(np.int32),
            fee_msat=np.zeros(count, np.int64),
            parts=settled.astype(np.int32),
            part_amount_msat=amounts,
            part_route=routes,
            duration_s=np.zeros(count),
        )

    def balances_msat(self):
        return self._balances.copy()

    def close(self):
        pass

    def _send(self, direction, msat):
        flat = self._balances.reshape(-1)
        if msat > self.topology.spendable_msat(self._balances).reshape(-1)[direction]:
            return False
        flat[direction] -= msat
        flat[direction ^ 1] += msat
        return True
