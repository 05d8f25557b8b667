"""The environment on the simulator and on real nodes: the same seed and actions give the same episode."""

from __future__ import annotations

import contextlib
import random
import signal
from pathlib import Path

import gymnasium as gym
import numpy as np
import psutil
import pytest
from gymnasium.utils.env_checker import data_equivalence

from lnsim_gym import parallel_env
from lnsim_gym.backends.lnd.nodes.folders import records
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.errors import BackendLost
from lnsim_gym.records.replay import replay
from lnsim_gym.records.trace import TraceWriter, read_trace
from lnsim_gym.tasks.config import EnvironmentConfig
from tests.parity.drawing import fresh_seed, random_network, ties_met

pytestmark = [pytest.mark.lnd, pytest.mark.timeout(300)]

PER_RUN = ("reset_rung", "reset_seconds")
"""Entries of info on how the backend was made ready, which is each backend's own business."""
VARIATIONS = {
    "push": {},
    "circular": {"operation": "circular", "action_sizes": [0.02, 0.1, 0.3]},
    "flows": {"observation": "flows", "action": "multidiscrete", "reward": {"success_rate": 1.0, "volume_rate": 0.5}},
}
LIVELY = {"payments_per_step": 8, "traffic": {"median_amount_sat": 100_000.0}}
"""Few payments, large enough that some fail."""


@pytest.fixture
def make_pair(live_launcher):
    """Make an environment twice, simulated and live; both are closed in the end."""
    with contextlib.ExitStack() as closing:

        def make(name="LightningNet-v0", **settings):
            simulated = gym.make(name, backend="simulator", **settings)
            live = gym.make(name, backend="lnd", lnd={"launcher": live_launcher}, **settings)
            return closing.enter_context(simulated), closing.enter_context(live)

        yield make


def comparable(info):
    return {key: value for key, value in info.items() if key not in PER_RUN}


def assert_same(simulated, live, expected, got):
    """Compare what two environments returned, and their balances."""
    *expected, expected_info = expected
    *got, got_info = got
    assert data_equivalence(tuple(expected), tuple(got))
    assert comparable(expected_info).keys() == comparable(got_info).keys()
    for key, value in comparable(expected_info).items():
        assert data_equivalence(value, got_info[key]), (key, value, got_info[key])
    assert np.array_equal(simulated.unwrapped.balances_msat(), live.unwrapped.balances_msat())


def reset_both(simulated, live, **options):
    assert_same(simulated, live, simulated.reset(**options), live.reset(**options))


def step_both(simulated, live, steps):
    """Do the same random actions in both and compare every step; return the infos."""
    infos = []
    for _ in range(steps):
        action = simulated.action_space.sample()
        expected = simulated.step(action)
        assert_same(simulated, live, expected, live.step(action))
        infos.append(expected[-1])
    return infos


@pytest.mark.parametrize("variation", VARIATIONS)
def test_the_same_seed_and_actions_give_the_same_episodes(make_pair, variation):
    simulated, live = make_pair(**LIVELY, **VARIATIONS[variation], start_balances={"low": 0.2, "high": 0.8})
    simulated.action_space.seed(5)
    reset_both(simulated, live, seed=21)
    infos = step_both(simulated, live, 6)
    reset_both(simulated, live)
    infos += step_both(simulated, live, 3)
    assert [info["episode_number"] for info in infos] == [0] * 6 + [1] * 3
    assert 0 < sum(info["succeeded"] for info in infos) < 9 * 8
    assert any(info["rebalance"]["applied_sat"] for info in infos)


def test_the_classic_environment_is_the_same_on_both(make_pair):
    simulated, live = make_pair("LightningNetClassic-v0")
    simulated.action_space.seed(2)
    reset_both(simulated, live, seed=1)
    infos = step_both(simulated, live, 4)
    assert any(info["rebalance"]["refused"] for info in infos) or any(info["succeeded"] < 10 for info in infos)
    assert data_equivalence(simulated.unwrapped.last_batch(), live.unwrapped.last_batch())


def kill_node(env, name):
    """Kill a node's daemon as a crash would."""
    folder = Path(env.unwrapped.network_record()[0]["tls_cert_path"]).parent.parent
    record = next(each for each in records() if Path(each.folder) == folder)
    pid, _ = record.details["pids"][name]
    process = psutil.Process(int(pid))
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)


@pytest.fixture
def needs_processes(live_launcher):
    if live_launcher != "process":
        pytest.skip("kills daemons by their process id")


