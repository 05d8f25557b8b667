"""Senders that hear late of changed policies: hand-computed cases, and random ones held to the plain-Python oracle."""

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lnsim_gym.backends.simulator import SimulatorBackend, prepare
from lnsim_gym.benchmarks.parity.drawing import random_amount_msat, random_route
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Policy, Topology
from lnsim_gym.network.gossip import GossipOptions
from lnsim_gym.payments import PaymentBatch, PaymentOptions, RebalanceReason
from tests.oracle.engine import CompiledNetwork
from tests.oracle.gossip import OracleGossip
from tests.oracle.network import OracleNetwork, OraclePolicy
from tests.oracle.scenarios import (
    random_balances,
    random_change,
    random_payment,
    random_topology,
)

randoms = st.randoms(use_true_random=False)
OPTIONS = (
    GossipOptions(),
    GossipOptions(trickle_seconds=20, sub_batch_seconds=0, max_update_burst=1, update_interval_seconds=600),
    GossipOptions(max_update_burst=4, update_interval_seconds=86_400),
)
pytestmark = pytest.mark.slow  # networks with links are compiled for a minute
OLD = Policy(fee_base_msat=1_000, fee_rate_ppm=0, time_lock_delta=40, min_htlc_msat=1_000)
AMOUNT_MSAT = 50_000_000
MINUTE_MS = 60_000


def assert_same(rng, topology, engine, oracle, *, public, step_ms, rounds):
    """Change policies, rebalance and pay on both networks, some time apart; return how many attempts it took."""
    now_ms = attempts = 0
    for _ in range(rounds):
        for _ in range(rng.choice([0, 1, 1, 2, 5])):
            direction, policy = random_change(rng, topology, public=public)
            for network in (engine, oracle):
                network.set_policy(direction, OraclePolicy.of(policy), now_ms)
            now_ms += rng.choice([0, rng.randint(0, step_ms)])
        route, amount = random_route(rng, topology), random_amount_msat(rng)
        assert engine.send_over(route, amount, now_ms) == oracle.send_over(route, amount, now_ms), (route, amount)
        for _ in range(2):
            now_ms += rng.choice([0, rng.randint(0, step_ms)])
            payment = random_payment(rng, topology)
            made = engine.pay(*payment, now_ms)
            assert made == oracle.pay(*payment, now_ms), payment
            attempts += made.attempts
        assert engine.balances_msat() == oracle.balances_msat()
    return attempts


@settings(max_examples=100)
@given(
    rng=randoms,
    max_parts=st.sampled_from([1, 1, 16]),
    remember=st.booleans(),
    public=st.booleans(),
    gossip=st.sampled_from(OPTIONS),
    step_ms=st.sampled_from([1_000, 60_000, 600_000, 40_000_000]),
)
def test_stale_senders_equal_the_oracle_to_the_msat(rng, max_parts, remember, public, gossip, step_ms):
    topology = random_topology(rng, public=public)
    balances = random_balances(rng, topology)
    options = {"max_parts": max_parts, "remember": remember, "gossip": gossip, "gossip_key": rng.getrandbits(64)}
    engine, oracle = (kind(topology, balances, **options) for kind in (CompiledNetwork, OracleNetwork))
    assert_same(rng, topology, engine, oracle, public=public, step_ms=step_ms, rounds=12)
    assert [OraclePolicy.of(p) for p in policies_of(topology, engine.network)] == oracle.policy


def policies_of(topology, network):
    both = prepare.with_policies(topology, network).policies
    return [
        topology.checked_policy(2 * c + side, (p.initiator, p.peer)[side])
        for c, p in enumerate(both)
        for side in (0, 1)
    ]


def line(*names, policy=OLD):
    """Channels from each node to the next, half full."""
    both = {"initiator": policy, "peer": policy}
    channels = [
        {"initiator": one, "peer": two, "capacity_sat": 1_000_000, "policies": msgspec.to_builtins(both)}
        for one, two in itertools.pairwise(names)
    ]
    return Topology.from_dict({"nodes": list(dict.fromkeys(names)), "channels": channels})


