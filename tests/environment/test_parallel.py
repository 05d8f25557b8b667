"""Every node is an agent: PettingZoo's own checks, and the episodes of the single environment to the millisatoshi."""

from __future__ import annotations

import copy
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

import lnsim_gym
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.episodes.backed import BackendEpisodes
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network import Topology
from lnsim_gym.tasks.liquidity.actions import ExactRebalance

pettingzoo_test = pytest.importorskip("pettingzoo.test", reason="needs the extra 'pettingzoo'")

ID = "LightningNet-v0"
SETTINGS = [
    {},
    {"observation": "averages", "mask_in_observation": True},
    {
        "operation": "circular",
        "reward": "profit",
        "topology": "scale_free(nodes = 8, channels = 13, seed = 7)",
        "observation": "flows",
    },
]


def sampled(env, infos):
    return {agent: env.action_space(agent).sample(infos[agent]["action_mask"]) for agent in env.agents}


def seeded(env, seed):
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(seed + number)


@pytest.mark.parametrize("settings", SETTINGS)
def test_pettingzoo_finds_nothing_wrong(settings, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pettingzoo_test.parallel_api_test(lnsim_gym.parallel_env(ID, max_episode_steps=20, **settings), num_cycles=50)
        pettingzoo_test.parallel_seed_test(lambda: lnsim_gym.parallel_env(ID, max_episode_steps=20, **settings))


@pytest.mark.parametrize("settings", [{}, {"operation": "circular", "rebalance_fee_limit_ppm": 300}])
def test_the_same_deeds_move_the_same_money_as_in_the_single_environment(settings):
    single = gym.make(ID, reward="profit", **settings).unwrapped
    parallel = lnsim_gym.parallel_env(ID, reward="profit", shared_reward=True, **settings)
    single.reset(seed=11)
    parallel.reset(seed=11)
    network, rng = parallel.network, np.random.default_rng(0)
    payers = network.topology.arrays.source[network.problem.task.routes.directions[:, 0]]
    refusals = 0
    for _ in range(60):
        row = int(rng.integers(len(payers)))
        size = int(rng.integers(3))
        place = int(np.flatnonzero(np.flatnonzero(payers == payers[row]) == row)[0])
        _, expected, *_ = single.step(1 + 3 * row + size)
        payer = parallel.possible_agents[payers[row]]
        _, rewards, _, _, infos = parallel.step({payer: 1 + 3 * place + size})
        assert set(rewards.values()) == {expected}
        np.testing.assert_array_equal(network.balances_msat(), single.balances_msat())
        np.testing.assert_array_equal(parallel.state(), single.columns.observation[0])
        assert infos[payer]["rebalance"]["reason"] == single.last_rebalance()[2].reason.name
        refusals += infos[payer]["rebalance"]["refused"]
    assert 0 < refusals < 60


def test_rebalances_of_a_step_are_done_in_the_order_of_the_nodes_before_its_payments():
    parallel = lnsim_gym.parallel_env(ID)
    _, infos = parallel.reset(seed=5)
    network, task = parallel.network, parallel.network.problem.task
    backend = SimulatorBackend(network.topology, network.config.payment)
    seeded(parallel, 0)
    for _ in range(20):
        backend.reset(network.balances_msat())
        _, _, _, _, infos = parallel.step(sampled(parallel, infos))
        done = network.interventions()
        payers = [network.topology.arrays.source[one.route[0]] for one in done]
        assert payers == sorted(set(payers))
        assert [backend.rebalance(one.route, one.amount_msat).reason for one in done] == [
            one.result.reason for one in done
        ]
        outcomes = backend.pay(network.last_batch())
        np.testing.assert_array_equal(outcomes.succeeded, network.last_outcomes().succeeded)
        np.testing.assert_array_equal(backend.balances_msat(), network.balances_msat())
        assert sum(info["rebalance"]["applied_sat"] for info in infos.values()) == (
            task.rebalance_tally(network.columns.ledger).applied_msat[0] // 1000
        )


@pytest.mark.parametrize("settings", SETTINGS)
def test_any_backend_plays_the_episodes_of_the_simulator(settings):
    parallel = lnsim_gym.parallel_env(ID, **settings)
    other = lnsim_gym.parallel_env(ID, **settings)
    problem = other.network.problem
    other.network._episodes = BackendEpisodes(problem, SimulatorBackend(problem.topology, problem.config.payment))
    other.network._bind()
    seen, infos = parallel.reset(seed=2)
    assert data_equivalence(other.reset(seed=2)[0], seen)
    seeded(parallel, 1)
    for _ in range(15):
        actions = sampled(parallel, infos)
        *result, infos = parallel.step(actions)
        *its, _ = other.step(actions)
        assert data_equivalence(result, its)
        np.testing.assert_array_equal(other.network.balances_msat(), parallel.network.balances_msat())


def test_what_nodes_are_paid_adds_up_to_what_the_network_is_paid():
    own = lnsim_gym.parallel_env(ID, reward={"success_rate": 1.0, "volume_rate": 0.5, "routing_fees_sat": 0.1})
    shared = lnsim_gym.parallel_env(ID, reward=own.network.config.reward, shared_reward=True)
    _, infos = own.reset(seed=3)
    shared.reset(seed=3)
    seeded(own, 2)
    for _ in range(20):
        actions = sampled(own, infos)
        _, rewards, _, _, infos = own.step(actions)
        _, whole, *_ = shared.step(actions)
        assert len(set(whole.values())) == 1
        assert sum(rewards.values()) == pytest.approx(whole["alice"])
        assert sum(info["payments"] for info in infos.values()) == 20


def test_a_node_is_paid_its_own_profit():
    env = lnsim_gym.parallel_env(ID, reward="profit", operation="circular")
    _, infos = env.reset(seed=0)
    seeded(env, 3)
    paid = 0
    for _ in range(30):
        _, rewards, _, _, infos = env.step(sampled(env, infos))
        for agent, info in infos.items():
            assert rewards[agent] == pytest.approx((info["earned_msat"] - info["rebalance"]["fee_msat"]) / 1000)
            paid += info["rebalance"]["fee_msat"]
    assert paid > 0


def test_a_node_sees_its_own_balances_and_what_is_announced_of_its_channels():
    topology = Topology.from_dict(
        {
            "nodes": ["hub", "left", "right"],
            "channels": [
                {"initiator": "hub", "peer": "left", "capacity_sat": 1_000_000},
                {"initiator": "right", "peer": "hub", "capacity_sat": 500_000},
            ],
        }
    )
    env = lnsim_gym.parallel_env(ID, topology=topology, mask_in_observation=True)
    seen, infos = env.reset(seed=0)
    balances = env.network.balances_msat() / (1000 * topology.arrays.capacity_sat[:, None])
    shown = seen["left"]["observation"]
    np.testing.assert_allclose(shown[:2], [balances[0, 1], 0], rtol=1e-6)
    np.testing.assert_allclose(seen["hub"]["observation"][:2], [balances[0, 0], balances[1, 1]], rtol=1e-6)
    base = topology.arrays.fee_base_msat[[1, 0]] / (topology.arrays.fee_base_msat[[1, 0]] + 1000)
    rate = topology.arrays.fee_rate_ppm[[1, 0]] / (topology.arrays.fee_rate_ppm[[1, 0]] + 1000)
    announced = np.stack([[1, 0], [base[0], 0], [rate[0], 0], [base[1], 0], [rate[1], 0]]).ravel()
    np.testing.assert_allclose(shown[2:], announced, rtol=1e-6)
    assert infos["left"]["action_mask"][4:].sum() == 0
    before = env.network.balances_msat()
    env.step(dict.fromkeys(env.agents, 0) | {"left": 6})
    assert env.network.interventions() == ()
    assert before.sum() == env.network.balances_msat().sum()


def test_all_agents_end_together_and_copies_go_on():
    env = lnsim_gym.parallel_env(f"lnsim_gym:{ID}", max_episode_steps=3)
    env.reset(seed=1)
    env.step({})
    other = copy.deepcopy(env)
    for one in (env, other):
        one.step({"bob": np.int64(2)})
        *_, truncated, infos = one.step({"alice": np.array(1)})
        assert set(truncated.values()) == {True}
        assert set(infos) == set(one.possible_agents)
        assert one.agents == []
        with pytest.raises(gym.error.ResetNeeded):
            one.step({})
    np.testing.assert_array_equal(env.network.balances_msat(), other.network.balances_msat())


def test_wrong_requests_are_refused():
    env = lnsim_gym.parallel_env(ID)
    env.reset(seed=0)
    for action in (10, -1, 0.5, None, "1", [1, 2]):
        with pytest.raises(InvalidAction, match=r"expected an integer in 0\.\.9 from bob"):
            env.step({"bob": action})
    with pytest.raises(InvalidAction, match="got one of 'zoe'"):
        env.step({"zoe": 0})
    for settings, message in (
        ({"action": "box"}, "needs action='discrete'"),
        ({"observation": "dict"}, "expected the observation"),
        ({"operation": "circular", "circular_routes": "found"}, "needs circular_routes='listed'"),
        ({"task": "every_node"}, "with task 'liquidity'"),
        ({"nodes": 3}, "unexpected keyword argument 'nodes'"),
    ):
        with pytest.raises(ConfigError, match=message):
            lnsim_gym.parallel_env(ID, **settings)


def test_one_agent_may_act_for_all_nodes():
    vector = gym.make_vec(ID, num_envs=3, task="every_node")
    single = gym.make(ID, task="every_node")
    vector.reset(seed=4)
    _, info = single.reset(seed=5)
    single.action_space.seed(0)
    for _ in range(10):
        action = single.action_space.sample(info["action_mask"])
        observation, reward, *_, info = single.step(action)
        observations, rewards, _, _, infos = vector.step(np.tile(action, (3, 1)))
        np.testing.assert_array_equal(observations[1], observation)
        assert rewards[1] == reward
        assert infos["rebalances"]["asked"][1] == info["rebalances"]["asked"]
    row = single.unwrapped.problem.task.routes.directions[:, 0].tolist().index(3)
    single.step(ExactRebalance(row=row, amount_msat=1_000))
    assert [(one.route, one.amount_msat) for one in single.unwrapped.interventions()] == [((3,), 1_000)]


def test_infos_may_be_flat_numbers():
    env = lnsim_gym.parallel_env(ID, info="flat")
    _, first = env.reset(seed=0)
    *_, later = env.step({"bob": 1})
    for infos in (first, later):
        assert infos["bob"].keys() == first["alice"].keys()
        assert not any(isinstance(value, dict | str) for value in infos["bob"].values())
    assert later["bob"]["rebalance.requested_sat"] > 0
    with pytest.raises(ConfigError, match="info must be one of"):
        lnsim_gym.parallel_env(ID, info="some")
