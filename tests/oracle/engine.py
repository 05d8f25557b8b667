"""The compiled engine behind the oracle's own interface, so that the two can be compared call by call."""

import numpy as np

from lnsim_gym.backends.simulator.engine import (
    Settings,
    announce_policy,
    compile_network,
    forget_changes,
    make_memory,
    make_outcomes,
    make_scratch,
    pay_batch,
    send_pinned,
    with_room_for_changes,
)
from lnsim_gym.payments import FailureReason, PaymentOptions, RebalanceReason
from tests.oracle.network import OraclePayment


def first_payment(outcomes):
    """Return the first payment of outcome columns in the form of the oracle's."""
    parts = [
        (int(outcomes.part_amount_msat[0, part]), tuple(int(d) for d in outcomes.part_route[0, part] if d >= 0))
        for part in range(int(outcomes.parts[0]))
    ]
    reason = FailureReason(int(outcomes.failure_reason[0]))
    return OraclePayment(
        bool(outcomes.succeeded[0]), reason, int(outcomes.attempts[0]), int(outcomes.fee_msat[0]), parts
    )


class CompiledNetwork:
    """Same calls and results as ``OracleNetwork``."""

    def __init__(
        self,
        topology,
        balances_msat,
        *,
        max_parts=1,
        remember=False,
        timeout_ms=30_000,
        counts_attempts=1,
        gossip=None,
        gossip_key=0,
        attempt_cost=(100, 1_000),
    ):
        self.network = with_room_for_changes(compile_network(topology, gossip=gossip))
        forget_changes(self.network, gossip_key)
        options = PaymentOptions(
            mission_control="per_episode" if remember else "per_payment",
            attempt_cost_sat=attempt_cost[0],
            attempt_cost_ppm=attempt_cost[1],
        )
        self.scratch = make_scratch(self.network, options)
        self.memory = make_memory(self.network, options)
        self.settings = Settings(0, 0, max_parts, timeout_ms, counts_attempts)
        self.outcomes = make_outcomes(1, max_parts, linked=self.network.links is not None)
        self.flat = balances_msat.ravel().copy()

    def balances_msat(self):
        return self.flat.reshape(-1, 2).tolist()

    def set_policy(self, direction, policy, now_ms=0):
        """Set the policy of a direction; ``policy`` is an ``OraclePolicy``."""
        announce_policy(self.network, direction, policy, now_ms)

    def pay(self, source, target, amount, fee_limit, now_ms=0):
        payments = tuple(np.array([value], np.int64) for value in (source, target, amount, fee_limit, now_ms))
        pay_batch(self.network, self.flat, self.scratch, self.memory, self.settings, payments, self.outcomes)
        return first_payment(self.outcomes)

    def send_over(self, route, amount, now_ms=0):
        route = np.array(route, np.int64)
        reason, fee, position = send_pinned(
            self.network, self.flat, self.scratch, self.memory, route, amount, now_ms, np.zeros(0, np.int64)
        )
        return RebalanceReason(reason), fee, position
