"""Every environment copies, pickles, saves and restores in mid-episode, and goes on as the original does."""

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.agents.sb3 import LightningVecEnv
from lnsim_gym.errors import ConfigError
from tests.waiting import wait_until

NETWORKS = 3
STEPS = 30  # past the end of an episode of 20 steps
SETTINGS = {
    "default": {},
    "dict, circular, senders that remember": {
        "observation": "dict",
        "operation": "circular",
        "payment": {"mission_control": "per_episode"},
    },
    "variants, in parts": {
        "variants": {"count": 5, "fee_base_msat": [0, 5000]},
        "payment": {"max_parts": 4},
        "traffic": {"median_amount_sat": 80_000},
    },
}


def make_single(settings):
    env = gym.make("LightningNet-v0", max_episode_steps=20, **settings)
    env.reset(seed=5)
    return env


def make_vector(mode):
    def make(settings):
        kwargs = {"autoreset_mode": mode, "threads": 2, "max_episode_steps": 20}
        env = gym.make_vec("LightningNet-v0", NETWORKS, **kwargs, **settings)
        env.reset(seed=5)
        return env

    return make


def make_sb3(settings):
    env = LightningVecEnv("LightningNet-v0", n_envs=NETWORKS, seed=5, threads=2, max_episode_steps=20, **settings)
    env.reset()
    return env


FORMS = {
    "single": make_single,
    "vector, next step": make_vector("NextStep"),
    "vector, same step": make_vector("SameStep"),
    "stable-baselines3": make_sb3,
}


@pytest.fixture(params=FORMS.values(), ids=FORMS.keys())
def make(request):
    return request.param


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS.keys())
def settings(request):
    return request.param


def play(env, steps, seed=0):
    """Step an environment, beginning again where that is the caller's business, and return all that it showed."""
    rng = np.random.default_rng(seed)
    shown = []
    for _ in range(steps):
        if isinstance(env, gym.Env):
            step = env.step(int(rng.integers(env.action_space.n)))
            if step[3]:
                step = (*step, env.reset())
        else:
            step = env.step(rng.integers(actions_of(env), size=NETWORKS))
        shown.append(step)
    return shown


def actions_of(env):
    """Return how many actions one network of a vector form has."""
    return env.single_action_space.n if isinstance(env, gym.vector.VectorEnv) else env.action_space.n


