"""A network of real nodes with what the public one has: parallel channels, inbound fees, disabled and closed ends."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lnsim_gym.backends.interventions import Rebalance, balances_after
from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.errors import BackendLost
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.routes import hop_amounts_msat, settled_hops
from lnsim_gym.payments import PaymentOptions, RebalanceReason
from lnsim_gym.records.events import balances_per_payment
from tests.backends.lnd.live import (
    batch_of,
    half_and_half,
    policies_in_graph_of,
    policies_of,
    processes_of,
    random_batch,
)
from tests.parity.forwarding import assert_equal_chances, assert_legal_payments, assert_legal_route

pytestmark = [pytest.mark.lnd, pytest.mark.timeout(300)]

MILLION = 1_000_000
DISCOUNT = Policy(fee_base_msat=1100, fee_rate_ppm=210, inbound_fee_base_msat=-400, inbound_fee_rate_ppm=-90)
SURCHARGE = Policy(fee_base_msat=1300, fee_rate_ppm=80, inbound_fee_base_msat=250, inbound_fee_rate_ppm=35)
CLOSED = Policy(fee_base_msat=2**31 - 1, fee_rate_ppm=2**31 - 1)
OFF = Policy(fee_base_msat=700, fee_rate_ppm=30, disabled=True)
ODD = Policy(fee_base_msat=0, fee_rate_ppm=2**32 - 1, time_lock_delta=24, min_htlc_msat=1, max_htlc_msat=19_000_000)
STEEP = Policy(inbound_fee_base_msat=-(2**31), inbound_fee_rate_ppm=2**31 - 1, time_lock_delta=2016)


def plain(step: int) -> Policy:
    return Policy(fee_base_msat=1000 + 7 * step, fee_rate_ppm=100 + step)


CHANNELS = (
    ("alice", "bob", MILLION, 600_000, plain(0), DISCOUNT),
    ("alice", "bob", MILLION, 300_000, plain(1), SURCHARGE),  # of the same size as the one before
    ("bob", "alice", MILLION, 500_000, plain(2), plain(3)),
    ("bob", "carol", MILLION, 500_000, plain(4), SURCHARGE),
    ("bob", "carol", 2 * MILLION, 900_000, OFF, plain(5)),
    ("carol", "bob", 500_000, 250_000, CLOSED, plain(6)),
    ("carol", "dave", 100 * MILLION, 50 * MILLION, plain(7), DISCOUNT),
    ("dave", "alice", MILLION, 500_000, plain(8), plain(9)),
    ("dave", "erin", MILLION, 500_000, OFF, OFF),
    ("dave", "erin", MILLION, 400_000, plain(10), OFF),
    ("erin", "frank", 20_000, 10_000, ODD, plain(11)),
    ("frank", "alice", MILLION, 500_000, STEEP, plain(12)),
)


@pytest.fixture(scope="session")
def crowded() -> Topology:
    channels = tuple(
        Channel(
            initiator=initiator,
            peer=peer,
            capacity_sat=capacity_sat,
            initiator_balance_sat=kept_sat,
            policies=ChannelPolicies(initiator=one, peer=other),
        )
        for initiator, peer, capacity_sat, kept_sat, one, other in CHANNELS
    )
    return Topology(nodes=("alice", "bob", "carol", "dave", "erin", "frank"), channels=channels, wumbo=True)


@pytest.fixture(scope="session")
def shared_crowded(lnd_binaries, crowded):
    with LndBackend(crowded, settings=LndSettings(launcher="process")) as backend:
        yield backend


@pytest.fixture
def backend(shared_crowded, crowded):
    """The network with the balances and policies that it was opened with."""
    shared_crowded.reset(crowded.start_balances_msat())
    return shared_crowded


def assert_announced(lncli, backend, topology: Topology) -> None:
    for node in topology.nodes:
        assert policies_in_graph_of(lncli, backend, node) == policies_of(topology)


def test_balances_and_policies_are_those_of_the_topology_at_every_node(backend, crowded, lncli, reported_sat):
    assert (reported_sat(backend) == crowded.start_balances_msat() // 1000).all()
    assert_announced(lncli, backend, crowded)


def test_payments_are_booked_on_the_channels_that_forwarders_chose(backend, crowded, reported_sat):
    rng = np.random.default_rng(20260301)
    balances = backend.balances_msat()
    drawn = Counter()
    for _ in range(3):
        outcomes = backend.pay(random_batch(crowded, rng, 20, 200_000_000))
        assert outcomes.part_hop_msat is not None
        both = list(balances_per_payment(crowded, balances, outcomes))
        assert_legal_payments(crowded, both, outcomes, drawn)
        balances = both[-1][1]
        for payment in np.flatnonzero(outcomes.succeeded):
            ((route, sent_msat),) = settled_hops(crowded, outcomes, payment)
            assert sent_msat[0] - sent_msat[-1] == outcomes.fee_msat[payment]
            assert sent_msat[-1] == outcomes.part_amount_msat[payment, 0]
            assert crowded.nodes_of(route)[-1] == crowded.arrays.destination[route[-1]]
        assert (backend.balances_msat() == balances).all()
        assert (reported_sat(backend) == balances // 1000).all()
    assert drawn.total() >= 5
    assert_equal_chances(drawn)


@pytest.mark.parametrize("options", [PaymentOptions(concurrency=16), PaymentOptions(max_parts=16)])
def test_many_payments_at_once_and_payments_in_parts_leave_exact_balances(make_backend, crowded, options, reported_sat):
    backend = make_backend(crowded, options, probe_timeout_s=10.0)  # nodes are busy, not gone
    before = half_and_half(crowded)
    backend.reset(before)
    # The same payment over and over, as well, whose HTLCs look all alike.
    for batch in (
        random_batch(crowded, np.random.default_rng(6), 30, 400_000_000),
        batch_of(*[(0, 2, 9_000_000)] * 20),
    ):
        outcomes = backend.pay(batch)
        *_, (_, after) = balances_per_payment(crowded, before, outcomes)
        assert outcomes.succeeded.mean() > 0.3
        assert (backend.balances_msat() == after).all()
        assert (reported_sat(backend) == after // 1000).all()
        before = after


ROUTES = {
    "inbound discount": (0, 6, 12, 14),
    "surcharge": (2, 6, 12, 14),
    "over a disabled direction": (2, 8, 12, 14),
    "there and back over another channel": (0, 3),
    "from the peer's side": (15, 13, 7, 1),
    "out by the closed end": (6, 10),
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_rebalances_ask_what_the_pinned_channels_cost(backend, crowded, route, reported_sat):
    before = backend.balances_msat()
    amount_msat = 1_234_567
    sent_msat = hop_amounts_msat(crowded, route, amount_msat)
    result = backend.rebalance(route, amount_msat)
    if sent_msat[0] > 450_000_000:
        assert result.reason is RebalanceReason.AMOUNT_OUT_OF_RANGE
        return
    assert (result.reason, result.applied_msat) == (RebalanceReason.NONE, amount_msat)
    assert result.fee_msat == sent_msat[0] - amount_msat
    done = Rebalance(route, amount_msat, result)
    assert crowded.nodes_of(done.carried_by) == crowded.nodes_of(route)
    assert done.carried_by[0] == route[0]
    assert_legal_route(crowded, before, done.carried_by, sent_msat)
    after = balances_after(crowded, before, (done,))
    assert (backend.balances_msat() == after).all()
    assert (reported_sat(backend) == after // 1000).all()


def test_rebalances_that_no_channel_can_carry_are_refused_where_that_is(backend, crowded):
    back_over_the_same = backend.rebalance((0, 1), MILLION)
    assert back_over_the_same.reason is RebalanceReason.TEMPORARY_CHANNEL_FAILURE
    assert back_over_the_same.failure_source_index == 1
    own = backend.rebalance((0, 3), 620_000_000)
    assert (own.reason, own.payment_hash) == (RebalanceReason.INSUFFICIENT_LOCAL_BALANCE, "")
    assert (backend.balances_msat() == crowded.start_balances_msat()).all()


def test_changes_reach_every_node_and_every_way_to_reset_restores(backend, crowded, lncli, reported_sat):
    changed = crowded
    for direction, policy in (
        (6, Policy(fee_base_msat=5, inbound_fee_base_msat=7, inbound_fee_rate_ppm=-11, disabled=True)),
        (8, Policy(fee_base_msat=6)),  # was disabled
        (1, Policy(fee_base_msat=8)),  # had a discount
        (0, CLOSED),
    ):
        backend.set_policy(direction, policy)
        changed = changed.with_policy(direction, policy)
        assert_announced(lncli, backend, changed)
    assert backend.rebalance((6, 9), MILLION).applied_msat == MILLION
    start = crowded.start_balances_msat()
    assert backend.reset(start).rung == "payments"
    assert_announced(lncli, backend, crowded)
    fresh = start.copy()  # below the reserve of a peer: only a snapshot or a new network has it
    fresh[1] = [crowded.owned_total_msat[1], 0]
    for wanted, rung in ((start, "none"), (half_and_half(crowded), "payments"), (fresh, "rebuild")):
        backend.set_policy(6, Policy(disabled=True))
        assert backend.reset(wanted).rung == rung
        assert (reported_sat(backend) == wanted // 1000).all()
        assert_announced(lncli, backend, crowded)


def test_a_snapshot_brings_balances_of_alike_channels_and_disabled_ends_back(backend, crowded, lncli, reported_sat):
    backend.set_policy(0, OFF)
    assert backend.rebalance((2,), MILLION).applied_msat == MILLION
    processes_of(backend)["carol"].kill()
    with pytest.raises(BackendLost):
        backend.rebalance((6,), MILLION)
    assert backend.reset(crowded.start_balances_msat()).rung == "snapshot"
    assert (reported_sat(backend) == crowded.start_balances_msat() // 1000).all()
    assert_announced(lncli, backend, crowded)
