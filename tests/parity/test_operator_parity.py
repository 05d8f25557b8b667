"""The operator's environment on the simulator and on real nodes: the same seed and actions give the same episode."""

from __future__ import annotations

import contextlib
import random
import signal
from collections import Counter
from pathlib import Path

import gymnasium as gym
import msgspec
import numpy as np
import psutil
import pytest
from gymnasium.utils.env_checker import data_equivalence

from lnsim_gym.backends.lnd.nodes.folders import records
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.backends.lnd.rpc.thread import run
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.limits import max_value_in_flight_msat
from tests.parity.drawing import fresh_seed, ties_met

pytestmark = [pytest.mark.lnd, pytest.mark.timeout(580)]

STEPS = 6
PER_RUN = ("reset_rung", "reset_seconds")
"""Entries of info on how the backend was made ready, which is each backend's own business."""
SETTINGS = {
    "payments_per_step": 10,
    "max_episode_steps": STEPS,
    "traffic": {"kind": "market", "payments_per_day": 200},
    "rebalances_per_step": 3,
    "start_balances": {"low": 0.2, "high": 0.8},
}


def operators_network(rng):
    """Draw a connected network of 7..8 nodes in which one, ``own``, has four peers and uneven fees are the rule."""
    names = ["own", *(f"n{index}" for index in range(rng.randint(6, 7)))]
    peers = rng.sample(range(1, len(names)), 4)
    pairs = {(0, peer) for peer in peers} | {(rng.randint(1, node - 1), node) for node in range(2, len(names))}
    while len(pairs) < len(names) + 5:
        pairs.add(tuple(sorted(rng.sample(range(1, len(names)), 2))))
    channels = []
    for pair in sorted(pairs):
        initiator, peer = rng.sample(pair, 2)
        capacity_sat = rng.randint(1_000_000, 4_000_000)
        policies = [random_policy(rng, capacity_sat) for _ in range(2)]
        channels.append(
            Channel(
                initiator=names[initiator],
                peer=names[peer],
                capacity_sat=capacity_sat,
                policies=ChannelPolicies(initiator=policies[0], peer=policies[1]),
            )
        )
    return Topology(nodes=tuple(names), channels=tuple(channels))


