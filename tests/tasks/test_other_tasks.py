"""Tasks that the package does not ship run in every form of the environment, on every backend."""

import copy
import pickle
from dataclasses import fields
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lnsim_gym.agents.sb3 import LightningVecEnv
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.backed import BackendEpisodes
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.routes import forwarding_fees_msat
from lnsim_gym.records.csv import CsvRecorder
from lnsim_gym.records.replay import replay
from lnsim_gym.records.trace import TraceWriter, read_trace
from lnsim_gym.tasks import EnvironmentConfig
from tests.tasks import pricing, skipping

ID = "AnyTask-v0"
gym.register(
    ID,
    entry_point="lnsim_gym.environment.single:LightningNetEnv",
    vector_entry_point="lnsim_gym.environment.vector:LightningNetVectorEnv",
    order_enforce=False,
    max_episode_steps=100,
)
TASKS = {
    "skipping": {"task": "skipping"},
    "pricing": {"task": "pricing", "start_balances": {}},
    "pricing, senders that remember": {"task": "pricing", "payment": {"mission_control": "per_episode"}},
    "pricing, in parts": {"task": "pricing", "payment": {"max_parts": 4}, "traffic": {"median_amount_sat": 100_000}},
    "pricing, senders that hear late": {"task": "pricing", "start_balances": {}, "gossip": "lnd"},
    "pricing, senders that hear late and remember": {
        "task": "pricing",
        "gossip": {"trickle_seconds": 600},
        "payment": {"mission_control": "per_episode", "max_parts": 4},
        "traffic": {"median_amount_sat": 100_000},
    },
    "pricing, variants": {"task": "pricing", "variants": {"count": 4, "fee_base_msat": [0, 9_000]}},
}


pytestmark = pytest.mark.slow  # each task is compiled on its own, which takes half a minute


@pytest.fixture(params=TASKS)
def settings(request):
    return TASKS[request.param]


def test_a_small_task_takes_less_than_a_hundred_lines():
    assert len(Path(skipping.__file__).read_text().splitlines()) < 100


def test_the_checker_of_gymnasium_finds_nothing(settings):
    check_env(gym.make(ID, **settings).unwrapped, skip_render_check=True)


def test_single_vector_and_stable_baselines_forms_give_the_same(settings):
    single = [gym.make(ID, max_episode_steps=20, **settings) for _ in range(3)]
    vector = gym.make_vec(ID, 3, max_episode_steps=20, threads=2, **settings)
    learner = LightningVecEnv(ID, n_envs=3, seed=7, max_episode_steps=20, **settings)
    rng = np.random.default_rng(0)
    first = [env.reset(seed=7 + index)[0] for index, env in enumerate(single)]
    np.testing.assert_array_equal(vector.reset(seed=7)[0], first)
    np.testing.assert_array_equal(learner.reset(), first)
    for _ in range(19):
        actions = rng.integers(0, vector.single_action_space.n, 3)
        steps = [env.step(action) for env, action in zip(single, actions, strict=True)]
        observations, rewards, *_, infos = vector.step(actions)
        learned, paid, *_ = learner.step(actions)
        np.testing.assert_array_equal(observations, [step[0] for step in steps])
        np.testing.assert_array_equal(learned, [step[0] for step in steps])
        np.testing.assert_array_equal(rewards, [step[1] for step in steps])
        np.testing.assert_array_equal(paid, np.float32([step[1] for step in steps]))
        for key, values in infos["rewards"].items():
            if not key.startswith("_"):
                np.testing.assert_array_equal(values, [step[4]["rewards"][key] for step in steps])
        np.testing.assert_array_equal(infos["payments"], [step[4]["payments"] for step in steps])


@pytest.mark.parametrize("name", [name for name in TASKS if "variants" not in name])
def test_the_step_on_a_backend_is_the_compiled_one(name):
    problem = Problem.of(EnvironmentConfig.of({"start_balances": {}, **TASKS[name]}))
    backend = SimulatorBackend(
        problem.topology,
        problem.config.payment,
        payment_ms=problem.traffic.payment_ms,
        gossip=problem.config.gossip_options,
    )
    compiled = SimulatedEpisodes(problem, 1)
    stepwise = BackendEpisodes(problem, backend)
    rng = np.random.default_rng(0)
    for episode in range(2):
        backend.draw_as(4 + episode, 0)
        for runner in (compiled, stepwise):
            runner.seed(0, 4 + episode)
            runner.begin(np.ones(1, np.bool_))
        for _ in range(25):
            decision = problem.task.actions.decode_one(rng.integers(problem.task.actions.space.n))
            for runner in (compiled, stepwise):
                runner.step_one(decision)
            assert compiled.interventions(0) == stepwise.interventions(0)
            assert compiled.topology(0) == stepwise.topology(0)
            compiled.outcomes(0)
            due = int(compiled.columns.due[0])
            for field in fields(compiled.columns):
                left = getattr(compiled.columns, field.name)[0]
                right = getattr(stepwise.columns, field.name)[0]
                per_payment = left.ndim > 0 and left.shape[0] == problem.config.payments_per_step
                np.testing.assert_array_equal(
                    left[:due] if per_payment else left, right[:due] if per_payment else right, field.name
                )


