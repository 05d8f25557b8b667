"""The simulator against real LND on random networks: every outcome and every balance equal to the msat."""

import copy
import itertools
import os
import time

import numpy as np
import pytest

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.benchmarks.parity.deeds import record
from lnsim_gym.benchmarks.parity.drawing import random_amount_msat, random_policy, random_route
from lnsim_gym.benchmarks.parity.possible import judge
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.payments import PaymentBatch, PaymentOptions
from tests.oracle.engine import CompiledNetwork, first_payment
from tests.oracle.network import OracleNetwork
from tests.parity.deeds import assert_adds_up
from tests.parity.drawing import fee_limit_msat, fresh_seed, random_network, ties_met

pytestmark = pytest.mark.lnd

PAYMENTS = int(os.environ.get("LNSIM_PARITY_PAYMENTS", "240"))
BATCH = 20


def random_batch(rng, topology, options, balances_msat, size=BATCH):
    """Draw payments until LND meets no ties in them."""
    while True:
        rows = [
            [*rng.sample(range(len(topology.nodes)), 2), random_amount_msat(rng, 900_000_000), 0] for _ in range(size)
        ]
        batch = PaymentBatch(*np.array(rows, np.int64).T)
        if not ties_met(topology, options, balances_msat, batch):
            return batch
        print("redrawn: ties")


def assert_equal(live, simulated, batch, fields):
    for name in fields:
        expected = getattr(live, name)
        got = getattr(simulated, name)
        for row in range(len(batch.source)):
            what = [int(column[row]) for column in batch[:3]]
            assert np.array_equal(expected[row], got[row]), (name, what, expected[row], got[row])


FIELDS = ("succeeded", "failure_reason", "attempts", "fee_msat", "parts", "part_amount_msat", "part_route")


