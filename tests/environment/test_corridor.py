"""The corridor as a Gymnasium environment: the exact one's spaces and rules, episodes surveyed once, plain training."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lnsim_gym.corridor import Corridor, survey_episode
from lnsim_gym.environment import CorridorEnv
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.tasks.config import EnvironmentConfig
from tests.corridor.places import STILL, fixed

SETTINGS = {**STILL, "levers": ["fees", "inbound_fees", "rebalance"], "seeds": [3, 4], "survey_steps": 6}
_OF_CORRIDOR = {"seeds", "survey_steps"}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    """One cache for the module, apart from the user's; machine code stays where it is."""
    monkeypatch.setattr("lnsim_gym.corridor.files.cache_dir", lambda: tmp_path_factory.getbasetemp() / "corridor")


@pytest.mark.parametrize("action", ["box", "multidiscrete", "dict"])
@pytest.mark.parametrize("observation", ["flat", "dict"])
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_the_checker_of_gymnasium_finds_nothing(action, observation):
    env = CorridorEnv(**{**SETTINGS, "action": action, "observation": observation})
    check_env(env, skip_render_check=True)
    mask = env.reset(seed=0)[1]["action_mask"]
    assert env.action_space.contains(env.action_space.sample(mask))
    assert env.action_masks().tolist() == mask.astype(bool).tolist()


@pytest.mark.parametrize("observation", ["flat", "dict"])
@pytest.mark.parametrize("masked", [True, "rllib", "tianshou"])
def test_observations_hold_masks_as_other_toolkits_read_them(observation, masked):
    env = CorridorEnv(**{**SETTINGS, "action": "box", "observation": observation, "mask_in_observation": masked})
    shown, info = env.reset(seed=0)
    assert env.observation_space.contains(shown)
    np.testing.assert_array_equal(list(shown.values())[-1], info["action_mask"])


def test_spaces_are_those_of_the_exact_environment():
    exact, corridor = gym.make("LightningOperatorFees-v0"), gym.make("LightningOperatorCorridor-v0")
    assert corridor.action_space == exact.action_space
    assert corridor.observation_space == exact.observation_space


def test_an_episode_is_the_survey_of_its_seed_and_ends_with_it():
    env = CorridorEnv(**SETTINGS)
    observation, info = env.reset(seed=1)
    assert info["episode_seed"] in (3, 4)
    config = {name: SETTINGS[name] for name in SETTINGS.keys() - _OF_CORRIDOR}
    problem = Problem.of(EnvironmentConfig.of(config))
    corridor = Corridor([survey_episode(problem, info["episode_seed"], 6)])
    rewards, ends = [], []
    for _ in range(6):
        np.testing.assert_array_equal(observation["channels"], corridor.observe()[0][0])
        before_msat = int(corridor.income_msat[0])
        corridor.step(*fixed(corridor, 300))
        fees = {"fee_rate_ppm": np.full(6, 300), "fee_base_msat": np.zeros(6, int)}
        observation, reward, terminated, truncated, info = env.step(fees)
        assert reward == (int(corridor.income_msat[0]) - before_msat) / 1000
        assert info["ledger"] == {"income_msat": round(1000 * reward), "rebalance_fee_msat": 0}
        rewards.append(reward)
        ends.append((terminated, truncated))
    assert sum(rewards) > 0
    assert ends == [(False, False)] * 5 + [(False, True)]


def test_rewards_pay_for_rebalances_and_masks_say_what_the_node_can_do():
    env = CorridorEnv(**SETTINGS)
    _, info = env.reset(seed=0)
    rows = info["action_mask"].reshape(-1, 6)
    assert rows[0].all()
    assert rows[1:3].any(axis=1).all()
    assert not rows[3:].any()  # there are no swaps
    _, reward, *_, info = env.step({"rebalance": [[0, 1, 1_000_000, 1_000_000], [-1, 0, 0, 0]]})
    money = info["ledger"]
    assert money["rebalance_fee_msat"] > 0
    assert reward == (money["income_msat"] - money["rebalance_fee_msat"]) / 1000
    for rate_ppm in (100, 200, 300, 400, 500):
        assert info["action_mask"].reshape(-1, 6)[0].all()
        *_, info = env.step({"fee_rate_ppm": np.full(6, rate_ppm)})
    assert not info["action_mask"].reshape(-1, 6)[0].any()  # four in a row, and one for the day that went by


