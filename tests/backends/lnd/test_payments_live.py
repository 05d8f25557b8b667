"""Payments and rebalances on real nodes, with lncli as the witness."""

from __future__ import annotations

import numpy as np
import pytest

from lnsim_gym.backends.lnd.network.forecast import Forecaster
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.errors import InvalidAction, LedgerMismatch
from lnsim_gym.network import Channel, Topology
from lnsim_gym.payments import FailureReason, PaymentOptions, RebalanceReason
from tests.backends.lnd.live import batch_of, half_and_half, random_batch

pytestmark = pytest.mark.lnd

ALICE, BOB, CAROL, DAVE, EVE = range(5)


def test_random_payments_move_what_their_outcomes_say(backend, topology, reported_sat):
    rng = np.random.default_rng(20240901)
    booked = backend.balances_msat()
    arrays = topology.arrays
    for _ in range(6):
        batch = random_batch(topology, rng, 10, 600_000_000)
        outcomes = backend.pay(batch)
        for row in np.flatnonzero(outcomes.succeeded):
            route = [int(d) for d in outcomes.part_route[row, 0] if d >= 0]
            assert arrays.source[route[0]] == batch.source[row]
            assert arrays.destination[route[-1]] == batch.destination[row]
            carried = [int(outcomes.part_amount_msat[row, 0])]
            for direction in reversed(route[1:]):
                fee = arrays.fee_base_msat[direction] + carried[0] * arrays.fee_rate_ppm[direction] // 1_000_000
                carried.insert(0, carried[0] + int(fee))
            assert carried[0] - carried[-1] == outcomes.fee_msat[row]
            for direction, amount in zip(route, carried, strict=True):
                booked.reshape(-1)[direction] -= amount
                booked.reshape(-1)[direction ^ 1] += amount
        assert (backend.balances_msat() == booked).all()
        assert (reported_sat(backend) == booked // 1000).all()


def test_a_payment_beyond_all_balances_fails_and_is_said_to_have_failed(backend, middle):
    outcomes = backend.pay(batch_of((DAVE, ALICE, 2_000_000_000), (DAVE, ALICE, 10_000_000)))
    assert outcomes.succeeded.tolist() == [False, True]
    assert outcomes.failure_reason.tolist() == [FailureReason.INSUFFICIENT_BALANCE, FailureReason.NONE]
    assert outcomes.attempts[0] == 0
    assert outcomes.hops[0] == 0
    assert outcomes.parts.tolist() == [0, 1]


def test_fee_route_length_and_hash_are_those_of_lnd(backend, topology, lncli):
    outcomes = backend.pay(batch_of((ALICE, DAVE, 100_000_000)))
    shown = lncli(backend.endpoints()["alice"], "trackpayment", "--json", outcomes.payment_hash[0])
    assert outcomes.hops[0] == 2
    assert outcomes.fee_msat[0] == int(shown["fee_msat"]) > 0
    assert outcomes.duration_s[0] > 0
    assert shown["status"] == "SUCCEEDED"


def test_a_fee_limit_below_the_fees_leaves_no_route(make_backend):
    channels = tuple(Channel(initiator=a, peer=b, capacity_sat=500_000) for a, b in ("ab", "bc"))
    line = Topology(nodes=("a", "b", "c"), channels=channels)
    backend = make_backend(line, PaymentOptions(fee_limit_base_sat=0, fee_limit_ppm=1))
    backend.open()
    outcomes = backend.pay(batch_of((0, 2, 10_000_000), (0, 1, 10_000_000)))
    assert outcomes.failure_reason.tolist() == [FailureReason.NO_ROUTE, FailureReason.NONE]


def test_an_initiator_spends_down_to_reserve_and_fee_buffer_and_not_one_satoshi_more(backend, topology):
    most_msat = int(topology.spendable_msat(backend.balances_msat())[0, 0]) // 1000 * 1000
    refused = backend.rebalance((0,), most_msat + 1000)
    assert refused.reason is RebalanceReason.INSUFFICIENT_LOCAL_BALANCE
    assert "no matching outgoing channel" in refused.detail
    assert backend.rebalance((0,), most_msat).applied_msat == most_msat


def test_a_push_moves_the_amount_over_that_very_channel_without_fees(backend, middle):
    result = backend.rebalance((5,), 123_456_789)
    moved = backend.balances_msat() - middle
    assert (result.applied_msat, result.fee_msat, result.reason) == (123_456_789, 0, RebalanceReason.NONE)
    assert moved[2].tolist() == [123_456_789, -123_456_789]
    assert not np.delete(moved, 2, axis=0).any()


def test_a_circular_rebalance_costs_its_node_no_more_than_the_fee(backend, topology, middle):
    cycle = (
        topology.direction("alice", "bob"),
        topology.direction("bob", "carol"),
        topology.direction("carol", "alice"),
    )
    result = backend.rebalance(cycle, 50_000_000)
    balances = backend.balances_msat().reshape(-1)
    owned = [int((balances - middle.reshape(-1))[topology.arrays.source == node].sum()) for node in range(5)]
    arrays = topology.arrays
    last = arrays.fee_base_msat[cycle[2]] + 50_000_000 * arrays.fee_rate_ppm[cycle[2]] // 1_000_000
    first = arrays.fee_base_msat[cycle[1]] + (50_000_000 + last) * arrays.fee_rate_ppm[cycle[1]] // 1_000_000
    assert result.applied_msat == 50_000_000
    assert result.fee_msat == first + last
    assert owned == [-result.fee_msat, first, last, 0, 0]
    assert balances[cycle[0]] == middle.reshape(-1)[cycle[0]] - 50_000_000 - result.fee_msat
    assert balances[cycle[2] ^ 1] == middle.reshape(-1)[cycle[2] ^ 1] + 50_000_000


def test_a_forwarder_without_balance_refuses_and_nothing_moves(backend, topology):
    drained = topology.direction("bob", "carol")
    assert backend.rebalance((drained,), 450_000_000).applied_msat == 450_000_000
    before = backend.balances_msat()
    cycle = (topology.direction("alice", "bob"), drained, topology.direction("carol", "alice"))
    result = backend.rebalance(cycle, 100_000_000)
    assert result.reason is RebalanceReason.TEMPORARY_CHANNEL_FAILURE
    assert result.failure_source_index == 1
    assert (backend.balances_msat() == before).all()


def test_amounts_outside_a_policy_are_refused_before_anything_is_sent(backend):
    assert backend.rebalance((0,), 999).reason is RebalanceReason.AMOUNT_OUT_OF_RANGE
    assert backend.rebalance((0,), 990_000_001).reason is RebalanceReason.AMOUNT_OUT_OF_RANGE


@pytest.mark.parametrize("route", [(), (0, 4), (0, 2), (99,)])
def test_directions_that_are_no_route_are_refused_with_the_reason(backend, route):
    with pytest.raises(InvalidAction, match="directions of one hop, or of a cycle"):
        backend.rebalance(route, 10_000_000)


def test_a_payment_made_behind_our_back_is_noticed(make_backend, two_nodes, lncli):
    backend = make_backend(two_nodes)
    backend.open()
    ends = backend.endpoints()
    invoice = lncli(ends["peer"], "addinvoice", "--amt=50000")["payment_request"]
    lncli(ends["initiator"], "payinvoice", "--force", "--json", invoice)
    with pytest.raises(LedgerMismatch, match="channel initiator-peer: expected 996,530 and 0 sat"):
        backend.balances_msat()
    assert backend.reset(two_nodes.start_balances_msat()).rung == "snapshot"
    assert (backend.balances_msat() == two_nodes.start_balances_msat()).all()


def test_many_payments_at_once_leave_exact_balances(make_backend, topology, reported_sat):
    backend = make_backend(topology, PaymentOptions(concurrency=16))
    backend.reset(half_and_half(topology))
    outcomes = backend.pay(random_batch(topology, np.random.default_rng(5), 60, 200_000_000))
    assert outcomes.succeeded.mean() > 0.5
    assert (reported_sat(backend) == backend.balances_msat() // 1000).all()


def test_payments_in_parts_settle_or_release_what_waits_at_the_receiver(make_backend, topology, reported_sat):
    backend = make_backend(topology, PaymentOptions(max_parts=16))
    backend.reset(half_and_half(topology))
    split = backend.pay(batch_of((ALICE, CAROL, 700_000_000)))
    assert split.succeeded[0]
    assert split.parts[0] > 1
    assert split.part_amount_msat[0].sum() == 700_000_000
    # Alice owns enough, her channels can carry it, but those behind them cannot: parts get stuck at the receiver.
    balances = half_and_half(topology)
    total = int(topology.owned_total_msat[0])
    for source, destination in (("carol", "dave"), ("eve", "dave")):
        direction = topology.direction(source, destination)
        kept = 30_000_000 + (100_000_000 if source == "eve" else 0)
        balances[direction // 2, direction % 2] = kept
        balances[direction // 2, 1 - direction % 2] = total - kept
    backend.reset(balances)
    failed = backend.pay(batch_of((ALICE, DAVE, 300_000_000)))
    assert not failed.succeeded[0]
    assert failed.attempts[0] >= 1
    assert failed.failure_reason[0] == FailureReason.NO_ROUTE
    assert failed.duration_s[0] < 20
    assert (backend.balances_msat() == balances).all()
    assert (reported_sat(backend) == balances // 1000).all()


def test_mission_control_is_kept_for_an_episode_when_asked(make_backend, topology):
    backend = make_backend(topology, PaymentOptions(mission_control="per_episode"))
    balances = half_and_half(topology)
    backend.reset(balances)
    preferred = backend.pay(batch_of((ALICE, DAVE, 100_000_000))).part_route[0, 0]
    dry = int(preferred[1])
    total = int(balances[0].sum())
    balances[dry // 2, dry % 2] = 20_000_000
    balances[dry // 2, 1 - dry % 2] = total - 20_000_000
    backend.reset(balances)
    twice = batch_of((ALICE, DAVE, 100_000_000), (ALICE, DAVE, 100_000_000))
    assert backend.pay(twice).attempts.tolist() == [2, 1]
    backend.reset(balances)
    assert backend.pay(twice).attempts.tolist() == [2, 1]


def test_every_sender_forgets_before_every_payment_by_default(backend, topology, middle):
    preferred = backend.pay(batch_of((ALICE, DAVE, 100_000_000))).part_route[0, 0]
    dry = int(preferred[1])
    total = int(middle[0].sum())
    middle[dry // 2, dry % 2] = 20_000_000
    middle[dry // 2, 1 - dry % 2] = total - 20_000_000
    backend.reset(middle)
    twice = batch_of((ALICE, DAVE, 100_000_000), (ALICE, DAVE, 100_000_000))
    assert backend.pay(twice).attempts.tolist() == [2, 2]


def test_payments_that_lnd_does_not_take_fail_as_in_the_simulator_and_lose_nothing(shared_backend, topology, middle):
    batch = batch_of((0, 0, 1_000_000), (0, 1, 0), (0, 1, 10**16 + 1), (0, 1, 1_000_000))
    shared_backend.reset(middle)
    simulator = SimulatorBackend(topology)
    simulator.reset(middle)
    real, simulated = shared_backend.pay(batch), simulator.pay(batch)
    for name in ("succeeded", "failure_reason", "attempts", "fee_msat", "parts", "part_amount_msat", "part_route"):
        assert (getattr(real, name) == getattr(simulated, name)).all(), name
    assert (shared_backend.balances_msat() == simulator.balances_msat()).all()


def test_after_a_wrong_forecast_payments_go_one_by_one(make_backend, triangle, monkeypatch, caplog):
    outcomes = Forecaster.outcomes

    def without_fees(self, topology, balances_msat, batch, fee_limit_msat):
        """A forecast of payments that may pay no fees, and so never take a way around."""
        return outcomes(self, topology, balances_msat, batch, 0 * fee_limit_msat)

    monkeypatch.setattr(Forecaster, "outcomes", without_fees)
    backend = make_backend(triangle)
    simulator = SimulatorBackend(triangle)
    # Nothing goes from the first node to the second directly.
    balances_msat = half_and_half(triangle)
    balances_msat[0] = 20_000_000, balances_msat[0].sum() - 20_000_000
    around = batch_of((0, 1, 50_000_000))
    mixed = batch_of(*((source, (source + 1) % 3, 20_000_000) for source in (0, 1, 2, 0, 2, 1)))
    for each in (backend, simulator):
        each.reset(balances_msat)
    for batch in (around, mixed):
        real, simulated = backend.pay(batch), simulator.pay(batch)
        for name in ("succeeded", "failure_reason", "attempts", "fee_msat", "part_amount_msat", "part_route"):
            assert (getattr(real, name) == getattr(simulated, name)).all(), name
        assert (backend.balances_msat() == simulator.balances_msat()).all()
    assert [record.message for record in caplog.records if "forecast" in record.message] == [
        "a payment ended otherwise than forecast: from now on payments go one by one"
    ]
