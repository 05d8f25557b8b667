"""The compiled engine against the plain-Python oracle: equal to the msat, on random networks."""

import dataclasses
import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lnsim_gym.backends.simulator.engine import UNCOUNTED, spendable
from lnsim_gym.backends.simulator.payments import MANY_NODES
from lnsim_gym.benchmarks.parity.drawing import random_amount_msat, random_route
from lnsim_gym.compiled import kernel
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.generators import scale_free
from lnsim_gym.payments import FailureReason, RebalanceReason
from tests.oracle.engine import CompiledNetwork
from tests.oracle.network import OracleNetwork
from tests.oracle.scenarios import (
    random_balances,
    random_payment,
    random_topology,
)

randoms = st.randoms(use_true_random=False)


def both(rng, *, public=False, **options):
    """Make one random network twice: compiled, and in plain Python; senders differ in what they fear of attempts."""
    topology = random_topology(rng, public=public)
    balances = random_balances(rng, topology)
    options["attempt_cost"] = rng.choice([(100, 1_000), (100, 1_000), (8, 79), (1, 0), (3_000, 0), (100, 20_000)])
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


@pytest.mark.parametrize(("base_msat", "ties"), [(1000, 1), (1001, 0)])
def test_the_oracle_counts_the_ties_that_lnd_leaves_to_chance(base_msat, ties):
    """A diamond: two routes of two hops, which cost the same or not."""
    policies = ChannelPolicies(initiator=Policy(fee_base_msat=1000), peer=Policy(fee_base_msat=1000))
    other = ChannelPolicies(initiator=Policy(fee_base_msat=base_msat), peer=Policy(fee_base_msat=base_msat))
    pairs = [("a", "b", policies), ("a", "c", policies), ("b", "d", policies), ("c", "d", other)]
    channels = tuple(
        Channel(initiator=one, peer=two, capacity_sat=1_000_000, policies=fees) for one, two, fees in pairs
    )
    topology = Topology(nodes=("a", "b", "c", "d"), channels=channels)
    oracle = OracleNetwork(topology, topology.start_balances_msat())
    assert oracle.pay(0, 3, 100_000_000, 10_000_000).succeeded
    assert oracle.ties == ties


@settings(max_examples=120)
@given(rng=randoms)
def test_payments_in_one_part_equal_the_oracle_to_the_msat(rng):
    topology, engine, oracle = both(rng, timeout_ms=rng.choice([200, 30_000, 30_000]))
    assert_same_payments(rng, topology, engine, oracle, 15)


def row_of(count, policy):
    """Return a network in which each node is joined to the next."""
    names = tuple(f"n{index}" for index in range(count))
    policies = ChannelPolicies(initiator=policy, peer=policy)
    channels = tuple(
        Channel(initiator=one, peer=other, capacity_sat=1_000_000, policies=policies)
        for one, other in itertools.pairwise(names)
    )
    return Topology(nodes=names, channels=channels)


@pytest.mark.parametrize(
    "inbound_fee_base_msat", [0, pytest.param(-5, marks=pytest.mark.slow)], ids=["plain", "linked"]
)
@pytest.mark.parametrize(("amount_msat", "hops"), [(255, 25), (256, 24), (2**24, 24)])
def test_routes_are_as_long_as_the_onion_holds(amount_msat, hops, inbound_fee_base_msat):
    """The sender learns of one hop after another; without that, no route of more than nine is likely enough."""
    policy = Policy(fee_base_msat=0, fee_rate_ppm=0, min_htlc_msat=1, inbound_fee_base_msat=inbound_fee_base_msat)
    topology = row_of(hops + 2, policy)
    networks = [
        kind(topology, topology.start_balances_msat(), remember=True) for kind in (CompiledNetwork, OracleNetwork)
    ]
    for target in range(1, hops + 2):
        engine, oracle = (network.pay(0, target, amount_msat, 0) for network in networks)
        assert engine == oracle
        assert engine.succeeded == (target <= hops)
    assert engine.reason == FailureReason.NO_ROUTE


def ladder(rungs):
    """Return a network with so many routes of three hops, each cheaper than the next, all but the last of them dry."""
    channels = []
    for rung in range(rungs):
        dry = rung < rungs - 1
        policies = ChannelPolicies(initiator=Policy(fee_base_msat=rung), peer=Policy(fee_base_msat=rung))
        ends = [("a", f"b{rung}"), (f"b{rung}", f"c{rung}"), ("z", f"c{rung}") if dry else (f"c{rung}", "z")]
        channels += [
            Channel(initiator=one, peer=other, capacity_sat=1_000_000, policies=policies) for one, other in ends
        ]
    names = dict.fromkeys(name for channel in channels for name in (channel.initiator, channel.peer))
    return Topology(nodes=tuple(names), channels=tuple(channels))


