"""Policies that change on real nodes, with lncli as the witness and the simulator as the prediction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.errors import BackendLost, ConfigError, InvalidAction
from lnsim_gym.network import Policy
from lnsim_gym.payments import PaymentBatch
from tests.backends.lnd.live import half_and_half, policy_in_graph_of, policy_of, processes_of, random_batch

pytestmark = pytest.mark.lnd

DEAR = Policy(fee_base_msat=40_000, fee_rate_ppm=3_001, time_lock_delta=41, min_htlc_msat=2_000_001)
FIELDS = ("succeeded", "failure_reason", "attempts", "fee_msat", "part_amount_msat", "part_route")


def assert_same_payments(live, simulator, batch: PaymentBatch) -> None:
    seen = live.pay(batch)
    predicted = simulator.pay(batch)
    for name in FIELDS:
        assert np.array_equal(getattr(seen, name), getattr(predicted, name)), name
    assert np.array_equal(live.balances_msat(), simulator.balances_msat())


def assert_same_rebalance(live, simulator, route: tuple[int, ...], amount_msat: int) -> int:
    seen = live.rebalance(route, amount_msat)
    predicted = simulator.rebalance(route, amount_msat)
    assert (seen.applied_msat, seen.fee_msat, seen.reason) == (
        predicted.applied_msat,
        predicted.fee_msat,
        predicted.reason,
    )
    assert np.array_equal(live.balances_msat(), simulator.balances_msat())
    return seen.fee_msat


@pytest.mark.timeout(300)
def test_payments_before_and_after_a_change_agree_with_the_simulator_and_a_reset_restores(
    backend, topology, middle, lncli
):
    rng = np.random.default_rng(20250101)
    simulator = SimulatorBackend(topology)
    simulator.reset(middle)
    cycle = tuple(topology.direction(*pair) for pair in itertools.pairwise(("alice", "bob", "carol", "alice")))
    assert_same_payments(backend, simulator, random_batch(topology, rng, 12, 200_000_000))
    before = assert_same_rebalance(backend, simulator, cycle, 20_000_000)
    changed = (cycle[1], cycle[2], topology.direction("eve", "dave"))
    for direction in changed:
        for each in (backend, simulator):
            each.set_policy(direction, DEAR)
        for node in topology.nodes:
            assert policy_in_graph_of(lncli, backend, node, direction) == (40_000, 3_001, 41, 2_000_001, 990_000_000)
    assert assert_same_rebalance(backend, simulator, cycle, 20_000_000) > before
    assert_same_rebalance(backend, simulator, cycle, 1_900_000)  # below the new smallest HTLC
    assert_same_payments(backend, simulator, random_batch(topology, rng, 24, 200_000_000))
    for each in (backend, simulator):
        each.reset(middle)
    for direction in changed:
        for node in topology.nodes:
            assert policy_in_graph_of(lncli, backend, node, direction) == policy_of(topology, direction)
    assert assert_same_rebalance(backend, simulator, cycle, 20_000_000) == before
    assert_same_payments(backend, simulator, random_batch(topology, rng, 12, 200_000_000))


def test_a_reset_that_has_only_policies_to_restore_moves_nothing(backend, topology, middle, lncli):
    backend.set_policy(3, DEAR)
    assert backend.reset(middle).rung == "none"
    assert policy_in_graph_of(lncli, backend, "alice", 3) == policy_of(topology, 3)


@pytest.mark.parametrize(
    ("direction", "policy", "error", "text"),
    [
        (3, Policy(time_lock_delta=23), ConfigError, r"from carol to bob\.time_lock_delta must lie in 24\.\.2,016"),
        (3, Policy(max_htlc_msat=990_000_001), ConfigError, r"max_htlc_msat must lie in 1,000\.\.990,000,000"),
        (14, Policy(), InvalidAction, r"expected a direction in 0\.\.13, got 14"),
    ],
)
def test_what_lnd_would_refuse_is_refused_before_anything_is_sent(
    backend, topology, middle, lncli, direction, policy, error, text
):
    with pytest.raises(error, match=text):
        backend.set_policy(direction, policy)
    assert policy_in_graph_of(lncli, backend, "carol", 3) == policy_of(topology, 3)
    assert backend.reset(middle).rung == "none"


def test_a_policy_that_reaches_the_limits_of_what_is_allowed_is_accepted_by_lnd(backend, topology):
    for policy in (
        Policy(fee_base_msat=2**32 - 1, fee_rate_ppm=1_000_000, time_lock_delta=2016, min_htlc_msat=990_000_000),
        Policy(fee_base_msat=0, fee_rate_ppm=0, time_lock_delta=24, min_htlc_msat=1, max_htlc_msat=1),
    ):
        backend.set_policy(0, policy)


@pytest.mark.timeout(300)
def test_a_lost_node_is_an_error_and_the_next_reset_restores_the_policies(make_backend, triangle, lncli):
    backend = make_backend(triangle)
    backend.reset(half_and_half(triangle))
    backend.set_policy(0, DEAR)
    processes_of(backend)["carol"].kill()
    with pytest.raises(BackendLost):
        backend.set_policy(1, DEAR)
    with pytest.raises(BackendLost, match="reset"):
        backend.set_policy(1, DEAR)
    backend.reset(half_and_half(triangle))
    for direction in (0, 1):
        assert policy_in_graph_of(lncli, backend, "carol", direction) == policy_of(triangle, direction)