def backend_on(topology, *, options=None, gossip=OPTIONS[0], seed=7):
    backend = SimulatorBackend(topology, options, payment_ms=1_000, gossip=gossip)
    backend.draw_as(seed, 0)
    half = topology.owned_total_msat // 2
    backend.reset(np.stack([topology.owned_total_msat - half, half], axis=1))
    return backend


def pay(backend, source, target):
    """Pay once; return whether it settled, the attempts and the fee in msat."""
    ends = [backend.topology.nodes.index(name) for name in (source, target)]
    made = backend.pay(PaymentBatch(*(np.array([value], np.int64) for value in (*ends, AMOUNT_MSAT, 0))))
    return bool(made.succeeded[0]), int(made.attempts[0]), int(made.fee_msat[0])


def set_policy(backend, source, destination, **changes):
    backend.set_policy(backend.topology.direction(source, destination), msgspec.structs.replace(OLD, **changes))


def test_a_sender_three_hops_away_fails_with_the_old_fee_learns_the_new_one_and_settles():
    backend = backend_on(line(*"abcde"))
    assert pay(backend, "a", "e") == (True, 1, 3_000)
    set_policy(backend, "d", "e", fee_base_msat=9_000)
    assert pay(backend, "a", "e") == (True, 2, 11_000)  # nobody is told of a change at the moment that it is made
    assert pay(backend, "a", "e") == (True, 1, 11_000)
    assert pay(backend, "b", "e") == (True, 2, 10_000)  # what failures tell, they tell one sender


def test_a_change_needs_no_more_than_two_ticks_to_a_node_two_hops_away():
    backend = backend_on(line(*"abcde"))
    set_policy(backend, "d", "e", fee_base_msat=9_000)
    backend.wait((90 + 5 + 90) * 1_000)
    assert pay(backend, "b", "e") == (True, 1, 10_000)


def test_who_has_not_heard_of_a_lower_fee_pays_the_old_one_and_the_forwarder_keeps_it():
    backend = backend_on(line(*"abcd"))
    set_policy(backend, "b", "c", fee_base_msat=0)
    assert pay(backend, "a", "d") == (True, 1, 2_000)
    backend.wait(95_000)
    assert pay(backend, "a", "d") == (True, 1, 1_000)


@pytest.mark.parametrize(
    ("change", "fee_msat"),
    [
        ({"time_lock_delta": 41}, 2_000),
        ({"min_htlc_msat": AMOUNT_MSAT + 1_001}, None),
        ({"max_htlc_msat": 1_000_000}, None),
    ],
)
def test_every_failure_that_a_stale_policy_causes_tells_the_new_one(change, fee_msat):
    backend = backend_on(line(*"abcd"))
    set_policy(backend, "b", "c", **change)
    assert pay(backend, "a", "d") == ((True, 2, fee_msat) if fee_msat else (False, 1, 0))
    assert pay(backend, "a", "d") == ((True, 1, fee_msat) if fee_msat else (False, 0, 0))


def test_a_direction_that_was_disabled_is_used_until_its_sender_hears_of_it():
    backend = backend_on(line(*"abcd"))
    set_policy(backend, "b", "c", disabled=True)
    assert pay(backend, "a", "d") == (True, 1, 2_000)
    backend.wait(95_000)
    assert pay(backend, "a", "d") == (False, 0, 0)


def test_an_inbound_fee_is_told_by_no_failure_so_that_the_second_one_is_held_against_the_pair_before():
    """The failure holds the update of the outgoing channel; the fee that is lacking is that of the incoming one."""
    backend = backend_on(line(*"abcde"))
    set_policy(backend, "d", "c", inbound_fee_base_msat=500)
    assert pay(backend, "a", "e") == (False, 2, 0)
    backend.wait(10 * MINUTE_MS)
    assert pay(backend, "a", "e") == (True, 1, 3_500)


