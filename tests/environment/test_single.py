"""The environment keeps Gymnasium's contract, and what it tells is true."""

import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.payments import FailureReason
from lnsim_gym.tasks.liquidity.rewards import TERMS

SIMULATED = {"backend": "simulator"}
VARIATIONS = [
    {},
    {"action": "multidiscrete"},
    {"action": "box"},
    {"observation": "flows"},
    {"observation": "dict", "observation_history": 2},
    {"operation": "circular", "circular_max_hops": 4},
    {"traffic": "classic", "reward": "profit"},
    {"traffic": "simln", "reward": {"volume_rate": 1.0, "rebalanced_share": -0.1}},
    {"traffic": {"kind": "card", "sat_per_unit": 1000}, "payment": {"mission_control": "per_episode"}},
    {"payment": {"max_parts": 16}, "traffic": {"median_amount_sat": 150_000}},
    {"mask_in_observation": True, "action": "multidiscrete"},
    {"mask_in_observation": True, "observation": "dict"},
]


def make(**overrides):
    return gym.make("LightningNet-v0", **{**SIMULATED, **overrides})


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
def test_gymnasiums_checker_finds_nothing(variation):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(**variation).unwrapped)


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
def test_stable_baselines3s_checker_finds_nothing(variation):
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="needs the extra 'train'")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(make(**variation).unwrapped)


@pytest.mark.parametrize("environment_id", ["LightningNet-v0", "LightningNetClassic-v0", "LightningNetLive-v0"])
def test_every_id_makes_an_environment_with_and_without_the_module_name(environment_id):
    for name in (environment_id, f"lnsim_gym:{environment_id}"):
        env = gym.make(name, **SIMULATED)
        observation, _ = env.reset(seed=0)
        assert observation in env.observation_space
        assert env.spec.max_episode_steps == 100


def rollout(env, seed, steps):
    """Step with actions that depend on the seed alone."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    history = [(observation, 0.0, False, info)]
    for _ in range(steps):
        env.action_space.seed(int(rng.integers(2**31)))
        observation, reward, _, truncated, info = env.step(env.action_space.sample())
        history.append((observation, reward, truncated, info))
        if truncated:
            observation, info = env.reset()
            history.append((observation, 0.0, False, info))
    return history


def assert_equal(left, right):
    """Compare nested observations and infos exactly."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, tuple | list):
        for a, b in zip(left, right, strict=True):
            assert_equal(a, b)
    else:
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
def test_a_seed_fixes_everything(variation):
    first, again, other = (rollout(make(max_episode_steps=7, **variation), seed, 20) for seed in (11, 11, 12))
    assert_equal(first, again)
    assert any(
        (a[3]["action_mask"] != b[3]["action_mask"]).any() or a[1] != b[1] for a, b in zip(first, other, strict=True)
    )


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
def test_a_pickled_environment_plays_the_same_episodes(variation):
    env = make(**variation)
    assert_equal(rollout(pickle.loads(pickle.dumps(env)), 4, 10), rollout(env, 4, 10))


def keys_and_types(info):
    return {key: keys_and_types(value) if isinstance(value, dict) else type(value) for key, value in info.items()}


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
def test_info_has_the_same_keys_and_types_at_every_reset_and_step(variation):
    steps = [info for *_, info in rollout(make(max_episode_steps=15, **variation), 0, 40)]
    assert all(keys_and_types(info) == keys_and_types(steps[0]) for info in steps)
    assert [info["payments"] for info in steps if info["step"] == 0] == [0, 0, 0]
    assert {info["reset_rung"] for info in steps} == {"assign"}
    assert set(steps[0]["rewards"]) == set(TERMS)
    assert set(steps[0]["failures"]) == {reason.name for reason in FailureReason} - {"NONE"}


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
def test_counts_add_up_and_money_is_conserved(variation):
    env = make(**variation)
    network = env.unwrapped
    for _, reward, _, info in rollout(env, 2, 30)[1:]:
        balances = network.balances_msat()
        assert (balances >= 0).all()
        np.testing.assert_array_equal(balances.sum(axis=1), network.topology.owned_total_msat)
        assert info["succeeded"] + sum(info["failures"].values()) == info["payments"]
        assert info["rewards"]["success_rate"] == info["succeeded"] / info["payments"]
        weighted = dict(zip(TERMS, network.problem.task.weights, strict=True))
        assert reward == pytest.approx(sum(weighted[term] * value for term, value in info["rewards"].items()))