def assert_same(one, other):
    """Compare nested results of steps, arrays bit for bit; the wall time of a reset does not count."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"reset_seconds"}:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    elif isinstance(one, np.ndarray) and one.dtype == object:
        assert_same(one.tolist(), other.tolist())
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"]
)
def test_a_copy_goes_on_as_the_original_does_and_leaves_it_alone(make, settings, duplicate):
    env = make(settings)
    play(env, 7)
    other = duplicate(env)
    again = duplicate(env)
    ahead = play(other, STEPS)
    expected = play(env, STEPS)
    assert_same(ahead, expected)
    env.close()
    del env, other
    gc.collect()
    assert_same(play(again, STEPS), expected)


@pytest.mark.slow
def test_pickles_go_on_in_another_process(tmp_path):
    envs = {name: make({}) for name, make in FORMS.items()}
    for env in envs.values():
        play(env, 7)
    file = tmp_path / "envs.pickle"
    file.write_bytes(pickle.dumps(envs))
    code = (
        "import pickle, sys\n"
        "from tests.environment.test_copies import STEPS, play\n"
        "with open(sys.argv[1], 'rb') as file: envs = pickle.load(file)\n"
        "played = {name: play(env, STEPS) for name, env in envs.items()}\n"
        "with open(sys.argv[1], 'wb') as file: pickle.dump(played, file)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True, cwd=os.getcwd())
    played = pickle.loads(file.read_bytes())
    for name, env in envs.items():
        assert_same(played[name], play(env, STEPS))


def test_a_saved_state_is_gone_back_to_any_number_of_times(make, settings):
    env = make(settings)
    other = make(settings)
    inner = env.unwrapped if isinstance(env, gym.Env) else env
    play(env, 7)
    state = pickle.loads(pickle.dumps(inner.save_state()))
    expected = play(inner, STEPS)
    inner.restore_state(state)
    assert_same(play(inner, STEPS), expected)
    play(other, 3, seed=9)
    twin = other.unwrapped if isinstance(other, gym.Env) else other
    twin.restore_state(state)
    assert_same(play(twin, STEPS), expected)


def test_a_state_of_other_settings_is_refused(make):
    small = make({})
    large = make({"topology": "ring(nodes = 9)"})
    state = (small.unwrapped if isinstance(small, gym.Env) else small).save_state()
    with pytest.raises(ConfigError, match="save it from an environment made alike"):
        (large.unwrapped if isinstance(large, gym.Env) else large).restore_state(state)


def test_a_copy_shows_the_same_pictures(settings):
    env = gym.make("LightningNet-v0", max_episode_steps=20, render_mode="ansi", **settings)
    env.reset(seed=5)
    play(env, 7)
    other = copy.deepcopy(env)
    assert other.render() == env.render()
    state = env.unwrapped.save_state()
    before = env.render()
    play(env, 3)
    assert env.render() != before
    env.unwrapped.restore_state(state)
    assert env.render() == before


def test_a_copy_draws_the_same_random_actions():
    env = make_single({})
    env.action_space.seed(3)
    env.action_space.sample()
    other = copy.deepcopy(env)
    assert [env.action_space.sample() for _ in range(20)] == [other.action_space.sample() for _ in range(20)]


def test_an_environment_that_was_never_seeded_goes_on_with_the_same_random_seeds():
    env = gym.make("LightningNet-v0", max_episode_steps=5)
    env.reset()
    other = copy.deepcopy(env)
    assert_same(play(env, 12), play(other, 12))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_goes_on_and_the_parent_too(make):
    env = make({})
    play(env, 7)
    before = pickle.dumps(env)
    child = multiprocessing.get_context("fork").Process(target=play, args=(env, STEPS))
    child.start()
    try:
        wait_until(lambda: not child.is_alive(), deadline_s=60)
    finally:
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
    assert child.exitcode == 0
    assert_same(play(env, STEPS), play(pickle.loads(before), STEPS))


def test_many_copies_search_ahead_while_the_original_stands_still():
    env = make_single({"start_balances": {}})
    play(env, 4)
    balances = env.unwrapped.balances_msat()
    returns = [play(copy.deepcopy(env), 10, seed=seed)[-1][1] for seed in range(20)]
    assert len(set(returns)) > 1
    assert (env.unwrapped.balances_msat() == balances).all()


def test_an_environment_over_real_nodes_is_pickled_to_start_anew_and_cannot_be_saved():
    env = gym.make("LightningNetLive-v0")
    with pytest.raises(ConfigError, match="only episodes on the simulator"):
        env.unwrapped.save_state()
    other = pickle.loads(pickle.dumps(env))
    with pytest.raises(gym.error.ResetNeeded):
        other.step(0)
    env.close()
    other.close()


@pytest.mark.parametrize("wrong", [None, {}, [], (1, 2)], ids=str)
def test_what_is_no_state_is_refused(make, wrong):
    env = make({})
    with pytest.raises(ConfigError, match="expected what save_state returned"):
        (env.unwrapped if isinstance(env, gym.Env) else env).restore_state(wrong)


def test_a_state_of_other_settings_or_of_another_form_leaves_everything_as_it_is():
    env = make_single({"variants": {"count": 2}}).unwrapped
    expected = play(copy.deepcopy(env), 5)
    others = [
        make_single({"variants": {"count": 9}}).unwrapped,
        make_single({"variants": {"count": 2}, "traffic": {"median_amount_sat": 80_000}}).unwrapped,
        LightningVecEnv("LightningNet-v0", n_envs=1, seed=5, variants={"count": 2}),
    ]
    others[-1].reset()
    for other in others:
        with pytest.raises(ConfigError, match="save it from an environment made alike"):
            env.restore_state(other.save_state())
    assert_same(play(env, 5), expected)


@pytest.mark.parametrize("name", ["variant", "stepped_variant", "policies", "due"])
@pytest.mark.parametrize("value", [-1, 10_000])
def test_a_state_that_was_tampered_with_never_reaches_machine_code(name, value):
    env = make_single({"variants": {"count": 2}}).unwrapped
    expected = play(copy.deepcopy(env), 5)
    state = env.save_state()
    state.episodes[env._episodes._state.columns._fields.index(name)][:] = value
    with pytest.raises(ConfigError, match="save it from an environment made alike"):
        env.restore_state(state)
    assert_same(play(env, 5), expected)


def test_threads_that_step_one_environment_wait_for_each_other(make):
    env = make({"payments_per_step": 200})
    inner = env.unwrapped if isinstance(env, gym.Env) else env
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda seed: play(inner, 20, seed), range(8)):
            pass
    total_msat = inner.problem.topology.owned_total_msat
    balances_msat = inner._episodes.columns.balances_msat
    assert (balances_msat.sum(axis=2) == total_msat).all()