@pytest.mark.parametrize("max_parts", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("timeout_s", "attempts"), [(1, 7), (2, 9)])
def test_an_attempt_takes_as_long_as_its_hops_and_the_time_out_ends_them(timeout_s, attempts, max_parts):
    """Nine routes, eight of them refused by their second forwarder after 160 ms."""
    topology = ladder(9)
    ends = topology.nodes.index("a"), topology.nodes.index("z")
    for kind in (CompiledNetwork, OracleNetwork):
        network = kind(topology, topology.start_balances_msat(), max_parts=max_parts, timeout_ms=1000 * timeout_s)
        paid = network.pay(*ends, 100_000_000, 1_000_000)
        assert (paid.succeeded, paid.attempts) == (attempts == 9, attempts)
        assert paid.reason == (FailureReason.NONE if paid.succeeded else FailureReason.TIMEOUT)


@settings(max_examples=120)
@given(rng=randoms)
def test_leaving_out_the_attempts_of_unroutable_payments_changes_nothing_else(rng):
    assert_leaving_out_attempts_changes_nothing_else(rng, random_topology(rng), 15)


def test_most_failed_payments_on_a_network_of_150_nodes_are_seen_to_be_unroutable():
    uncounted, failed = assert_leaving_out_attempts_changes_nothing_else(
        random.Random(2), scale_free(150, 500, seed=2), 400
    )
    assert uncounted > 0.5 * failed > 5


