"""Render modes keep Gymnasium's contract, and cost nothing when there is none."""

import statistics
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo

from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.environment.single import LightningNetEnv
from lnsim_gym.environment.vector import LightningNetVectorEnv
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.backed import BackendEpisodes
from lnsim_gym.errors import ConfigError, MissingDependency
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.rendering import RENDER_FPS, RENDER_MODES, Renderer
from lnsim_gym.tasks.config import EnvironmentConfig

pytest.importorskip("matplotlib", reason="needs the extra 'render'")
pygame = pytest.importorskip("pygame", reason="needs the extra 'render'")


@pytest.fixture(autouse=True)
def quick_windows(monkeypatch):
    for kind in (LightningNetEnv, LightningNetVectorEnv):
        monkeypatch.setitem(kind.metadata, "render_fps", 1000)


def make(mode, **settings):
    return gym.make("LightningNet-v0", render_mode=mode, **settings)


@pytest.mark.parametrize("mode", RENDER_MODES)
@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_finds_nothing_in_any_mode(mode):
    check_env(make(mode).unwrapped)


@pytest.mark.parametrize("mode", RENDER_MODES)
def test_rendering_changes_no_episode(mode):
    shown = make(mode)
    plain = make(None)
    first, _ = shown.reset(seed=3)
    np.testing.assert_array_equal(first, plain.reset(seed=3)[0])
    for action in (0, 1, 30, 42):
        shown.render()
        observation, reward, *_ = shown.step(action)
        expected, expected_reward, *_ = plain.step(action)
        np.testing.assert_array_equal(observation, expected)
        assert reward == expected_reward
    shown.close()


def test_a_picture_does_not_depend_on_the_pictures_before_it():
    often = make("rgb_array")
    once = make("rgb_array")
    for env in (often, once):
        env.reset(seed=5)
    for action in range(0, 42, 3):
        kept = often.render()
        copy = kept.copy()
        often.step(action)
        once.step(action)
    last = often.render()
    np.testing.assert_array_equal(last, once.render())
    np.testing.assert_array_equal(last, often.render())
    np.testing.assert_array_equal(kept, copy)
    assert not np.array_equal(kept, last)
    assert last.dtype == np.uint8
    assert last.ndim == 3
    assert all(size % 2 == 0 for size in last.shape[:2])


def test_a_window_shows_the_picture_at_every_reset_and_step_until_it_is_closed():
    window = make("human")
    array = make("rgb_array")
    for env in (window, array):
        env.reset(seed=2)
    for action in (0, 7):
        np.testing.assert_array_equal(window_pixels(), array.render())
        window.step(action)
        array.step(action)
    assert window.render() is None
    np.testing.assert_array_equal(window_pixels(), array.render())
    window.close()
    assert not pygame.display.get_init()
    window.close()


def window_pixels():
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


def test_a_window_waits_for_its_pace(monkeypatch):
    monkeypatch.setitem(LightningNetEnv.metadata, "render_fps", 10)
    env = make("human")
    env.reset(seed=0)
    start = time.perf_counter()
    for _ in range(3):
        env.step(0)
    assert time.perf_counter() - start >= 0.25
    env.close()


def test_a_window_that_a_person_closed_stays_closed_and_the_episode_goes_on():
    env = make("human")
    env.reset(seed=2)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    env.step(0)
    assert not pygame.display.get_init()
    *_, info = env.step(0)
    assert info["step"] == 2
    assert not pygame.display.get_init()
    env.close()


def test_an_episode_becomes_a_video(tmp_path, monkeypatch):
    monkeypatch.setitem(LightningNetEnv.metadata, "render_fps", RENDER_FPS)
    moviepy = pytest.importorskip("moviepy", reason="needs the extra 'render'")
    env = RecordVideo(make("rgb_array", max_episode_steps=7), str(tmp_path / "videos"))
    env.reset(seed=0)
    while not env.step(env.action_space.sample())[3]:
        pass
    env.close()
    (file,) = tmp_path.glob("videos/*.mp4")
    with moviepy.VideoFileClip(str(file)) as clip:
        assert clip.size == [960, 640]
        assert clip.fps == RENDER_FPS
        assert clip.duration == pytest.approx(8 / clip.fps, abs=0.6)
        assert clip.get_frame(0).mean() > 200  # a picture on white