@pytest.mark.timeout(580)
def test_payments_and_pushes_and_cycles_give_what_real_nodes_give(live_launcher):
    rng = fresh_seed()
    topology = random_network(rng)
    options = PaymentOptions(
        fee_limit_ppm=rng.choice([5_000, 50_000, 500_000]), fee_limit_base_sat=rng.choice([0, 1000])
    )
    simulator = SimulatorBackend(topology, options)
    with LndBackend(topology, options, LndSettings(launcher=live_launcher)) as live:
        simulator.reset(live.balances_msat())
        for _ in range(PAYMENTS // BATCH):
            assert_same_batch(rng, topology, options, live, simulator)
            assert_same_rebalance(rng, topology, live, simulator)


@pytest.mark.timeout(580)
def test_payments_and_rebalances_among_changes_of_policy_give_what_real_nodes_give(live_launcher):
    rng = fresh_seed()
    topology = current = random_network(rng)
    options = PaymentOptions(fee_limit_ppm=rng.choice([5_000, 50_000, 500_000]))
    simulator = SimulatorBackend(topology, options)
    with LndBackend(topology, options, LndSettings(launcher=live_launcher)) as live:
        simulator.reset(live.balances_msat())
        for _ in range(PAYMENTS // BATCH // 2):
            for direction in rng.sample(range(2 * len(topology.channels)), 3):
                policy = random_policy(rng, topology.channels[direction // 2].capacity_sat, uneven_fees=True)
                current = current.with_policy(direction, policy)
                for backend in (live, simulator):
                    backend.set_policy(direction, policy)
            assert_same_batch(rng, current, options, live, simulator)
            assert_same_rebalance(rng, current, live, simulator)
        for backend in (live, simulator):
            backend.reset(simulator.balances_msat())
        assert_same_batch(rng, topology, options, live, simulator)


@pytest.mark.timeout(580)
def test_senders_with_another_attempt_cost_do_what_those_of_real_nodes_do(live_launcher):
    """Half of the payments or so go another way than with lnd's own cost."""
    rng = fresh_seed()
    topology = random_network(rng)
    sat, ppm = rng.choice([(8, 79), (1, 0), (3_000, 0), (100, 50_000)])
    options = PaymentOptions(fee_limit_ppm=500_000, attempt_cost_sat=sat, attempt_cost_ppm=ppm)
    usual = SimulatorBackend(topology, PaymentOptions(fee_limit_ppm=500_000))
    simulator, otherwise = SimulatorBackend(topology, options), 0
    with LndBackend(topology, options, LndSettings(launcher=live_launcher)) as live:
        simulator.reset(live.balances_msat())
        for _ in range(PAYMENTS // BATCH):
            usual.reset(simulator.balances_msat())
            batch = random_batch(rng, topology, options, simulator.balances_msat())
            seen = live.pay(batch)
            assert_equal(seen, simulator.pay(batch), batch, FIELDS)
            assert np.array_equal(live.balances_msat(), simulator.balances_msat())
            otherwise += (usual.pay(batch).part_route != seen.part_route).any(axis=(1, 2)).sum()
    print(f"attempt cost {sat} sat and {ppm} ppm: {otherwise} payments went another way than with lnd's own")
    assert otherwise > 0


def assert_same_batch(rng, topology, options, live, simulator):
    """Make payments without ties on both networks, whose policies are the topology's."""
    batch = random_batch(rng, topology, options, simulator.balances_msat())
    assert_equal(live.pay(batch), simulator.pay(batch), batch, FIELDS)
    assert np.array_equal(live.balances_msat(), simulator.balances_msat())


def assert_same_rebalance(rng, topology, live, simulator):
    """Send an amount over a random route of both networks."""
    route = random_route(rng, topology)
    amount = random_amount_msat(rng, 500_000_000)
    sent = live.rebalance(route, amount)
    simulated = simulator.rebalance(route, amount)
    assert (sent.applied_msat, sent.fee_msat, sent.reason) == (
        simulated.applied_msat,
        simulated.fee_msat,
        simulated.reason,
    ), (route, amount, sent.detail)
    assert np.array_equal(live.balances_msat(), simulator.balances_msat())


@pytest.mark.timeout(580)
def test_payments_in_parts_end_as_the_simulator_says_where_it_says_one_thing_only(live_launcher):
    """Parts run into each other in the order of real time: the simulator draws its times to meet all orders.

    Where it gives one outcome whatever it draws, nodes must give that. Where it gives several, times of real nodes may
    lead to others still; these are counted, as ``lnsim bench parity`` does, and must add up.
    """
    rng = fresh_seed()
    topology = random_network(rng)
    options = PaymentOptions(max_parts=16)
    split = beyond = 0
    with LndBackend(topology, options, LndSettings(launcher=live_launcher)) as live:
        for deed in record(rng, live, PAYMENTS // 4):
            assert_adds_up(deed)
            judgement = judge(deed, options)
            drawn = len(judgement.outcomes)
            assert judgement.possible or drawn > 1, (deed, deed.done, judgement.outcomes.most_common(5))
            split += deed.done.attempts > 1
            beyond += not judgement.possible
    print(f"{split} payments took several attempts, {beyond} ended as no drawn times made them end")
    assert split > 0


REMEMBERING_S = 40.0
"""Shorter than the minute in which LND ignores failures at higher amounts, so that no time limit is ever near."""


@pytest.mark.timeout(580)
def test_senders_that_remember_learn_what_those_of_real_nodes_learn(live_launcher):
    """Failures fade as time goes by, so the engine is told what time it is."""
    rng = fresh_seed()
    topology = random_network(rng)
    options = PaymentOptions(mission_control="per_episode")
    made = refused_at_once = 0
    with LndBackend(topology, options, LndSettings(launcher=live_launcher)) as live:
        live.reset(topology.start_balances_msat())
        engine = CompiledNetwork(topology, live.balances_msat(), remember=True)
        oracle = OracleNetwork(topology, live.balances_msat(), remember=True)
        start_s = time.monotonic()
        while made < PAYMENTS and time.monotonic() < start_s + REMEMBERING_S:
            source, destination = rng.sample(range(len(topology.nodes)), 2)
            amount_msat = random_amount_msat(rng, 500_000_000)
            now_ms = int(1000 * (time.monotonic() - start_s))
            what = source, destination, amount_msat, fee_limit_msat(options, amount_msat), now_ms
            trial = copy.deepcopy(oracle)
            trial.ties = 0
            trial.pay(*what)
            if trial.ties:
                continue
            oracle = trial
            expected = engine.pay(*what)
            seen = first_payment(live.pay(PaymentBatch(*np.array([[*what[:3], 0]]).T)))
            assert seen == expected, (made, what)
            assert live.balances_msat().tolist() == engine.balances_msat()
            made += 1
            refused_at_once += not seen.succeeded and seen.attempts == 0
    print(f"{made} payments, {refused_at_once} of them refused without an attempt")
    assert made >= 20


@pytest.mark.slow
@pytest.mark.timeout(580)
def test_the_longest_routes_are_those_of_real_nodes(live_launcher):
    """A sender that learns of one hop after another along a row of nodes."""
    policy = Policy(fee_base_msat=0, fee_rate_ppm=0, min_htlc_msat=1)
    names = tuple(f"n{index}" for index in range(27))
    channels = tuple(
        Channel(
            initiator=one,
            peer=other,
            capacity_sat=1_000_000,
            policies=ChannelPolicies(initiator=policy, peer=policy),
        )
        for one, other in itertools.pairwise(names)
    )
    topology = Topology(nodes=names, channels=channels)
    options = PaymentOptions(mission_control="per_episode")
    rows = [(0, target, amount_msat, 0) for amount_msat in (20_000_000, 255) for target in range(1, len(names))]
    batch = PaymentBatch(*np.array(rows, np.int64).T)
    simulated = SimulatorBackend(topology, options)
    with LndBackend(topology, options, LndSettings(launcher=live_launcher)) as live:
        simulated.reset(live.balances_msat())
        outcomes = live.pay(batch)
        assert_equal(outcomes, simulated.pay(batch, outcomes.time_ms), batch, FIELDS)
    assert np.flatnonzero(~outcomes.succeeded).tolist() == [24, 25, 51]
