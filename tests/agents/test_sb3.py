"""The native VecEnv does what stable-baselines3's own wrapper over single environments does, only faster."""

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra 'train'")

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from lnsim_gym.agents.evaluate import evaluate
from lnsim_gym.agents.learning.sb3 import LightningVecEnv
from lnsim_gym.agents.learning.trained import TrainedAgent
from lnsim_gym.agents.rules import NoOp
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.tasks.liquidity.rewards import TERMS

ID = "LightningNet-v0"


def make_dummy(n_envs, **settings):
    return DummyVecEnv([lambda: gym.make(ID, backend="simulator", **settings) for _ in range(n_envs)])


@pytest.mark.parametrize(
    "settings",
    [{}, {"observation": "dict"}, {"action": "box"}, {"action": "multidiscrete"}, {"mask_in_observation": True}],
    ids=str,
)
def test_it_equals_a_dummy_vec_env_over_whole_episodes(settings):
    settings = {"max_episode_steps": 9, **settings}
    native = LightningVecEnv(ID, 4, **settings)
    dummy = make_dummy(4, **settings)
    native.seed(50)
    dummy.seed(50)
    assert_same(native.reset(), dummy.reset())
    assert_same(dict(enumerate(native.reset_infos)), dict(enumerate(dummy.reset_infos)))
    space = native.action_space
    space.seed(0)
    for _ in range(30):
        actions = np.stack([space.sample() for _ in range(4)])
        observation, reward, done, infos = native.step(actions)
        expected = dummy.step(actions)
        assert_same(observation, expected[0])
        np.testing.assert_array_equal(reward, expected[1])
        assert reward.dtype == expected[1].dtype == np.float32
        np.testing.assert_array_equal(done, expected[2])
        for own, other in zip(infos, expected[3], strict=True):
            assert_same({key: own[key] for key in other}, other)
            assert {term: own[term] for term in TERMS} == other["rewards"]
            assert own["rebalance_reason"] == other["rebalance"]["reason"]
            assert ("terminal_observation" in own) == ("terminal_observation" in other)
        assert_same(dict(enumerate(native.reset_infos)), dict(enumerate(dummy.reset_infos)))


def assert_same(left, right):
    if isinstance(right, dict):
        assert left.keys() == right.keys()
        for key in right:
            assert_same(left[key], right[key])
    else:
        np.testing.assert_array_equal(left, right)


def test_ppo_trains_behind_the_usual_wrappers():
    env = VecNormalize(VecMonitor(LightningVecEnv(ID, 8, seed=1, info=False)))
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, device="cpu", seed=0)
    model.learn(256)
    assert model.num_timesteps == 256
    assert len(model.ep_info_buffer) == 0
    model.learn(2048)
    assert {round(episode["l"]) for episode in model.ep_info_buffer} == {100}


def test_maskable_ppo_never_picks_what_the_balances_forbid():
    contrib = pytest.importorskip("sb3_contrib", reason="needs the extra 'train'")
    env = LightningVecEnv(ID, 4, seed=1, traffic={"median_amount_sat": 60_000})
    model = contrib.MaskablePPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, device="cpu", seed=0)
    model.learn(128)
    observation = env.reset()
    for _ in range(40):
        actions, _ = model.predict(observation, action_masks=env.action_masks())
        observation, _, _, infos = env.step(actions)
        assert {info["rebalance_reason"] for info in infos} == {"NONE"}


def test_masks_come_one_row_per_environment():
    env = LightningVecEnv(ID, 3, seed=1)
    env.reset()
    rows = env.env_method("action_masks", indices=[0, 2])
    assert [row.shape for row in rows] == [(43,), (43,)]
    assert env.has_attr("action_masks")
    assert not env.has_attr("no_such_thing")


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ConfigError, match="n_envs"):
        LightningVecEnv(ID, 0)
    env = LightningVecEnv(ID, 2, seed=1)
    with pytest.raises(ConfigError, match="fixed"):
        env.set_attr("config", None)
    env.reset()
    for actions in (np.array([99, 0]), [5], 5, [[1], [0]], None):
        with pytest.raises(InvalidAction):
            env.step(actions)
    with pytest.raises(ConfigError, match="max_episode_steps must be an integer >= 1, got 0"):
        LightningVecEnv(ID, 2, max_episode_steps=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'"):
        LightningVecEnv(ID, 2, frameskip=1)
    with pytest.raises(gym.error.ResetNeeded):
        LightningVecEnv(ID, 2).action_masks()


def test_options_hold_for_the_next_reset():
    native, dummy = LightningVecEnv(ID, 3), make_dummy(3)
    balances_msat = native.problem.topology.start_balances_msat()
    for options in ({"balances_msat": balances_msat}, [{"episode": 4}, {}, {"balances_msat": balances_msat}], None):
        for env in (native, dummy):
            env.seed(7)
            env.set_options(options)
        assert_same(native.reset(), dummy.reset())
    native.set_options({"episodes": 4})
    with pytest.raises(ConfigError, match="unknown reset option 'episodes'"):
        native.reset()


def test_a_single_environment_trains_and_its_episodes_are_counted():
    model = PPO("MlpPolicy", gym.make(ID, max_episode_steps=20), n_steps=64, batch_size=64, n_epochs=1, device="cpu")
    model.learn(128)
    assert [episode["l"] for episode in model.ep_info_buffer] == [20] * 6


def test_gymnasium_counts_the_episodes_of_a_vector():
    env = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec(ID, 2, vector_kwargs=None, max_episode_steps=5))
    env.reset(seed=0)
    infos = [env.step(np.zeros(2, int))[-1] for _ in range(5)]
    assert infos[-1]["episode"]["l"].tolist() == [5, 5]


@pytest.mark.slow
def test_ppo_learns_to_beat_doing_nothing():
    env = LightningVecEnv(ID, 64, seed=0)
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=512, learning_rate=1e-3, device="cpu", seed=0)
    model.learn(40_000)
    seeds = range(3_000_000, 3_000_100)
    learned = evaluate("learned", TrainedAgent(env.problem, model.policy), seeds, 100)
    idle = evaluate("noop", NoOp(env.problem), seeds, 100)
    assert learned.success_rate_low > idle.success_rate_high + 0.05
