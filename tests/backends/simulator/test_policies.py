"""Policies that change while a simulated network is in use, held to the plain-Python oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.benchmarks.parity.drawing import random_amount_msat, random_route
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network import Policy
from lnsim_gym.network.presets import preset
from lnsim_gym.payments import PaymentBatch, PaymentOptions, RebalanceReason
from tests.oracle.engine import first_payment
from tests.oracle.network import OracleNetwork, OraclePolicy
from tests.oracle.scenarios import (
    random_balances,
    random_change,
    random_topology,
)

randoms = st.randoms(use_true_random=False)
DEAR = Policy(fee_base_msat=7_000, fee_rate_ppm=2_500, time_lock_delta=40)


def change_policy(rng, backend, oracle, public):
    """Give a random direction of both networks the same random policy."""
    direction, policy = random_change(rng, backend.topology, public=public)
    backend.set_policy(direction, policy)
    oracle.set_policy(direction, OraclePolicy.of(policy))


def assert_same_payment(rng, backend, oracle, now_ms):
    source, target = rng.sample(range(len(backend.topology.nodes)), 2)
    amount = random_amount_msat(rng)
    fee_limit = int(backend.options.fee_limit_msat(np.int64(amount)))
    batch = PaymentBatch(*np.array([[source, target, amount, 0]]).T)
    assert first_payment(backend.pay(batch)) == oracle.pay(source, target, amount, fee_limit, now_ms)
    assert backend.balances_msat().tolist() == oracle.balances_msat()


def assert_same_rebalance(rng, backend, oracle, now_ms):
    route = random_route(rng, backend.topology)
    amount = random_amount_msat(rng)
    if len(route) == 2 and route[0] == route[1] ^ 1:  # there and back over one channel is no route of the backend's
        return
    reason, fee_msat, position = oracle.send_over(route, amount, now_ms)
    seen = backend.rebalance(tuple(route), amount)
    assert (seen.reason, seen.fee_msat, seen.failure_source_index) == (reason, fee_msat, position)
    assert backend.balances_msat().tolist() == oracle.balances_msat()


@pytest.mark.slow
@settings(max_examples=100)
@given(
    rng=randoms,
    max_parts=st.sampled_from([1, 1, 16]),
    remember=st.booleans(),
    public=st.sampled_from(["never", "later", "always"]),
)
def test_payments_and_rebalances_among_changes_of_policy_equal_the_oracle_to_the_msat(rng, max_parts, remember, public):
    """Where ``public`` is "later", a plain network gets inbound fees and disabled directions by the changes alone."""
    topology = random_topology(rng, public=public == "always")
    options = PaymentOptions(max_parts=max_parts, mission_control="per_episode" if remember else "per_payment")
    backend = SimulatorBackend(topology, options, payment_ms=1_000)
    for _ in range(2):  # a reset restores the topology's policies, so the second episode starts like the first
        balances = random_balances(rng, topology)
        backend.reset(balances)
        oracle = OracleNetwork(topology, balances, max_parts=max_parts, remember=remember)
        for payment in range(12):
            for _ in range(rng.randint(0, 3)):
                change_policy(rng, backend, oracle, public != "never")
            assert_same_rebalance(rng, backend, oracle, 1_000 * payment)
            assert_same_payment(rng, backend, oracle, 1_000 * payment)


def halves(topology):
    return np.stack([topology.owned_total_msat // 2, topology.owned_total_msat - topology.owned_total_msat // 2], 1)


def half_and_half(topology):
    """A network whose channels hold half of their balance on either side."""
    backend = SimulatorBackend(topology)
    backend.reset(halves(topology))
    return backend


def cycle_fee_msat(backend):
    """Fee of a circular rebalance of 50,000 sat around alice, bob and carol."""
    ends = ("alice", "bob"), ("bob", "carol"), ("carol", "alice")
    result = backend.rebalance(tuple(backend.topology.direction(*pair) for pair in ends), 50_000_000)
    assert result.reason is RebalanceReason.NONE
    return result.fee_msat


def test_a_changed_policy_is_charged_at_once_and_a_reset_restores_the_old_one():
    topology = preset("default")
    backend = half_and_half(topology)
    before = cycle_fee_msat(backend)
    direction = topology.direction("carol", "alice")
    backend.set_policy(direction, DEAR)
    both = topology.policies[direction // 2]
    old = both.peer if direction % 2 else both.initiator
    dearer = cycle_fee_msat(backend)
    assert dearer - before == DEAR.fee_base_msat - old.fee_base_msat + 50 * (DEAR.fee_rate_ppm - old.fee_rate_ppm)
    backend.reset(halves(topology))
    assert cycle_fee_msat(backend) == before


def test_a_changed_policy_of_one_backend_is_no_business_of_another():
    topology = preset("default")
    one = half_and_half(topology)
    other = half_and_half(topology)
    one.set_policy(topology.direction("carol", "alice"), DEAR)
    assert cycle_fee_msat(one) > cycle_fee_msat(other) == cycle_fee_msat(half_and_half(topology))


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Policy(time_lock_delta=23), r"from bob to alice\.time_lock_delta must lie in 24\.\.2,016, got 23"),
        (Policy(fee_base_msat=-1), r"fee_base_msat must lie in 0\.\.4,294,967,295, got -1"),
        (Policy(fee_rate_ppm=1.5), r"fee_rate_ppm must be an integer in 0\.\.4,294,967,295, got 1.5"),
        (Policy(max_htlc_msat=990_000_001), r"max_htlc_msat must lie in 1,000\.\.990,000,000, got 990,000,001"),
        (Policy(min_htlc_msat=2_000, max_htlc_msat=1_999), r"max_htlc_msat must lie in 2,000\.\."),
    ],
)
def test_a_policy_that_lnd_would_refuse_is_refused_and_changes_nothing(policy, text):
    topology = preset("default")
    backend = half_and_half(topology)
    before = cycle_fee_msat(backend)
    with pytest.raises(ConfigError, match=text):
        backend.set_policy(topology.direction("bob", "alice"), policy)
    assert cycle_fee_msat(backend) == before


@pytest.mark.parametrize("direction", [-1, 14])
def test_a_direction_that_is_not_there_is_refused(direction):
    with pytest.raises(InvalidAction, match=r"expected a direction in 0\.\.13"):
        SimulatorBackend(preset("default")).set_policy(direction, DEAR)