@pytest.mark.parametrize("public", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_networks_of_many_nodes_are_looked_over_only_after_a_first_attempt(public):
    totals = [0, 0]
    for seed in range(20):
        rng = random.Random(seed)
        topology = random_topology(rng, nodes=MANY_NODES + 10, public=public)
        found = assert_leaving_out_attempts_changes_nothing_else(rng, topology, 40)
        totals = [total + one for total, one in zip(totals, found, strict=True)]
    assert totals[0] > 0.2 * totals[1] > 2


def assert_leaving_out_attempts_changes_nothing_else(rng, topology, count):
    """Pay with and without the attempts of unroutable payments; return how many were left out, and how many failed."""
    balances = random_balances(rng, topology)
    counting = CompiledNetwork(topology, balances)
    leaving_out = CompiledNetwork(topology, balances, counts_attempts=0)
    uncounted = failed = 0
    for _ in range(count):
        payment = random_payment(rng, topology)
        expected = counting.pay(*payment)
        seen = leaving_out.pay(*payment)
        failed += not expected.succeeded and expected.attempts > 0
        if seen.attempts == UNCOUNTED:
            uncounted += 1
            assert expected.reason == FailureReason.NO_ROUTE
            seen = dataclasses.replace(seen, attempts=expected.attempts)
        assert seen == expected, payment
        assert leaving_out.balances_msat() == counting.balances_msat()
    return uncounted, failed


@pytest.mark.slow
@settings(max_examples=120)
@given(rng=randoms, max_parts=st.sampled_from([2, 3, 16]))
def test_payments_in_several_parts_equal_the_oracle_to_the_msat(rng, max_parts):
    topology, engine, oracle = both(rng, max_parts=max_parts, timeout_ms=rng.choice([200, 30_000]))
    assert_same_payments(rng, topology, engine, oracle, 15)


@pytest.mark.slow
@settings(max_examples=120)
@given(rng=randoms, max_parts=st.sampled_from([1, 1, 16]), step_ms=st.sampled_from([0, 1_000, 30_000, 600_000]))
def test_senders_that_remember_equal_the_oracle_as_time_goes_by(rng, max_parts, step_ms):
    topology, engine, oracle = both(rng, max_parts=max_parts, remember=True)
    assert_same_payments(rng, topology, engine, oracle, 25, step_ms)


@pytest.mark.slow
@settings(max_examples=200)
@given(rng=randoms)
def test_payments_over_parallel_channels_with_inbound_fees_and_disabled_ends_equal_the_oracle(rng):
    topology, engine, oracle = both(rng, public=True)
    assert_same_payments(rng, topology, engine, oracle, 15)


@pytest.mark.slow
@settings(max_examples=120)
@given(rng=randoms, max_parts=st.sampled_from([2, 3, 16]))
def test_payments_in_parts_over_such_networks_equal_the_oracle(rng, max_parts):
    topology, engine, oracle = both(rng, public=True, max_parts=max_parts)
    assert_same_payments(rng, topology, engine, oracle, 15)


@pytest.mark.slow
@settings(max_examples=120)
@given(rng=randoms, max_parts=st.sampled_from([1, 1, 16]), step_ms=st.sampled_from([0, 1_000, 30_000, 600_000]))
def test_senders_that_remember_such_networks_equal_the_oracle(rng, max_parts, step_ms):
    topology, engine, oracle = both(rng, public=True, max_parts=max_parts, remember=True)
    assert_same_payments(rng, topology, engine, oracle, 25, step_ms)


@pytest.mark.slow
def test_a_part_takes_the_channel_to_a_leaf_that_could_not_carry_the_whole():
    channels = [
        Channel(initiator="a", peer="leaf", capacity_sat=1_000_000, initiator_balance_sat=400_000),
        Channel(initiator="a", peer="b", capacity_sat=1_000_000, initiator_balance_sat=900_000),
        Channel(initiator="b", peer="c", capacity_sat=1_000_000, initiator_balance_sat=20_000),
    ]
    topology = Topology(nodes=("a", "leaf", "b", "c"), channels=tuple(channels))
    balances = topology.start_balances_msat()
    options = {"max_parts": 4, "remember": True}
    engine = CompiledNetwork(topology, balances, **options)
    oracle = OracleNetwork(topology, balances, **options)
    for target, amount_msat, attempts in ((3, 19_000_000, 1), (1, 600_000_000, 2)):
        payment = engine.pay(0, target, amount_msat, 10_000_000)
        assert payment == oracle.pay(0, target, amount_msat, 10_000_000)
        assert (payment.succeeded, payment.attempts) == (False, attempts)


@settings(max_examples=120)
@given(rng=randoms, remember=st.booleans())
def test_pinned_routes_equal_the_oracle_and_teach_the_sender_the_same(rng, remember):
    topology, engine, oracle = both(rng, remember=remember)
    for _ in range(8):
        route = random_route(rng, topology)
        amount = random_amount_msat(rng)
        assert engine.send_over(route, amount) == oracle.send_over(route, amount), (route, amount)
        assert engine.balances_msat() == oracle.balances_msat()
        assert_same_payments(rng, topology, engine, oracle, 1)


@pytest.mark.parametrize("amount_msat", [0, -1])
def test_an_amount_of_nothing_is_an_error_and_moves_no_money(amount_msat):
    _, engine, oracle = both(random.Random(1))
    assert engine.pay(0, 1, amount_msat, 0) == oracle.pay(0, 1, amount_msat, 0)
    assert engine.balances_msat() == oracle.balances_msat()


@kernel
def read_spendable(network, balances, scratch, out):
    for direction in range(out.size):
        out[direction] = spendable(network, balances, scratch.work.htlcs, direction)


@settings(max_examples=200)
@given(rng=randoms)
def test_spendable_amounts_equal_the_oracle_and_the_plain_formulas(rng):
    topology, engine, oracle = both(rng)
    out = np.zeros(2 * len(topology.channels), np.int64)
    read_spendable(engine.network, engine.flat, engine.scratch, out)
    assert out.tolist() == [oracle.bandwidth(direction, 0) for direction in range(len(out))]
    assert (out.reshape(-1, 2) == topology.spendable_msat(engine.flat.reshape(-1, 2))).all()


@settings(max_examples=100)
@given(rng=randoms)
def test_every_channel_end_can_send_what_is_spendable_and_not_one_msat_more(rng):
    topology, engine, oracle = both(rng)
    direction = rng.randrange(2 * len(topology.channels))
    policy = oracle.policy[direction]
    most = oracle.bandwidth(direction, 0)
    if policy.min_htlc_msat <= most < policy.max_htlc_msat:
        assert engine.send_over([direction], most + 1)[0] == RebalanceReason.INSUFFICIENT_LOCAL_BALANCE
        expected = oracle.send_over([direction], most)
        assert engine.send_over([direction], most) == expected


@pytest.mark.parametrize("attempt_cost", [(100, 1_000), (8, 79), (1, 0)])
@pytest.mark.parametrize("remember", [False, True])
def test_the_guided_search_finds_the_routes_of_plain_dijkstra_on_a_network_of_150_nodes(remember, attempt_cost):
    topology = scale_free(150, 500, seed=2)
    rng = random.Random(2)
    balances = random_balances(rng, topology)
    options = {"remember": remember, "attempt_cost": attempt_cost}
    engine, oracle = CompiledNetwork(topology, balances, **options), OracleNetwork(topology, balances, **options)
    assert_same_payments(rng, topology, engine, oracle, 100, step_ms=5_000)