@pytest.mark.usefixtures("needs_processes")
def test_a_killed_node_truncates_the_episode_and_the_next_reset_repairs(make_pair):
    simulated, live = make_pair(**LIVELY, start_balances={"low": 0.2, "high": 0.8})
    simulated.action_space.seed(7)
    reset_both(simulated, live, seed=3)
    step_both(simulated, live, 1)
    last = live.step(0)[0]
    balances = live.unwrapped.balances_msat()
    kill_node(live, "carol")
    observation, reward, terminated, truncated, info = live.step(1)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert np.array_equal(observation, last)
    assert np.array_equal(live.unwrapped.balances_msat(), balances)
    assert "Backend" in info["backend_error"]
    assert (info["step"], info["succeeded"], info["volume_sat"]) == (2, 0, 0)
    assert not any(info["rewards"].values())
    expected = simulated.reset()
    got = live.reset()
    assert got[1]["reset_rung"] in ("snapshot", "rebuild")
    assert_same(simulated, live, expected, got)
    infos = step_both(simulated, live, 3)
    assert not any(info["backend_error"] for info in infos)


@pytest.mark.usefixtures("needs_processes")
def test_a_killed_node_raises_when_asked_to(make_pair):
    _, live = make_pair(**LIVELY, on_fault="raise")
    live.reset(seed=3)
    kill_node(live, "alice")
    with pytest.raises(BackendLost, match="alice"):
        live.step(0)
    live.reset()
    *_, truncated, info = live.step(0)
    assert not truncated
    assert info["backend_error"] == ""


def unseen_network(rng):
    """Draw topologies until one is small enough."""
    while True:
        topology = random_network(rng)
        if len(topology.nodes) <= 9:
            return topology.to_dict()


def test_a_fresh_trace_of_an_unseen_network_is_replayed_by_the_simulator(live_launcher, tmp_path):
    rng = fresh_seed()
    operation = random.Random(rng.random()).choice(["push", "circular"])
    settings = {**LIVELY, "topology": unseen_network(rng), "operation": operation, "circular_max_hops": 5}
    live = gym.make("LightningNet-v0", backend="lnd", lnd={"launcher": live_launcher}, **settings)
    network = live.unwrapped
    writer = TraceWriter(tmp_path / "t", network.topology, network.config.payment, backend="lnd", config=settings)
    with RecordEpisodes(live, [writer]) as recorded:
        recorded.action_space.seed(rng.randrange(2**31))
        recorded.reset(seed=rng.randrange(2**31))
        for _ in range(8):
            *_, info = recorded.step(recorded.action_space.sample())
            assert info["backend_error"] == ""
    trace = read_trace(writer.path)
    assert EnvironmentConfig.of(trace.header.config).operation == operation
    steps = trace.episodes[0].steps
    payment = trace.header.payment
    assert len(steps) == 8
    left_to_chance = [
        step.step
        for step in steps
        if ties_met(trace.topology, payment, step.balances_after_rebalance_msat, trace.batch(step))
    ]
    differences = replay(trace, SimulatorBackend(trace.topology, payment))
    assert [str(each) for each in differences if each.step not in left_to_chance] == []
    assert len(left_to_chance) <= 1


def test_every_node_acts_on_real_nodes_as_in_the_simulator(live_launcher):
    pytest.importorskip("pettingzoo", reason="needs the extra 'pettingzoo'")
    simulated = parallel_env("LightningNet-v0", **LIVELY)
    live = parallel_env("LightningNet-v0", backend="lnd", lnd={"launcher": live_launcher}, **LIVELY)
    with contextlib.closing(simulated), contextlib.closing(live):
        (expected, infos), (got, _) = simulated.reset(seed=8), live.reset(seed=8)
        assert data_equivalence(expected, got)
        for number, agent in enumerate(simulated.agents):
            simulated.action_space(agent).seed(number)
        for _ in range(4):
            deeds = {
                agent: simulated.action_space(agent).sample(infos[agent]["action_mask"]) for agent in simulated.agents
            }
            *expected, infos = simulated.step(deeds)
            *got, live_infos = live.step(deeds)
            assert data_equivalence(tuple(expected), tuple(got))
            assert all(data_equivalence(comparable(infos[agent]), comparable(live_infos[agent])) for agent in infos)
            np.testing.assert_array_equal(simulated.network.balances_msat(), live.network.balances_msat())
        assert sum(info["rebalance"]["applied_sat"] > 0 for info in infos.values()) > 1