def test_a_batch_that_is_not_sent_moves_nothing_and_costs_nothing():
    env = gym.make(ID, task="skipping", failure_cost=3.0)
    env.reset(seed=1)
    env.step(1)
    before = env.unwrapped.balances_msat()
    _, reward, _, _, info = env.step(0)
    assert (env.unwrapped.balances_msat() == before).all()
    assert (reward, info["payments"], info["succeeded"], sum(info["failures"].values())) == (0.0, 0, 0, 0)
    assert len(env.unwrapped.last_batch().source) == len(env.unwrapped.last_outcomes().succeeded) == 0


def test_what_nodes_earn_follows_from_the_routes_and_the_policies_that_payments_met():
    problem = Problem.of(EnvironmentConfig.of({**TASKS["pricing"], "payment": {"max_parts": 4}}))
    runner = SimulatedEpisodes(problem, 2)
    for network in range(2):
        runner.seed(network, network)
    runner.begin(np.ones(2, np.bool_))
    earned = 0
    for fees_msat in ([0, 50_000], [5_000, 0], [500, 500]):
        runner.step(np.ones(2, np.bool_), np.array(fees_msat)[:, None])
        for network, fee_msat in enumerate(fees_msat):
            topology = runner.topology(network)
            assert topology.arrays.fee_base_msat[pricing.DIRECTION] == fee_msat
            expected = forwarding_fees_msat(topology, runner.outcomes(network).settled_routes())
            np.testing.assert_array_equal(runner.columns.earned_msat[network], expected)
            assert expected.sum() == runner.columns.fee_msat[network].sum()
            earned += int(expected.sum())
    assert earned > 0


def test_a_new_episode_has_the_policies_of_the_topology_again():
    env = gym.make(ID, task="pricing")
    env.reset(seed=1)
    own = env.unwrapped.topology
    env.step(3)
    assert env.unwrapped.topology != own
    env.reset()
    assert env.unwrapped.topology == own


def test_copies_and_pickles_keep_the_policies_of_their_network():
    env = gym.make(ID, task="pricing", start_balances={})
    env.reset(seed=1)
    env.step(3)
    for other in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert other.unwrapped.topology == env.unwrapped.topology
        untouched = copy.deepcopy(other)
        other.step(0)
        assert untouched.unwrapped.topology == env.unwrapped.topology != other.unwrapped.topology


def test_every_recorder_takes_any_task_and_a_trace_replays_to_the_msat(tmp_path, settings):
    if "variants" in settings:
        pytest.skip("a trace is of one network; this one varies from episode to episode")
    env = gym.make(ID, max_episode_steps=8, render_mode="ansi", **settings)
    network = env.unwrapped
    writer = TraceWriter(tmp_path / "t", network.topology, network.config.payment, backend="simulator")
    with RecordEpisodes(env, [writer, CsvRecorder(tmp_path, network.topology)]) as recorded:
        recorded.action_space.seed(3)
        for episode in range(2):
            recorded.reset(seed=3 if episode == 0 else None)
            for _ in range(8):
                recorded.step(recorded.action_space.sample())
            assert f"step {8}" in recorded.render()
    trace = read_trace(tmp_path / "t")
    assert [len(episode.steps) for episode in trace.episodes] == [8, 8]
    payment_ms, gossip = Problem.of(network.config).traffic.payment_ms, network.config.gossip_options
    backend = SimulatorBackend(trace.topology, trace.header.payment, payment_ms=payment_ms, gossip=gossip)
    assert replay(trace, backend) == []


def test_an_unknown_task_and_the_settings_of_another_one_are_refused():
    with pytest.raises(ConfigError, match=r"unknown task 'liquidit'\. Did you mean 'liquidity'"):
        gym.make(ID, task="liquidit")
    with pytest.raises(ConfigError, match="failure_cost"):
        gym.make("LightningNet-v0", failure_cost=1.0)
    with pytest.raises(ConfigError, match="action_sizes"):
        gym.make(ID, task="skipping", action_sizes=[0.5])