def test_a_vector_environment_renders_each_network():
    modes = {mode: gym.make_vec("LightningNet-v0", num_envs=3, render_mode=mode) for mode in RENDER_MODES}
    for env in modes.values():
        env.reset(seed=4)
        env.step(np.array([1, 0, 9]))
    frames = modes["rgb_array"].render()
    texts = modes["ansi"].render()
    assert [text.splitlines()[0] for text in texts] == [f"seed {seed}, episode 0, step 1" for seed in (4, 5, 6)]
    single = make("ansi")
    single.reset(seed=6)
    single.step(9)
    assert single.render() == texts[2]
    assert len({frame.tobytes() for frame in frames}) == 3
    assert modes["human"].render() is None
    height, width, _ = frames[0].shape
    window = window_pixels()
    assert window.shape == (2 * height, 2 * width, 3)
    np.testing.assert_array_equal(window[:height, width:], frames[1])
    np.testing.assert_array_equal(window[height:, :width], frames[2])
    assert (window[height:, width:] == 255).all()
    for env in modes.values():
        env.close()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_vector_environment_shows_the_next_episode_after_a_reset(mode):
    env = gym.make_vec("LightningNet-v0", num_envs=2, render_mode="ansi", max_episode_steps=2, autoreset_mode=mode)
    env.reset(seed=4)
    for _ in range(3 if mode == "NextStep" else 2):
        env.step(np.zeros(2, int))
    assert env.render()[1].splitlines()[:2] == ["seed 5, episode 1, step 0", "rebalance     none"]


def test_stable_baselines3_gets_the_pictures_of_all_networks_as_one(tmp_path):
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env", reason="needs the extra 'train'")
    from lnsim_gym.agents.learning.sb3 import LightningVecEnv  # noqa: PLC0415

    settings = {"render_mode": "rgb_array", "max_episode_steps": 3}
    native = LightningVecEnv("LightningNet-v0", 2, seed=4, **settings)
    vector = gym.make_vec("LightningNet-v0", num_envs=2, autoreset_mode="SameStep", **settings)
    films = vec_env.VecVideoRecorder(native, str(tmp_path), lambda step: step == 0, video_length=4)
    films.reset()
    vector.reset(seed=4)
    for _ in range(5):
        np.testing.assert_array_equal(films.render(), np.concatenate(vector.render()))
        films.step(np.array([1, 5]))
        vector.step(np.array([1, 5]))
    films.close()
    assert len(list(tmp_path.glob("*.mp4"))) == 1
    assert LightningVecEnv("LightningNet-v0").get_images() == []
    with pytest.raises(ConfigError, match="None or 'rgb_array', got 'human'"):
        LightningVecEnv("LightningNet-v0", render_mode="human")


@pytest.mark.slow
def test_networks_behind_any_backend_are_rendered():
    problem = Problem.of(EnvironmentConfig.of(gym.spec("LightningNet-v0").kwargs))
    episodes = BackendEpisodes(problem, SimulatorBackend(problem.topology, PaymentOptions()))
    renderers = [Renderer(mode, episodes, LightningNetEnv.metadata) for mode in ("rgb_array", "ansi")]
    reference = [make(mode) for mode in ("rgb_array", "ansi")]
    everyone = np.ones(1, np.bool_)
    episodes.seed(0, 9)
    episodes.begin(everyone)
    for renderer, env in zip(renderers, reference, strict=True):
        renderer.began(everyone, env.get_wrapper_attr("spec").max_episode_steps)
        env.reset(seed=9)
    for action in (5, 0):
        episodes.step_one(problem.task.actions.decode_one(action))
        for renderer, env in zip(renderers, reference, strict=True):
            renderer.stepped(everyone)
            env.step(action)
            np.testing.assert_array_equal(renderer.render()[0], env.render())
    episodes.close()


def test_without_a_render_mode_nothing_is_loaded_or_drawn():
    program = (
        "import sys, gymnasium as gym, lnsim_gym\n"
        "env = gym.make('LightningNet-v0')\nenv.reset(seed=0)\nenv.step(0)\n"
        "assert env.unwrapped.render() is None\n"
        "assert not {'matplotlib', 'pygame'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "render_mode is None" in done.stderr


@pytest.mark.parametrize(("mode", "package"), [("rgb_array", "matplotlib"), ("human", "pygame")])
def test_a_missing_package_is_named_with_what_to_install(mode, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=rf"needs {package}: run pip install 'lnsim_gym\[render\]'"):
        make(mode)
    make("ansi").close()


@pytest.mark.filterwarnings("ignore:.*not in the possible render_modes")
def test_an_unknown_mode_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match="Did you mean 'rgb_array'"):
        make("rgb_aray")


@pytest.mark.parametrize("vector", [False, True])
def test_render_before_reset_is_refused(vector):
    env = gym.make_vec("LightningNet-v0", num_envs=2, render_mode="ansi") if vector else make("ansi").unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.render()


@pytest.mark.parametrize("environment", ["LightningNet-v0", "LightningNet100-v0"])
def test_a_picture_after_the_first_costs_far_less_than_the_first(environment):
    env = gym.make(environment, render_mode="rgb_array")
    env.reset(seed=0)
    first_s, *later_s = [_drawing_s(env, action) for action in range(1, 10)]
    assert statistics.median(later_s) < first_s / 2


def _drawing_s(env, action):
    """Return the CPU seconds of the picture after a step."""
    env.step(action)
    start = time.process_time()
    env.render()
    return time.process_time() - start
