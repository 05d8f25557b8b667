"""The compiled engine against the plain-Python oracle: equal to the msat, on networks nobody chose."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.engine import CompiledNetwork
from tests.oracle.network import OracleNetwork
from tests.oracle.scenarios import (
    random_amount,
    random_balances,
    random_payment,
    random_route,
    random_topology,
)

randoms = st.randoms(use_true_random=False)


def both(rng, **options):
    """Make one random network twice: compiled, and in plain Python."""
    topology = random_topology(rng)
    balances = random_balances(rng, topology)
    return topology, CompiledNetwork(topology, balances, **options), OracleNetwork(topology, balances, **options)


def assert_same_payments(rng, topology, engine, oracle, count, step_ms=0):
    totals = [sum(both) for both in oracle.balances_msat()]
    now_ms = 0
    for _ in range(count):
        payment = random_payment(rng, topology)
        assert engine.pay(*payment, now_ms) == oracle.pay(*payment, now_ms), payment
        after = engine.balances_msat()
        assert after == oracle.balances_msat()
        assert [sum(both) for both in after] == totals
        assert min(min(both) for both in after) >= 0
        now_ms += rng.randint(0, step_ms)


@settings(max_examples=300, deadline=None)
@given(rng=randoms)
def test_payments_in_one_part_equal_the_oracle_to_the_msat(rng):
    topology, engine, oracle = both(rng)
    assert_same_payments(rng, topology, engine, oracle, 15)


@settings(max_examples=300, deadline=None)
@given(rng=randoms, max_parts=st.sampled_from([2, 3, 16]))
def test_payments_in_several_parts_equal_the_oracle_to_the_msat(rng, max_parts):
    topology, engine, oracle = both(rng, max_parts=max_parts)
    assert_same_payments(rng, topology, engine, oracle, 15)


@settings(max_examples=300, deadline=None)
@given(rng=randoms, max_parts=st.sampled_from([1, 1, 16]), step_ms=st.sampled_from([0, 1_000, 30_000, 600_000]))
def test_senders_that_remember_equal_the_oracle_as_time_goes_by(rng, max_parts, step_ms):
    topology, engine, oracle = both(rng, max_parts=max_parts, remember=True)
    assert_same_payments(rng, topology, engine, oracle, 25, step_ms)


@settings(max_examples=300, deadline=None)
@given(rng=randoms, remember=st.booleans())
def test_pinned_routes_equal_the_oracle_and_teach_the_sender_the_same(rng, remember):
    topology, engine, oracle = both(rng, remember=remember)
    for _ in range(8):
        route, amount = random_route(rng, topology), random_amount(rng)
        assert engine.send_over(route, amount) == oracle.send_over(route, amount), (route, amount)
        assert engine.balances_msat() == oracle.balances_msat()
        assert_same_payments(rng, topology, engine, oracle, 1)


@pytest.mark.parametrize("amount_msat", [0, -1])
def test_an_amount_of_nothing_is_an_error_and_moves_no_money(amount_msat):
    _, engine, oracle = both(random.Random(1))
    assert engine.pay(0, 1, amount_msat, 0) == oracle.pay(0, 1, amount_msat, 0)
    assert engine.balances_msat() == oracle.balances_msat()
