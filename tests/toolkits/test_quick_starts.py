"""What each toolkit shows in its own documentation, with an environment of this package put in."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import lnsim_gym
from lnsim_gym.cli import make_app
from tests.blocks import ALL, CHECKOUT, marked

pytestmark = pytest.mark.slow

ID = "LightningNet-v0"


def test_stable_baselines3():
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    check_env(gym.make(ID))
    model = sb3.PPO("MlpPolicy", ID, n_steps=64, device="cpu").learn(128)
    vec_env = make_vec_env(ID, n_envs=4)
    model = sb3.A2C("MlpPolicy", vec_env, device="cpu").learn(100)
    mean, _ = evaluate_policy(model, vec_env, n_eval_episodes=2, warn=False)
    assert 0 < mean <= 100
    assert sb3.DQN("MlpPolicy", ID, learning_starts=50, device="cpu").learn(100).num_timesteps == 100
    assert sb3.SAC("MlpPolicy", gym.make(ID, action="box"), learning_starts=50, device="cpu").learn(80)


def test_sb3_contrib():
    contrib = pytest.importorskip("sb3_contrib")
    from sb3_contrib.common.maskable.evaluation import evaluate_policy
    from sb3_contrib.common.maskable.utils import get_action_masks

    env = gym.make(ID)
    model = contrib.MaskablePPO("MlpPolicy", env, n_steps=64, device="cpu").learn(128)
    mean, _ = evaluate_policy(model, env, n_eval_episodes=1, warn=False)
    assert 0 < mean <= 100
    observation, info = env.reset(seed=0)
    for _ in range(20):
        action, _ = model.predict(observation, action_masks=get_action_masks(env))
        assert info["action_mask"][action]
        observation, *_, info = env.step(action)
    contrib.RecurrentPPO("MlpLstmPolicy", ID, n_steps=32, device="cpu").learn(64)


@pytest.mark.parametrize("agent", ["ppo", "dqn"])
def test_rl_baselines3_zoo_trains_evaluates_and_plays_exported_recipes(agent, tmp_path):
    if importlib.util.find_spec("rl_zoo3") is None:  # to import it would change Gymnasium's TimeLimit for all tests
        pytest.skip("not among the extras")
    said = CliRunner().invoke(make_app(), ["train", agent, "--zoo", str(tmp_path / "zoo.py")]).output
    printed = shlex.split(said)
    small = {"ppo": ["n_envs:2", "n_steps:64", "batch_size:64"], "dqn": ["n_envs:2", "learning_starts:100"]}[agent]
    folder = tmp_path / "logs"
    environ = {**os.environ, "PYTHONPATH": str(Path(lnsim_gym.__file__).parents[1])}

    def zoo(*arguments: object) -> str:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert printed[:3] == ["python", "-m", "rl_zoo3.train"]
    short = ("-n", 600, "--eval-freq", 300, "--eval-episodes", 1, "--hyperparams", *small, "-f", folder)
    assert "Eval num_timesteps" in zoo(*printed[1:], *short)
    played = zoo(
        "-m",
        "rl_zoo3.enjoy",
        "--algo",
        agent,
        "--env",
        ID,
        "--gym-packages",
        "lnsim_gym",
        "-f",
        folder,
        "-n",
        150,
        "--no-render",
    )
    assert re.search(r"Mean reward: \d", played) or "Episode Reward" in played


def test_tianshou():
    tianshou = pytest.importorskip("tianshou")
    from tianshou.algorithm import DQN
    from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.trainer import OffPolicyTrainerParams
    from tianshou.utils.net.common import Net

    env = gym.make(ID, mask_in_observation="tianshou")
    made = lambda: gym.make(ID, mask_in_observation="tianshou")  # noqa: E731
    training = tianshou.env.DummyVectorEnv([made for _ in range(4)])
    testing = tianshou.env.DummyVectorEnv([made for _ in range(2)])
    net = Net(state_shape=env.observation_space["obs"].shape, action_shape=env.action_space.n, hidden_sizes=[64])
    policy = DiscreteQLearningPolicy(model=net, action_space=env.action_space, eps_training=0.1)
    algorithm = DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3), gamma=0.9, target_update_freq=100)
    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=Collector(algorithm, training, VectorReplayBuffer(2_000, 4), exploration_noise=True),
            test_collector=Collector(algorithm, testing),
            max_epochs=1,
            epoch_num_steps=200,
            collection_step_num_env_steps=40,
            test_step_num_episodes=2,
            batch_size=32,
            update_step_num_gradient_steps_per_sample=0.05,
            show_progress=False,
            verbose=False,
        )
    )
    assert 0 < result.best_reward <= 100


def test_skrl(tmp_path):
    pytest.importorskip("skrl")
    import torch
    from skrl.agents.torch.ppo import PPO, PPO_CFG
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.memories.torch import RandomMemory
    from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
    from skrl.trainers.torch import SequentialTrainer
    from torch import nn

    class Policy(CategoricalMixin, Model):
        def __init__(self, observation_space, action_space, device):
            Model.__init__(self, observation_space=observation_space, action_space=action_space, device=device)
            CategoricalMixin.__init__(self, unnormalized_log_prob=True)
            self.net = nn.Sequential(nn.Linear(self.num_observations, 32), nn.Tanh(), nn.Linear(32, self.num_actions))

        def compute(self, inputs, role=""):
            return self.net(inputs["observations"]), {}

    class Value(DeterministicMixin, Model):
        def __init__(self, observation_space, action_space, device):
            Model.__init__(self, observation_space=observation_space, action_space=action_space, device=device)
            DeterministicMixin.__init__(self)
            self.net = nn.Sequential(nn.Linear(self.num_observations, 32), nn.Tanh(), nn.Linear(32, 1))

        def compute(self, inputs, role=""):
            return self.net(inputs["observations"]), {}

    env = wrap_env(gym.make_vec(ID, num_envs=4))
    spaces = (env.observation_space, env.action_space, env.device)
    models = {"policy": Policy(*spaces), "value": Value(*spaces)}
    cfg = PPO_CFG(rollouts=32, learning_epochs=2)
    cfg.experiment.directory = str(tmp_path)
    agent = PPO(
        models=models,
        memory=RandomMemory(memory_size=32, num_envs=env.num_envs, device=env.device),
        cfg=cfg,
        observation_space=env.observation_space,
        action_space=env.action_space,
        device=env.device,
    )
    before = [parameter.detach().clone() for parameter in models["policy"].parameters()]
    SequentialTrainer(
        cfg={"timesteps": 64, "headless": True, "disable_progressbar": True}, env=env, agents=agent
    ).train()
    assert any((own != old).any() for own, old in zip(models["policy"].parameters(), before, strict=True))
    assert torch.isfinite(torch.cat([own.flatten() for own in models["policy"].parameters()])).all()


def test_torchrl():
    pytest.importorskip("torchrl")
    import torch
    from tensordict.nn import TensorDictModule, TensorDictSequential
    from torchrl.collectors import Collector
    from torchrl.envs import ActionMask, GymEnv, TransformedEnv
    from torchrl.modules import MaskedCategorical, ProbabilisticActor

    env = TransformedEnv(GymEnv(ID, mask_in_observation=True, categorical_action_encoding=True), ActionMask())
    size = env.observation_spec["observation"].shape[-1]
    net = torch.nn.Linear(size, env.action_spec.space.n)
    values = TensorDictModule(net, in_keys=["observation"], out_keys=["logits"])
    mask = TensorDictModule(torch.Tensor.bool, in_keys=["action_mask"], out_keys=["mask"])
    policy = ProbabilisticActor(
        TensorDictSequential(values, mask),
        in_keys=["logits", "mask"],
        distribution_class=MaskedCategorical,
    )
    collector = Collector(env, policy, frames_per_batch=50, total_frames=100)
    for batch in collector:
        assert batch["action_mask"].gather(-1, batch["action"][..., None]).all()
        assert batch["next", "reward"].shape == (50, 1)
    collector.shutdown()


def in_pufferlib(buf=None, seed=0, **settings):
    """Return an environment as PufferLib makes those of Gymnasium its own."""
    import pufferlib.emulation

    return pufferlib.emulation.GymnasiumPufferEnv(gym.make(ID, **settings), buf=buf)


def nodes_in_pufferlib(buf=None, seed=0):
    """Return an environment as PufferLib makes those of PettingZoo its own."""
    import pufferlib.emulation

    return pufferlib.emulation.PettingZooPufferEnv(lnsim_gym.parallel_env(ID), buf=buf)


def test_pufferlib(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it leaves a link where it is imported
    pytest.importorskip("pufferlib")
    from pufferlib import vector

    env = in_pufferlib()
    env.reset(seed=5)
    observation, reward, terminal, truncation, info = env.step(env.action_space.sample())
    assert observation.shape == (1, *env.single_observation_space.shape)
    assert (0 <= reward <= 1, terminal, truncation, info["seed"]) == (True, False, False, 5)

    kinds = ({}, {"action": "box"}, {"action": "multidiscrete"}, {"observation": "dict", "mask_in_observation": True})
    for settings in kinds:
        make = partial(vector.make, in_pufferlib, num_envs=2, env_kwargs=settings)
        with (
            closing(make(backend=vector.Serial)) as one,
            closing(make(backend=vector.Multiprocessing, num_workers=2)) as other,
        ):
            one.action_space.seed(0)
            np.testing.assert_array_equal(one.reset(seed=7)[0], other.reset(seed=7)[0])
            for _ in range(101):
                action = one.action_space.sample()
                for its, theirs in zip(one.step(action)[:4], other.step(action)[:4], strict=True):
                    np.testing.assert_array_equal(its, theirs)

    nodes = vector.make(nodes_in_pufferlib, num_envs=2, backend=vector.Serial)
    assert nodes.reset()[0].shape[0] == nodes.num_agents == 10
    for _ in range(101):
        _, rewards, *_ = nodes.step(nodes.action_space.sample())
    assert ((rewards >= 0) & (rewards <= 1)).all()
    nodes.close()


def test_pettingzoo_wrappers_of_other_toolkits():
    pytest.importorskip("pettingzoo")
    pytest.importorskip("torchrl")
    from torchrl.envs import PettingZooWrapper

    env = PettingZooWrapper(lnsim_gym.parallel_env(ID, info="flat"))
    assert env.rollout(5).batch_size == (5,)


@pytest.mark.parametrize(
    ("script", "small"),
    [
        ("ppo", ["--total-timesteps", "1024", "--num-envs", "8", "--num-steps", "64"]),
        ("dqn", ["--total-timesteps", "1024", "--num-envs", "8", "--learning-starts", "256"]),
        ("sac", ["--total-timesteps", "1024", "--num-envs", "8", "--learning-starts", "256"]),
    ],
)
def test_single_files_train(script, small, capsys):
    path = Path(__file__).parents[2] / "agents" / "single_file" / f"{script}.py"
    spec = importlib.util.spec_from_file_location(script, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reached = module.main(module.parse_args([*small, "--evaluation-episodes", "10"]))
    assert 0 < reached <= 1
    assert "in 10 new episodes" in capsys.readouterr().out
    assert np.isfinite(reached)


@pytest.mark.parametrize(
    "block",
    [pytest.param(each, id=each.id) for each in ALL if each.mark == "toolkits" and each.language == "python"],
)
def test_what_the_page_of_toolkits_shows_runs(block, tmp_path):
    for library in re.findall(r"^(?:from|import) (\w+)", block.code, re.MULTILINE):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"needs {library}")
    code = block.code.replace("100_000", "8_192")
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_data_sets_are_written_and_read_as_the_page_of_toolkits_says(tmp_path, monkeypatch):
    pytest.importorskip("minari")
    pytest.importorskip("jax")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    command = shlex.split(marked("data sets").code.replace("0:100", "0:2"))
    assert CliRunner().invoke(make_app(), command[1:]).exit_code == 0
    names: dict[str, object] = {}
    exec(marked("data set read").code, names)
    assert names["data"].total_episodes == 2


@pytest.mark.parametrize("line", [line for each in ALL if each.mark == "cluster" for line in each.code.splitlines()])
def test_commands_of_the_page_of_clusters_are_understood(line):
    program, name, *arguments = shlex.split(line, comments=True)
    if program == "lnsim":
        group = typer.main.get_command(make_app())
        command = group.get_command(None, name)
        assert command.make_context(name, arguments).params["ray"]