@given(seed=st.integers(0, 2**32), share=st.floats(0, 1))
@settings(max_examples=20)
def test_an_allowed_push_is_applied_and_a_masked_one_refused(seed, share):
    env = make(start_balances={"low": 0.0, "high": 1.0})
    _, info = env.reset(seed=seed)
    for _ in range(3):
        mask = info["action_mask"]
        action = 1 + int(share * (len(mask) - 2))
        before = env.unwrapped.balances_msat()
        *_, info = env.step(action)
        rebalance = info["rebalance"]
        assert rebalance["refused"] == (not mask[action])
        assert (rebalance["applied_sat"] == rebalance["requested_sat"]) == bool(mask[action])
        assert rebalance["reason"] == ("NONE" if mask[action] else "INSUFFICIENT_LOCAL_BALANCE")
        assert rebalance["fee_msat"] == 0
        del before


def test_the_observation_is_the_balances_as_shares_of_the_capacity():
    env = make()
    observation, _ = env.reset(seed=1)
    exact = env.unwrapped.balances_msat().ravel() / 1e9
    np.testing.assert_allclose(observation, exact, atol=1e-7)


def test_averages_follow_the_flows_of_each_step():
    last = make(observation="flows", observation_history=1)
    averaged = make(observation="averages")
    expected = np.zeros((5, 24), np.float32)
    for _, (seen, *_), (got, *_) in zip(range(30), rollout(last, 3, 30), rollout(averaged, 3, 30), strict=False):
        expected[0] = seen[14:]
        expected[1:] += (2 / np.array([[3], [5], [9], [17]])) * (expected[0] - expected[1:])
        np.testing.assert_array_equal(got[:14], seen[:14])
        np.testing.assert_allclose(got[14:].reshape(5, 24), expected, atol=1e-6)
        assert got in averaged.observation_space
    assert expected[1:].any(axis=1).all()
    with pytest.raises(ConfigError, match="observation_averages must lie in 2"):
        make(observation="averages", observation_averages=[1])


def test_flows_and_failures_are_those_of_the_batch():
    env = make(observation="dict", observation_history=2, traffic={"median_amount_sat": 100_000})
    env.reset(seed=1)
    network = env.unwrapped
    previous = None
    for _ in range(8):
        observation, *_ = env.step(0)
        batch = network.last_batch()
        outcomes = network.last_outcomes()
        flows = np.zeros(14)
        for i, p in zip(*np.nonzero(outcomes.part_amount_msat), strict=True):
            for direction in outcomes.part_route[i, p]:
                if direction >= 0:
                    flows[direction] += outcomes.part_amount_msat[i, p] / 1e9
        failed = ~outcomes.succeeded
        np.testing.assert_allclose(observation["flows"][:14], np.minimum(flows, 1), atol=1e-5)
        np.testing.assert_allclose(
            observation["failed_by_sender"][:5], np.bincount(batch.source[failed], minlength=5) / 20, atol=1e-6
        )
        np.testing.assert_allclose(
            observation["failed_by_receiver"][:5], np.bincount(batch.destination[failed], minlength=5) / 20, atol=1e-6
        )
        if previous is not None:
            np.testing.assert_array_equal(observation["flows"][14:], previous["flows"][:14])
        previous = observation
    assert failed.any()
    assert flows.any()