@pytest.mark.parametrize(("apart_ms", "expected"), [(30_000, (False, 1, 0)), (61_000, (True, 2, 12_000))])
def test_a_second_failure_within_the_minute_is_held_against_the_pair_before(apart_ms, expected):
    backend = backend_on(line(*"abcde"), options=PaymentOptions(mission_control="per_episode"))
    set_policy(backend, "d", "e", fee_base_msat=9_000)
    assert pay(backend, "a", "e") == (True, 2, 11_000)
    backend.wait(apart_ms - 1_000)
    set_policy(backend, "d", "e", fee_base_msat=10_000)
    assert pay(backend, "a", "e") == expected


def test_a_rebalance_is_priced_by_what_its_node_has_heard_of_and_learns_from_the_refusal():
    backend = backend_on(line(*"abca"))
    route = tuple(backend.topology.direction(*pair) for pair in ("ab", "bc", "ca"))
    set_policy(backend, "b", "c", fee_base_msat=9_000)
    refused = backend.rebalance(route, AMOUNT_MSAT)
    assert (refused.reason, refused.failure_source_index) == (RebalanceReason.OTHER, 1)
    assert backend.rebalance(route, AMOUNT_MSAT).fee_msat == 10_000


def test_a_rebalance_that_pays_too_much_says_what_went_over_each_hop():
    backend = backend_on(line(*"abca"))
    route = tuple(backend.topology.direction(*pair) for pair in ("ab", "bc", "ca"))
    set_policy(backend, "b", "c", fee_base_msat=0)
    result = backend.rebalance(route, AMOUNT_MSAT)
    assert result.fee_msat == 2_000
    assert result.hop_msat == (AMOUNT_MSAT + 2_000, AMOUNT_MSAT + 1_000, AMOUNT_MSAT)


def test_a_reset_restores_the_policies_and_all_know_them():
    backend = backend_on(line(*"abcde"))
    set_policy(backend, "d", "e", fee_base_msat=9_000)
    backend.reset(backend.topology.start_balances_msat())
    assert pay(backend, "a", "e") == (True, 1, 3_000)


def test_where_all_hear_at_once_nobody_fails():
    backend = backend_on(line(*"abcde"), gossip=None)
    set_policy(backend, "d", "e", fee_base_msat=9_000)
    assert pay(backend, "a", "e") == (True, 1, 11_000)


def announcements(options, *times_ms):
    """Let one node change one policy at given times; return when each change leaves it."""
    gossip = OracleGossip(options, [0, 1], [1, 0])
    for number, now_ms in enumerate(times_ms):
        gossip.announce(0, number, number + 1, now_ms)
    return [one.out_ms for one in gossip.announced[0]]


def test_of_the_changes_between_two_ticks_only_the_last_goes_out():
    first, second, third = announcements(GossipOptions(), 0, 1, 90_001)
    assert (first, second, third - second) == (None, third - 90_000, 90_000)


def test_lnds_receivers_take_whatever_its_ticks_let_out():
    out_ms = announcements(GossipOptions(), *range(0, 9_000_000, 90_000))
    assert all(later - earlier == 90_000 for earlier, later in itertools.pairwise(out_ms))


def test_core_lightnings_receivers_take_four_changes_and_the_fifth_a_day_later():
    *four, fifth = announcements(OPTIONS[2], *range(0, 450_000, 90_000))
    assert four == list(range(four[0], four[0] + 360_000, 90_000))
    assert fifth == four[-1] + 90_000 + 86_400_000


def test_a_network_with_more_changes_than_there_is_room_for_takes_the_oldest_as_heard_of(monkeypatch):
    monkeypatch.setattr(prepare, "FEWEST_CHANGES", 2)
    backend = backend_on(line(*"abcde"))
    for source, destination in ("de", "cd", "bc"):
        set_policy(backend, source, destination, fee_base_msat=2_000)
    assert pay(backend, "a", "e") == (True, 3, 6_000)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"trickle_seconds": 0}, r"gossip\.trickle_seconds must lie in 1\.\.86,400, got 0"),
        ({"max_update_burst": 0}, r"gossip\.max_update_burst must lie in 1\.\.1,000,000, got 0"),
    ],
)
def test_delays_out_of_range_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        GossipOptions(**settings)
