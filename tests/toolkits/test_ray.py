"""A Ray cluster of two workers gives the results of one process, also when a worker dies in the middle.

All tests that start a cluster stand here, in one process, as ``auto`` finds those of other processes.
"""

from __future__ import annotations

import json
import os
import signal
import time
import tomllib
from threading import Thread

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

ray = pytest.importorskip("ray", reason="needs the extra 'ray'")

from lnsim_gym.agents import make_agent  # noqa: E402
from lnsim_gym.agents.cluster import evaluate_on_cluster, joined  # noqa: E402
from lnsim_gym.agents.evaluate import evaluate  # noqa: E402
from lnsim_gym.agents.learning.training.folder import TrainingFolder  # noqa: E402
from lnsim_gym.benchmarks.cluster import bench_cluster  # noqa: E402
from lnsim_gym.cli import make_app  # noqa: E402
from lnsim_gym.cli.evaluation import problem_of  # noqa: E402
from lnsim_gym.errors import BackendError  # noqa: E402

pytestmark = pytest.mark.slow

SEEDS = range(1_000_000, 1_000_200)
RECIPE = """
algo = "maskable_ppo"
env = "LightningNet-v0"
[env_kwargs]
observation = "flows"
[hyperparams]
n_timesteps = 4096
policy = "MlpPolicy"
n_envs = 8
n_steps = 64
batch_size = 256
"""


def lnsim(*arguments: object) -> str:
    done = CliRunner().invoke(make_app(), [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a cluster of two workers."""
    with joined("local", workers=2):
        yield ray.get_runtime_context().gcs_address


@pytest.fixture
def address(cluster, monkeypatch):
    """The same, for what joins a cluster and leaves it."""
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return cluster


def workers() -> list[psutil.Process]:
    """Worker processes of this session's cluster that run a task."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::_"):
            found.append(process)
    return found


def kill_one(after_s: float, killed: list[int]) -> Thread:
    """Kill a worker while it runs a task, once."""

    def kill() -> None:
        time.sleep(after_s)
        for _ in range(600):
            for process in workers():
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                return
            time.sleep(0.05)

    thread = Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_an_evaluation_equals_that_of_one_process(address, tmp_path):
    agents = ("targeted", "random", "dpi")
    for name, options in (("one", ()), ("many", ("--ray", address))):
        lnsim("eval", *agents, "--seeds", f"{SEEDS.start}:{SEEDS.stop}", *options, "--out", tmp_path / f"{name}.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "many.json").read_bytes()


def test_an_evaluation_survives_its_worker(address):
    problem, steps = problem_of("LightningNet-v0", {"observation": "flows"})
    planner = make_agent("planner", problem)
    seeds, steps = SEEDS[:50], 4
    killed: list[int] = []
    with joined(address):
        thread = kill_one(0.2, killed)
        (many,) = evaluate_on_cluster({"planner": (planner, steps)}, seeds)
        thread.join()
    assert killed
    assert many == evaluate("planner", planner, seeds, steps)


def test_a_training_survives_its_worker_and_learns_the_same(address, tmp_path):
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE)
    lnsim("train", recipe, "--seeds", "0:2", "--every", 512, "--out", tmp_path / "one")
    killed: list[int] = []

    def kill_once_there_is_a_checkpoint() -> None:
        folder = TrainingFolder(tmp_path / "many" / "seed-0")
        while folder.last_checkpoint() is None:
            time.sleep(0.02)
        kill_one(0, killed).join()

    thread = Thread(target=kill_once_there_is_a_checkpoint, daemon=True)
    thread.start()
    lnsim("train", recipe, "--seeds", "0:2", "--every", 512, "--ray", address, "--out", tmp_path / "many")
    thread.join()
    assert killed
    for seed in (0, 1):
        one, many = (tmp_path / run / f"seed-{seed}" for run in ("one", "many"))
        with np.load(one / "policy.npz") as own, np.load(many / "policy.npz") as its:
            assert set(own) == set(its)
            for name in own:
                np.testing.assert_array_equal(own[name], its[name])
        mine, theirs = (json.loads((folder / "report.json").read_text()) for folder in (one, many))
        assert mine["score"] == theirs["score"]
        assert mine["curve"] == theirs["curve"]


def test_tuning_searches_ranges_of_a_rule(address, tmp_path):
    out = tmp_path / "tuned.toml"
    lnsim("tune", "targeted", "--ray", address, "--trials", 6, "--seeds", "0:20", "--try", "low=0.05:0.6", "--out", out)
    tuned = tomllib.loads(out.read_text())
    assert 0.05 <= tuned["low"] <= 0.6
    played = lnsim("eval", out, "--seeds", "0:20")
    rate = out.read_text().split("success rate ")[1].split()[0]
    assert rate in played


def test_tuning_trains_what_learns(address, tmp_path):
    recipe, out = tmp_path / "small.toml", tmp_path / "tuned.toml"
    recipe.write_text(RECIPE)
    options = ("--trials", 2, "--steps", 512, "--seeds", "0:10", "--try", "learning_rate=0.0001:0.01")
    lnsim("tune", recipe, "--ray", address, *options, "--out", out)
    tuned = tomllib.loads(out.read_text())
    assert 0.0001 <= tuned["hyperparams"]["learning_rate"] <= 0.01
    assert tuned["hyperparams"]["n_steps"] == 64


def test_throughput_is_measured_by_number_of_workers():
    ray.shutdown()
    figures = bench_cluster((1, 2), episodes=50, steps=1)
    assert set(figures.steps_per_s) == {"1", "2"}
    assert all(value > 0 for value in (*figures.steps_per_s.values(), *figures.modelled_steps_per_s.values()))


def test_a_cluster_that_does_not_answer_is_said_so():
    ray.shutdown()
    with pytest.raises(BackendError, match=r"no Ray cluster answers at 'auto'"), joined("auto"):
        pass


@pytest.mark.parametrize("mask", [False, "rllib"])
def test_rllib(mask):
    pytest.importorskip("ray.rllib")
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec
    from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule

    ray.shutdown()
    config = (
        PPOConfig()
        .environment("lnsim_gym:LightningNet-v0", env_config={"mask_in_observation": mask})
        .env_runners(num_env_runners=2, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1)
    )
    if mask:
        config = config.rl_module(rl_module_spec=RLModuleSpec(module_class=ActionMaskingTorchRLModule))
    with joined("local"):
        algorithm = config.build_algo()
        result = algorithm.train()
        algorithm.stop()
    assert result["num_env_steps_sampled_lifetime"] >= 128