def random_policy(rng, capacity_sat):
    """Draw a policy as operators have them, with an inbound discount now and then."""
    inbound_ppm = -rng.randint(1, 800) if rng.random() < 0.3 else 0
    return Policy(
        fee_base_msat=rng.randint(0, 5_000),
        fee_rate_ppm=rng.randint(1, 1_500),
        time_lock_delta=rng.choice([24, 40, 80, 144]),
        max_htlc_msat=rng.choice([None, None, int(max_value_in_flight_msat(capacity_sat)) // 3]),
        inbound_fee_rate_ppm=inbound_ppm,
    )


def simulated_episode(topology, seed):
    """Play random actions on the simulator: what it returned, what was done; None where LND would meet ties."""
    env = gym.make("LightningOperatorLive-v0", backend="simulator", topology=topology.to_dict(), **SETTINGS)
    with contextlib.closing(env):
        inner = env.unwrapped
        env.action_space.seed(seed)
        played = [("reset", env.reset(seed=seed), inner.balances_msat(), inner.columns.forwards.copy())]
        met = Counter()
        for _ in range(STEPS):
            action = env.action_space.sample()
            got = env.step(action)
            before = inner._episodes._state.columns.served_from_msat[0].reshape(-1, 2)
            if ties_met(inner.topology, inner.config.payment, before, inner.last_batch()):
                return None
            counts = inner.columns.forwards.copy()
            played.append((action, got, inner.balances_msat(), counts))
            met.update(rebalanced=sum(each["applied_sat"] > 0 for each in got[-1]["rebalances"]))
            met.update(refused=sum(each["refused"] for each in got[-1]["rebalances"]))
            met.update(settled=counts[0, :, 2].sum(), failed=counts[0, :, 6:].sum())
            met.update(changes=got[-1]["ledger"]["fee_changes"], income=got[-1]["ledger"]["income_msat"])
        return played, met


def lively_episode(rng):
    """Draw networks until much happens at the own node of one, and LND has no choice."""
    while True:
        topology, seed = operators_network(rng), rng.randrange(2**31)
        try:
            episode = simulated_episode(topology, seed)
        except ConfigError:  # nobody would pay through it
            continue
        if episode is not None and all(episode[1][name] for name in ("rebalanced", "refused", "settled", "failed")):
            return topology, seed, *episode


@pytest.fixture(scope="module")
def played(live_launcher):
    """A fresh random network with an episode on the simulator, and the same environment on real nodes."""
    topology, seed, episode, met = lively_episode(fresh_seed())
    print(f"{len(topology.nodes)} nodes, {len(topology.channels)} channels, seed {seed}: {dict(met)}")
    env = gym.make("LightningOperatorLive-v0", topology=topology.to_dict(), lnd={"launcher": live_launcher}, **SETTINGS)
    with contextlib.closing(env):
        yield env, seed, episode


def comparable(info):
    return {key: value for key, value in info.items() if key not in PER_RUN}


def assert_same(live, expected, got, balances_msat, counts):
    """Compare what two environments returned, their balances, and what the own node counted."""
    *expected, expected_info = expected
    *got, got_info = got
    for key, value in comparable(expected_info).items():
        assert data_equivalence(value, got_info[key]), (key, value, got_info[key])
    np.testing.assert_array_equal(live.unwrapped.columns.forwards, counts)
    assert data_equivalence(tuple(expected), tuple(got))
    np.testing.assert_array_equal(live.unwrapped.balances_msat(), balances_msat)


def own_funds_sat(env):
    """What lnd itself lists as its own, commitment fees and anchors left out as they never change."""
    record = next(each for each in env.unwrapped.network_record() if each["name"] == "own")
    client = NodeClient(msgspec.convert(record, NodeEndpoint), 10.0)

    async def listed():
        try:
            return (await client.call(rpc.LIST_CHANNELS)).channels
        finally:
            await client.close()

    channels = run(listed())
    return sum(channel.local_balance for channel in channels), len(channels)


def test_an_episode_is_the_same_on_real_nodes_and_its_ledger_is_lnds(played):
    env, seed, episode = played
    (_, expected, balances_msat, counts), *steps = episode
    env.reset(seed=seed + 1)  # leaves other balances behind
    env.step(env.action_space.sample())  # and other policies
    assert_same(env, expected, env.reset(seed=seed), balances_msat, counts)
    wallet_msat = 1000 * env.unwrapped.config.wallet_sat
    for action, expected, balances_msat, counts in steps:
        got = env.step(action)
        assert_same(env, expected, got, balances_msat, counts)
        ledger = got[-1]["ledger"]
        assert got[1] == pytest.approx((ledger["income_msat"] - ledger["rebalance_fee_msat"]) / 1000, abs=1e-6)
        listed_sat, channels = own_funds_sat(env)
        assert 0 <= ledger["funds_msat"] - wallet_msat - 1000 * listed_sat < 1000 * channels  # it lists whole sat


def test_rebalances_whose_route_is_found_end_alike(played):
    env, seed, _ = played
    env.reset(seed=seed)
    rng, live, topology = random.Random(seed), env.unwrapped._episodes.backend, env.unwrapped.problem.topology
    simulator = SimulatorBackend(topology, env.unwrapped.config.payment)
    simulator.reset(live.balances_msat())
    source = topology.arrays.source
    reasons = Counter()
    for _ in range(30):
        ends = np.flatnonzero(source == rng.randrange(len(topology.nodes))).tolist()
        if len(ends) < 2:
            continue
        leave, back = rng.sample(ends, 2)
        amount_msat = 1000 * int(10 ** rng.uniform(3, 6.4))
        limit_msat = amount_msat * rng.choice([0, 300, 3_000, 30_000]) // 1_000_000
        asked = leave, back ^ 1, amount_msat, limit_msat, rng.choice([1, 2, 10])
        (seen, route), (expected, its) = live.rebalance_around(*asked), simulator.rebalance_around(*asked)
        got = seen.applied_msat, seen.fee_msat, seen.reason, seen.failure_source_index, route
        assert got == (
            expected.applied_msat,
            expected.fee_msat,
            expected.reason,
            expected.failure_source_index,
            its,
        ), (asked, seen.detail)
        np.testing.assert_array_equal(live.balances_msat(), simulator.balances_msat())
        reasons[seen.reason.name] += 1
    print(dict(reasons))
    assert len(reasons) > 2


@pytest.mark.usefixtures("played")
def test_a_lost_node_ends_the_episode_and_the_next_reset_repairs(live_launcher, played):
    if live_launcher != "process":
        pytest.skip("kills a daemon by its process id")
    env, seed, episode = played
    env.reset(seed=seed)
    last = env.step(episode[1][0])[0]
    folder = Path(env.unwrapped.network_record()[0]["tls_cert_path"]).parent.parent
    found = next(each for each in records() if Path(each.folder) == folder)
    process = psutil.Process(int(found.details["pids"]["own"][0]))
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    observation, reward, _, truncated, info = env.step(episode[2][0])
    assert (reward, truncated) == (0.0, True)
    assert "Backend" in info["backend_error"]
    assert data_equivalence(observation, last)
    (_, expected, balances_msat, counts), (action, after, moved_msat, counted), *_ = episode
    assert_same(env, expected, env.reset(seed=seed), balances_msat, counts)
    assert_same(env, after, env.step(action), moved_msat, counted)


@pytest.mark.slow
def test_senders_of_another_attempt_cost_and_liquidity_at_replacement_cost_are_the_same_on_real_nodes(live_launcher):
    """The attempt cost of the simulated environments, which the nodes are started with."""
    settings = {
        "payment": {"timeout_seconds": 30, "attempt_cost_sat": 8, "attempt_cost_ppm": 79},
        "liquidity_value": "replacement_cost",
        "traffic": {"kind": "market", "payments_per_day": 400},
        "payments_per_step": 60,
    }
    live, simulated = (
        gym.make("LightningOperatorLive-v0", backend=backend, lnd=lnd, **settings)
        for backend, lnd in (("lnd", {"launcher": live_launcher}), ("simulator", {}))
    )
    with contextlib.closing(live), contextlib.closing(simulated):
        for env in (live, simulated):
            env.reset(seed=5)
        charged = 0
        for step in range(4):
            fees = {"fee_rate_ppm": [10 * step] * 5, "fee_base_msat": [0] * 5}
            action = {**fees, "rebalance": [[step, (step + 2) % 5, 50_000, 20_000], [-1, 0, 0, 0]]}
            expected = simulated.step(action)
            counts = simulated.unwrapped.columns.forwards.copy()
            assert_same(live, expected, live.step(action), simulated.unwrapped.balances_msat(), counts)
            charged += expected[-1]["rewards"]["replacement_sat"] != 0
        assert charged > 0