def test_reset_takes_start_balances_and_an_episode_number():
    env = make()
    env.reset(seed=5)
    later, _ = env.reset()
    jumped, info = env.reset(seed=5, options={"episode": 1})
    np.testing.assert_array_equal(jumped, later)
    assert info["episode_number"] == 1
    wanted = env.unwrapped.topology.start_balances_msat()
    env.reset(options={"balances_msat": wanted})
    np.testing.assert_array_equal(env.unwrapped.balances_msat(), wanted)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"balance": 1}, "unknown reset option 'balance'"),
        ({"episode": -1}, "episode must be an integer >= 0"),
        ({"balances_msat": np.zeros((7, 2), np.int64)}, "add up to"),
        ({"balances_msat": np.zeros((3, 2), np.int64)}, "shape"),
    ],
)
def test_impossible_reset_options_are_refused_and_nothing_changes(options, complaint):
    env = make()
    env.reset(seed=5)
    before = env.unwrapped.balances_msat()
    with pytest.raises(ConfigError, match=complaint):
        env.reset(options=options)
    np.testing.assert_array_equal(env.unwrapped.balances_msat(), before)


RAGGED = [[0], [1, 2]]
WRONG_ACTIONS = {
    "discrete": [43, -1, 1.5, "push", None, np.zeros(3), [3], RAGGED],
    "multidiscrete": [3, [7, 0, 0], [0, 0], [0.0, 0.0, 0.0], [[0, 0, 0]], "push", None, RAGGED],
    "box": [1.0, np.zeros(3), np.full(7, 2.0), np.full(7, np.nan), ["0.5"] * 7, np.full(7, 1j), None, RAGGED,
            np.full(7, np.iinfo(np.int64).min)],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "action"), [(kind, action) for kind in WRONG_ACTIONS for action in WRONG_ACTIONS[kind]]
)
def test_an_action_outside_the_space_is_refused_and_nothing_changes(kind, action):
    env = make(action=kind).unwrapped
    env.reset(seed=5)
    before = env.balances_msat()
    with pytest.raises(InvalidAction):
        env.step(action)
    np.testing.assert_array_equal(env.balances_msat(), before)


def test_what_needs_a_reset_is_refused_before_it():
    for ask in (lambda env: env.step(0), lambda env: env.action_masks()):
        with pytest.raises(gym.error.ResetNeeded):
            ask(make().unwrapped)


CHOSEN = {
    "discrete": lambda action: [action],
    "multidiscrete": lambda action: np.add([0, 7, 9], action),  # the masks of 7 routes, 2 orientations and 4 sizes
    "box": np.flatnonzero,
    "dict": lambda action: [action["route"]],
}


@pytest.mark.parametrize("kind", CHOSEN)
def test_sampling_with_the_mask_keeps_to_it(kind):
    env = make(action=kind)
    _, info = env.reset(seed=3)
    rng = np.random.default_rng(0)
    env.action_space.seed(0)
    for _ in range(40):
        mask = info["action_mask"] & rng.integers(0, 2, info["action_mask"].shape, dtype=np.int8)
        mask[[0, 7, -1] if kind == "multidiscrete" else 0] = 1
        action = env.action_space.sample(mask)
        assert action in env.action_space
        assert mask[CHOSEN[kind](action)].all()
        *_, info = env.step(env.action_space.sample(info["action_mask"]))


def test_a_dict_is_sampled_without_a_deed_where_the_mask_allows_none():
    env = make(action="dict")
    _, info = env.reset(seed=3)
    assert env.action_space.sample(np.zeros_like(info["action_mask"]))["share"] == 0
    with_masks = env.action_space.sample({"route": info["action_mask"], "share": None})
    assert info["action_mask"][with_masks["route"]]


def test_unknown_keywords_of_make_are_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match="Did you mean 'payments_per_step'"):
        make(payment_per_step=3)
