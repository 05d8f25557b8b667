"""What the toolkits of reinforcement learning pass to environments, and read from them, works as they have it."""

from __future__ import annotations

from collections import UserDict, UserList
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from lnsim_gym.environment import LightningNetEnv, LightningNetVectorEnv
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.presentation import without_mask

ID = "LightningNet-v0"
FORMS = [
    lambda **settings: gym.make(ID, **settings),
    lambda **settings: gym.make_vec(ID, num_envs=2, **settings),
    lambda **settings: gym.make_vec(ID, num_envs=2, vectorization_mode="sync", **settings),
    LightningNetEnv,
    LightningNetVectorEnv,
]


@pytest.mark.parametrize("form", FORMS)
def test_an_unknown_keyword_is_refused_in_pythons_words(form):
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'frameskip'"):
        form(frameskip=1)
    with pytest.raises(ConfigError, match=r"There is 'payment\.max_parts'"):
        form(max_parts=1)


def test_settings_may_be_written_with_the_classes_of_other_libraries(tmp_path):
    topology = tmp_path / "net.toml"
    topology.write_text('nodes = ["a", "b"]\nchannels = [{ initiator = "a", peer = "b", capacity_sat = 500_000 }]\n')
    plain = {
        "topology": str(topology),
        "payments_per_step": 3,
        "action_sizes": [0.1, 0.25],
        "traffic": {"kind": "drift", "median_amount_sat": 5_000},
        "start_balances": {"low": 0.25, "high": 0.75},
        "mask_in_observation": True,
    }
    foreign = {
        "topology": Path(topology),
        "payments_per_step": np.int32(3),
        "action_sizes": np.array([0.1, 0.25]),
        "traffic": UserDict(kind=np.str_("drift"), median_amount_sat=np.array(5_000)),
        "start_balances": {"low": np.float32(0.25), "high": np.float64(0.75)},
        "mask_in_observation": np.bool_(True),
    }
    listed = {**plain, "action_sizes": UserList(plain["action_sizes"])}
    for settings in (foreign, listed):
        for env in (gym.make(ID, **settings), gym.make_vec(ID, num_envs=np.int64(2), **settings)):
            assert env.unwrapped.config == LightningNetEnv(**{**gym.spec(ID).kwargs, **plain}).config
            env.unwrapped.spec.to_json()
    again = gym.make(gym.envs.registration.EnvSpec.from_json(gym.make(ID, **foreign).spec.to_json()))
    assert again.unwrapped.config.payments_per_step == 3


def test_what_is_no_data_is_refused_as_a_setting():
    with pytest.raises(ConfigError, match="of type function"):
        gym.make(ID, traffic=lambda: None)
    with pytest.raises(ConfigError, match="a topology must be a name, a path or a table, got function"):
        gym.make(ID, topology=lambda: None)


def test_omegaconf_writes_settings():
    omegaconf = pytest.importorskip("omegaconf", reason="not among the extras")
    config = omegaconf.OmegaConf.create({"action_sizes": [0.1], "traffic": {"kind": "simln"}, "n": "${action_sizes}"})
    env = gym.make(ID, action_sizes=config.n, traffic=config.traffic)
    assert env.unwrapped.config.action_sizes == (0.1,)
    env.spec.to_json()


def test_rllib_makes_the_class_with_one_mapping():
    env = LightningNetEnv(UserDict(payments_per_step=3, max_episode_steps=np.int64(2), render_mode="ansi"))
    env.reset(seed=0)
    assert env.render()
    assert [env.step(0)[3] for _ in range(2)] == [False, True]
    with pytest.raises(ConfigError, match="max_episode_steps must be an integer >= 1"):
        LightningNetEnv({"max_episode_steps": 0})


def test_masks_stand_in_the_observation_where_they_are_asked_for():
    env = gym.make(ID, mask_in_observation=True)
    observation, info = env.reset(seed=0)
    for action in (3, 9, 0):
        assert observation in env.observation_space
        np.testing.assert_array_equal(observation["action_mask"], info["action_mask"])
        assert observation["action_mask"].dtype == np.int8
        observation, *_, info = env.step(action)
    plain = gym.make(ID)
    plain.reset(seed=0)
    for action in (3, 9, 0):
        expected, *_ = plain.step(action)
    np.testing.assert_array_equal(observation["observation"], expected)


@pytest.mark.parametrize(("kind", "keys"), [("rllib", {"observations", "action_mask"}), ("tianshou", {"obs", "mask"})])
@pytest.mark.parametrize("observation", ["balances", "dict"])
def test_masks_stand_under_the_keys_of_the_library_that_is_named(kind, keys, observation):
    plain, _ = gym.make(ID, observation=observation).reset(seed=0)
    env = gym.make(ID, mask_in_observation=kind, observation=observation)
    shown, _ = env.reset(seed=0)
    assert set(shown) == keys
    assert shown in env.observation_space
    assert data_equivalence(without_mask(shown), plain, exact=True)
    assert without_mask(plain) is plain
    with pytest.raises(ConfigError, match="mask_in_observation"):
        gym.make(ID, mask_in_observation="other")


@pytest.mark.slow
def test_torchrl_runs_and_masks():
    envs = pytest.importorskip("torchrl.envs", reason="not among the extras")
    checks = pytest.importorskip("torchrl.envs.utils", reason="not among the extras")
    for env in (
        envs.GymEnv(ID),
        envs.GymWrapper(gym.make_vec(ID, num_envs=3, autoreset_mode="Disabled", mask_in_observation=True)),
        envs.GymWrapper(gym.make_vec(ID, num_envs=3, autoreset_mode="SameStep", info="flat", max_episode_steps=3)),
    ):
        checks.check_env_specs(env)
        assert env.rollout(4, break_when_any_done=False)["next", "reward"].shape[-2:] == (4, 1)
    masked = envs.GymEnv(ID, mask_in_observation=True, categorical_action_encoding=True)
    rollout = envs.TransformedEnv(masked, envs.ActionMask()).rollout(30)
    assert rollout["action_mask"].gather(1, rollout["action"][:, None]).all()


@pytest.mark.slow
def test_minari_records_infos(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari", reason="not among the extras")
    pytest.importorskip("jax", reason="Minari needs it to make data sets")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gym.make(ID, max_episode_steps=3), record_infos=True, data_format="arrow")
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
    made = env.create_dataset("lightning/random-v0", algorithm_name="random")
    (episode,) = made.iterate_episodes()
    np.testing.assert_array_equal(episode.infos["payments"], [0, 20, 20, 20])
    assert made.recover_environment().spec.id == ID
