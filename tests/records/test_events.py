"""The balances around every single payment of a step."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.backends.interventions import PolicyChange, Rebalance, balances_after
from lnsim_gym.network import Policy
from lnsim_gym.network.generators import complete, scale_free
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import RebalanceReason, RebalanceResult
from lnsim_gym.records.events import balances_per_payment
from tests.records.ledger import FIVE, a_step, fee_of, payments, settle

NETWORKS = (FIVE, complete(4), scale_free(8, 15, 3))


@st.composite
def walks(draw, topology):
    """Draw a route: a walk that does not use a channel twice."""
    arrays = topology.arrays
    route = [draw(st.integers(0, len(arrays.source) - 1))]
    for _ in range(draw(st.integers(0, 4))):
        taken = {d // 2 for d in route}
        onward = [d for d in np.flatnonzero(arrays.source == arrays.destination[route[-1]]) if d // 2 not in taken]
        if not onward:
            break
        route.append(int(draw(st.sampled_from(onward))))
    return tuple(route)


@given(data=st.data())
def test_payments_move_money_between_channel_ends_and_neither_make_nor_lose_any(data):
    topology = data.draw(st.sampled_from(NETWORKS))
    a, b = topology.nodes[:2]
    rows = [
        (a, b, 0, [(data.draw(walks(topology)), data.draw(st.integers(1, 10**9))) for _ in range(count)])
        for count in data.draw(st.lists(st.integers(0, 3), max_size=5))
    ]
    _, outcomes = payments(*rows, topology=topology, max_parts=3)
    start = topology.start_balances_msat()
    expected = start
    around = list(balances_per_payment(topology, start, outcomes))
    assert len(around) == len(rows)
    for (_, _, _, parts), (before, after) in zip(rows, around, strict=True):
        assert (before == expected).all()
        for route, msat in parts:
            expected = settle(topology, expected, route, msat)
        assert (after == expected).all()
        assert (after.sum(axis=1) == topology.owned_total_msat).all()


@given(data=st.data(), amount=st.integers(1, 10**10))
def test_the_sender_pays_amount_and_fees_and_the_receiver_gets_the_amount(data, amount):
    topology = data.draw(st.sampled_from(NETWORKS))
    route = data.draw(walks(topology))
    hops = hop_amounts_msat(topology, route, amount)
    assert hops[-1] == amount
    assert hops[0] == amount + fee_of(topology, route, amount)
    assert hops == sorted(hops, reverse=True)


def test_the_balances_of_the_last_payment_are_those_at_the_end_of_the_step():
    step = a_step()
    *_, (_, after) = balances_per_payment(FIVE, step.balances_served_from_msat, step.outcomes)
    assert (after == step.balances_after_msat).all()


def test_a_rebalance_moves_its_amount_and_a_refused_one_nothing():
    step = a_step()
    before = step.balances_before_msat
    assert (balances_after(FIVE, before, step.interventions) == step.balances_served_from_msat).all()
    refused = Rebalance(
        step.rebalances[0].route, 50_000_000, RebalanceResult(reason=RebalanceReason.TEMPORARY_CHANNEL_FAILURE)
    )
    assert (balances_after(FIVE, before, (refused,)) == before).all()


def test_a_rebalance_pays_the_fees_of_the_policies_that_were_changed_before_it():
    cycle = tuple(FIVE.direction(*ends) for ends in (("alice", "bob"), ("bob", "carol"), ("carol", "alice")))
    circular = Rebalance(cycle, 1_000_000, RebalanceResult(applied_msat=1_000_000))
    dear = PolicyChange(cycle[1], Policy(fee_base_msat=77_000, fee_rate_ppm=0))
    start = FIVE.start_balances_msat()
    paid = [
        start.reshape(-1)[cycle[0]] - balances_after(FIVE, start, done).reshape(-1)[cycle[0]]
        for done in ((circular,), (dear, circular))
    ]
    assert paid[0] == 1_000_000 + fee_of(FIVE, cycle, 1_000_000)
    assert paid[1] - paid[0] == 77_000 - fee_of(FIVE, cycle[:2], paid[0] - fee_of(FIVE, cycle[:2], 1_000_000))
