"""Environment i of a vector is the single environment with seed + i, bit for bit, in every reset mode."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from lnsim_gym.errors import ConfigError, InvalidAction

ENVS = 5
VARIATIONS = [
    {},
    {"action": "multidiscrete", "observation": "flows"},
    {"action": "box", "observation": "dict", "operation": "circular"},
    {"traffic": "classic", "payment": {"mission_control": "per_episode"}},
    {"payment": {"max_parts": 16}, "traffic": {"median_amount_sat": 150_000}},
    {"mask_in_observation": True, "info": "flat"},
    {"mask_in_observation": True, "observation": "dict", "info": "numbers"},
]


def make_native(mode=AutoresetMode.NEXT_STEP, **overrides):
    return gym.make_vec(
        "LightningNet-v0",
        num_envs=ENVS,
        backend="simulator",
        autoreset_mode=mode.value,
        **{"max_episode_steps": 6, "info": "all", **overrides},
    )


def make_reference(mode=AutoresetMode.NEXT_STEP, **overrides):
    return gym.make_vec(
        "LightningNet-v0",
        num_envs=ENVS,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        backend="simulator",
        max_episode_steps=6,
        **overrides,
    )


def assert_same(native, reference, path="", mask=None):
    """Compare nested vector infos and observations where their masks say they are present."""
    if isinstance(reference, dict):
        assert set(native) == set(reference), path
        for key, value in reference.items():
            present = reference.get(f"_{key}")
            assert_same(native[key], value, f"{path}/{key}", present)
    elif reference.dtype == object:
        assert native.dtype == object, path
        for left, right in zip(native, reference, strict=True):
            if isinstance(right, dict):
                assert_same(left, right, path)
            else:
                np.testing.assert_array_equal(left, right, path)
    else:
        assert native.dtype == reference.dtype, path
        chosen = slice(None) if mask is None else mask
        np.testing.assert_array_equal(native[chosen], reference[chosen], path)


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_vector_equals_its_single_environments_over_whole_episodes(mode, variation):
    native = make_native(mode, **variation)
    reference = make_reference(mode, **variation)
    assert native.action_space == reference.action_space
    assert native.observation_space == reference.observation_space
    observation, info = native.reset(seed=100)
    expected, expected_info = reference.reset(seed=100)
    assert_same(observation, expected)
    assert_same(info, expected_info)
    native.action_space.seed(0)
    for _ in range(25):
        actions = native.action_space.sample()
        observation, *rest, info = native.step(actions)
        expected, *expected_rest, expected_info = reference.step(actions)
        assert_same(observation, expected)
        for left, right in zip(rest, expected_rest, strict=True):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        assert_same(info, expected_info)


def test_disabled_autoreset_resets_the_environments_of_the_mask_alone():
    env = make_native(AutoresetMode.DISABLED)
    single = gym.make("LightningNet-v0", backend="simulator", max_episode_steps=6)
    env.reset(seed=9)
    for _ in range(6):
        *_, truncated, _ = env.step(np.zeros(ENVS, int))
    assert truncated.all()
    with pytest.raises(gym.error.ResetNeeded, match="reset_mask"):
        env.step(np.zeros(ENVS, int))
    before = env.unwrapped.balances_msat()
    mask = np.array([True, False, False, True, False])
    options = {"reset_mask": mask}
    observation, info = env.reset(options=options)
    assert options == {"reset_mask": mask}
    np.testing.assert_array_equal(env.unwrapped.balances_msat()[~mask], before[~mask])
    np.testing.assert_array_equal(info["_episode_number"], mask)
    for index in np.flatnonzero(mask):
        single.reset(seed=9 + int(index))
        expected, _ = single.reset()
        np.testing.assert_array_equal(observation[index], expected)


def test_an_environment_that_was_never_reset_does_not_step():
    env = make_native(AutoresetMode.DISABLED)
    with pytest.raises(gym.error.ResetNeeded, match="call reset before"):
        env.unwrapped.action_masks()
    mask = np.array([True, False, True, True, False])
    env.reset(options={"reset_mask": mask})
    for ask in (lambda: env.step(np.zeros(ENVS, int)), env.unwrapped.action_masks):
        with pytest.raises(gym.error.ResetNeeded, match=r"call reset for environments \[1, 4\] before"):
            ask()
    _, infos = env.reset(options={"reset_mask": ~mask})
    assert (infos["seed"][~mask] > 2**32).all()
    env.step(np.zeros(ENVS, int))


def test_reset_takes_the_options_of_single_environments():
    native, reference = make_native(), make_reference()
    balances_msat = native.unwrapped.problem.topology.start_balances_msat()
    for options in ({"episode": np.int64(2)}, {"balances_msat": balances_msat, "episode": 1}):
        (observation, infos), (expected, expected_infos) = (
            env.reset(seed=4, options=options) for env in (native, reference)
        )
        assert_same(observation, expected)
        assert_same(infos, expected_infos)
    for options in ({"episode": -1}, {"episode": 1.5}, {"balances_msat": balances_msat[:2]}, {"balance": 0}):
        with pytest.raises(ConfigError):
            native.reset(options=options)


def test_infos_have_no_texts_unless_they_are_asked_for():
    def kinds(infos):
        return {
            kind
            for value in infos.values()
            for kind in (kinds(value) if isinstance(value, dict) else {value.dtype.kind})
        }

    env = gym.make_vec("LightningNet-v0", num_envs=ENVS)
    for infos in (env.reset(seed=0)[1], env.step(np.zeros(ENVS, int))[-1]):
        assert kinds(infos) <= set("iufb")
        assert infos["rebalance"]["refused"].dtype == bool
    flat = gym.make_vec("LightningNet-v0", num_envs=ENVS, info="flat").reset(seed=0)[1]
    assert not any(isinstance(value, dict) for value in flat.values())
    assert flat["rewards.success_rate"].shape == (ENVS,)


def test_gymnasium_makes_tensors_of_all_that_comes_out():
    torch = pytest.importorskip("torch", reason="needs the extra 'train'")
    pytest.importorskip("array_api_compat", reason="Gymnasium's wrapper needs it")
    env = gym.wrappers.vector.NumpyToTorch(gym.make_vec("LightningNet-v0", num_envs=ENVS, max_episode_steps=2))
    env.reset(seed=0)
    for _ in range(4):
        *_, infos = env.step(torch.zeros(ENVS, dtype=torch.int64))
    assert infos["rewards"]["success_rate"].shape == (ENVS,)


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        ([True] * ENVS, TypeError),
        (np.ones(ENVS), TypeError),
        (np.ones(ENVS + 1, bool), ValueError),
        (np.zeros(ENVS, bool), ValueError),
    ],
)
def test_a_wrong_reset_mask_is_refused(mask, error):
    env = make_native(AutoresetMode.DISABLED)
    env.reset(seed=9)
    with pytest.raises(error, match="reset_mask"):
        env.reset(options={"reset_mask": mask})


def test_arrays_are_fresh_at_every_step():
    env = make_native()
    first, info = env.reset(seed=0)
    kept = [first, info["action_mask"]]
    copies = [array.copy() for array in kept]
    for _ in range(6):
        observation, reward, _, truncated, info = env.step(np.full(ENVS, 3))
        for array, copy in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(array, copy)
        kept = [observation, reward, truncated, info["action_mask"], info["rewards"]["success_rate"], info["fees_msat"]]
        copies = [array.copy() for array in kept]


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_change_nothing(threads):
    one, many = (gym.make_vec("LightningNet-v0", num_envs=7, backend="simulator", threads=n) for n in (1, threads))
    assert_same(many.reset(seed=3)[0], one.reset(seed=3)[0])
    one.action_space.seed(1)
    for _ in range(120):
        actions = one.action_space.sample()
        for left, right in zip(many.step(actions)[:4], one.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(left, right)
    many.close()


def test_seeds_may_be_given_one_by_one():
    listed = make_native()
    counted = make_native()
    first, _ = listed.reset(seed=[8, 7, None, 10, 11])
    second, _ = counted.reset(seed=7)
    np.testing.assert_array_equal(first[[1, 3, 4]], second[[0, 3, 4]])
    with pytest.raises(ValueError, match="expected 5 seeds, got 2"):
        listed.reset(seed=[1, 2])


def test_making_a_vector_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make_native()
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert type(env).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


@pytest.mark.parametrize(
    ("keywords", "complaint"),
    [
        ({"num_envs": 0}, "num_envs must be an integer >= 1, got 0"),
        ({"autoreset_mode": "Sometimes"}, "autoreset_mode must be one of"),
        ({"threads": 0}, "threads must lie in"),
        ({"num_envs": 2.5}, "num_envs must be an integer"),
        ({"max_episode_steps": 0}, "max_episode_steps must be an integer >= 1"),
        ({"max_episode_steps": 2.5}, "max_episode_steps must be an integer >= 1"),
        ({"max_episode_steps": "3"}, "max_episode_steps must be an integer >= 1"),
        ({"info": "some"}, "info must be one of 'all', 'numbers', 'flat'"),
        ({"backend": "lnd"}, 'vectorization_mode="sync"'),
    ],
)
def test_impossible_vectors_are_refused(keywords, complaint):
    with pytest.raises(ConfigError, match=complaint):
        gym.make_vec("LightningNet-v0", **{"num_envs": ENVS, "backend": "simulator", **keywords})


@pytest.mark.parametrize("actions", [np.full(ENVS, 99), [5], 5, None, [[0], [1, 2]], np.zeros((ENVS, 1), int)])
def test_actions_outside_the_space_are_refused(actions):
    env = make_native()
    env.reset(seed=0)
    with pytest.raises(InvalidAction):
        env.step(actions)


def test_minus_one_is_no_time_limit():
    env = make_native(max_episode_steps=-1)
    env.reset(seed=0)
    assert not any(env.step(np.zeros(ENVS, int))[3].any() for _ in range(7))