def test_masks_at_the_begin_are_those_of_the_exact_environment():
    settings = {**SETTINGS, "start_balances": {"low": 0.0, "high": 1.0, "depleted_share": 0.9}, "seeds": [3]}
    _, info = CorridorEnv(**settings).reset()
    exact = gym.make("LightningOperator-v0", **{name: settings[name] for name in settings.keys() - _OF_CORRIDOR})
    _, told = exact.reset(seed=3)
    np.testing.assert_array_equal(info["action_mask"].reshape(-1, 6)[:3], told["action_mask"].reshape(-1, 6)[:3])
    assert not info["action_mask"].reshape(-1, 6)[:3].all()


def test_equal_seeds_and_copies_go_the_same_way():
    one, other = CorridorEnv(**SETTINGS), CorridorEnv(**SETTINGS)
    for env in (one, other):
        env.reset(seed=5)
        env.action_space.seed(0)
    actions = [one.action_space.sample() for _ in range(3)]
    for action in actions:
        np.testing.assert_equal(one.step(action), other.step(action))
    copied = copy.deepcopy(one)
    np.testing.assert_equal(copied.step(actions[0]), one.step(actions[0]))


def test_surveys_are_kept_and_made_anew_when_damaged(monkeypatch, tmp_path):
    monkeypatch.setattr("lnsim_gym.corridor.files.cache_dir", lambda: tmp_path)
    settings = {**SETTINGS, "seeds": [9]}
    before, _ = CorridorEnv(**settings).reset()
    (kept,) = tmp_path.rglob("*.npz")
    assert kept.stat().st_mode & 0o077 == 0
    kept.write_bytes(kept.read_bytes()[:1000])
    after, _ = CorridorEnv(**settings).reset()
    np.testing.assert_equal(before, after)
    whole = kept.read_bytes()
    other, _ = CorridorEnv(**{**settings, "action": "box", "levers": ["fees"]}).reset()  # the same survey
    np.testing.assert_equal(before, other)
    assert [file.read_bytes() for file in tmp_path.rglob("*.npz")] == [whole]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"seeds": []}, "expected seeds of episodes to survey"),
        ({"seeds": 3}, "expected seeds of episodes to survey"),
        ({"seeds": [-1]}, "a seed"),
        ({"survey_steps": 0}, "survey_steps"),
        ({"levers": ["fees", "swap"]}, "leave 'swap' out of levers"),
        ({"levers": ["close"]}, "leave 'close'"),
        ({"backend": "lnd", "levers": ["fees"]}, "survey"),
        ({"steps": 3}, "unexpected keyword argument 'steps'"),
    ],
)
def test_bad_settings_are_told(settings, expected):
    with pytest.raises(ConfigError, match=expected):
        CorridorEnv(**{**SETTINGS, **settings})


def test_what_cannot_be_done_is_told():
    env = CorridorEnv(**SETTINGS)
    with pytest.raises(gym.error.ResetNeeded):
        env.step({})
    with pytest.raises(ConfigError, match="the corridor knows none"):
        env.reset(options={"episode": 3})
    env.reset()
    with pytest.raises(InvalidAction):
        env.step({"fee_rate_ppm": [-7] * 6})


@pytest.mark.parametrize("vectorization_mode", ["sync", "async"])
def test_vectors_of_it_are_made_as_of_any_environment(vectorization_mode):
    settings = {**SETTINGS, "seeds": [3], "vectorization_mode": vectorization_mode}
    envs = gym.make_vec("LightningOperatorCorridor-v0", num_envs=2, **settings)
    envs.reset(seed=0)
    assert envs.step(envs.action_space.sample())[1].shape == (2,)
    envs.close()
