"""Every algorithm trains, stops and goes on to the same weights, and its policy file acts as the trained model does."""

import msgspec
import numpy as np
import pytest

pytest.importorskip("sb3_contrib", reason="needs the extra 'train'")

import gymnasium as gym
from stable_baselines3.common.vec_env import VecNormalize

from lnsim_gym.agents import known_agents, make_agent, view_of
from lnsim_gym.agents.evaluate import evaluate
from lnsim_gym.agents.features import DemandFeatures, make_features
from lnsim_gym.agents.learning.hyperparams import ALGORITHMS, Hyperparameters
from lnsim_gym.agents.learning.sb3 import LightningVecEnv
from lnsim_gym.agents.learning.training.folder import TrainingFolder
from lnsim_gym.agents.learning.training.report import TrainingReport, with_trained
from lnsim_gym.agents.learning.training.run import TrainingRun
from lnsim_gym.agents.learning.training.train import train
from lnsim_gym.agents.learning.wrappers import FeaturedVecEnv
from lnsim_gym.agents.planner import estimator
from lnsim_gym.agents.recipe import Trained, TrainedRecipe, read_recipe, recipe_path
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig

ROLLOUTS = {"n_envs": 3, "n_steps": 20, "batch_size": 30, "n_epochs": 1, "n_timesteps": 240}
REPLAYS = {"n_envs": 2, "learning_starts": 40, "buffer_size": 150, "batch_size": 8, "n_timesteps": 200}
ROLLED_OUT = {
    "n_envs": 3,
    "n_timesteps": 90,
    "horizon": 3,
    "candidates": 6,
    "batch_size": 8,
    "gradient_steps": 2,
}
SMALL = {
    "ppo": {**ROLLOUTS, "normalize": True},
    "maskable_ppo": {**ROLLOUTS, "learning_rate": 3e-3},
    "ppo_lstm": ROLLOUTS,
    "dqn": {**REPLAYS, "normalize": {"norm_reward": False}, "target_update_interval": 30},
    "sac": REPLAYS,
    "dpi": ROLLED_OUT,
    "dpi_100": ROLLED_OUT,
}
SEEDS = range(3, 6)


@pytest.fixture
def small_fit(monkeypatch):
    """Fit estimates of the demand to fewer networks, which is quicker; how good they are is of no account here."""
    monkeypatch.setattr(estimator, "FIT_NETWORKS", 40)


def small_recipe(name):
    recipe = read_recipe(name)
    return msgspec.structs.replace(recipe, env="LightningNet-v0", hyperparams={**recipe.hyperparams, **SMALL[name]})


def new_folder(path):
    path.mkdir(parents=True)
    return TrainingFolder(path)


def weights(folder):
    with np.load(folder.policy, allow_pickle=False) as archive:
        return dict(archive)


def after(rollouts):
    """Return what asks to stop after a number of rollouts."""
    left = iter(range(2 * rollouts, -1, -1))
    return lambda: next(left, 0) == 0


def problem_of(name):
    return Problem.of(EnvironmentConfig.of({**gym.spec("LightningNet-v0").kwargs, **view_of(name)}))


@pytest.mark.slow
@pytest.mark.parametrize("algo", SMALL)
def test_a_training_that_stops_and_goes_on_ends_with_the_same_weights(algo, tmp_path, small_fit):
    recipe = small_recipe(algo)
    whole, parts, other = (new_folder(tmp_path / name) for name in ("whole", "parts", "other"))
    report = train(algo, recipe, 7, whole, seeds=SEEDS)
    stopped = after({"dpi": 12, "dpi_100": 12, "dqn": 60, "sac": 60}.get(algo, 2))
    assert train(algo, recipe, 7, parts, seeds=SEEDS, stopped=stopped) is None
    stopped_at = int(parts.last_checkpoint().name)
    assert 0 < stopped_at < report.steps
    resumed = train(algo, recipe, 7, parts, seeds=SEEDS, resume=True)
    assert resumed.score == report.score
    train(algo, recipe, 8, other, seeds=SEEDS)
    same = weights(parts)
    different = weights(other)
    for key, array in weights(whole).items():
        np.testing.assert_array_equal(array, same[key], err_msg=key)
    assert any(not np.array_equal(array, different[key]) for key, array in weights(whole).items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algo", "observation"), [*((algo, "its own") for algo in ALGORITHMS), ("ppo", "dict"), ("ppo_lstm", "dict")]
)
def test_a_policy_file_acts_as_the_checkpoint_does_in_stable_baselines3(algo, observation, tmp_path, small_fit):
    recipe = small_recipe(algo)
    folder = new_folder(tmp_path / "seed-0")
    text = recipe_path(algo).read_text()
    if observation == "dict":
        policy = "MultiInputLstmPolicy" if algo == "ppo_lstm" else "MultiInputPolicy"
        text = text.replace(f'"{recipe.env_kwargs["observation"]}"', '"dict"').replace(
            recipe.hyperparams["policy"], policy
        )
        recipe.env_kwargs["observation"] = "dict"
        recipe.hyperparams["policy"] = policy
    train(algo, recipe, 0, folder, seeds=SEEDS)
    own = tmp_path / "own.toml"
    own.write_text(with_trained(text, Trained(weights="seed-0/policy.npz")))
    agent = make_agent(str(own), problem_of(str(own)))
    assert folder.policy.stat().st_size < (folder.last_checkpoint() / "model.zip").stat().st_size

    model = ALGORITHMS[algo].load(folder.last_checkpoint() / "model.zip", device="cpu")
    env = LightningVecEnv("LightningNet-v0", 5, seed=1, max_episode_steps=12, **recipe.env_kwargs)
    if recipe.features is not None:
        env = FeaturedVecEnv(env, DemandFeatures(env.problem, 100))
    if (folder.last_checkpoint() / "vecnormalize.pkl").exists():
        env = VecNormalize.load(folder.last_checkpoint() / "vecnormalize.pkl", env)
        env.training = False
    seen = env.reset()
    memory = None
    starts = np.ones(5, bool)
    taken = set()
    for step in range(30):
        masks = env.env_method("action_masks")
        raw = env.get_original_obs() if isinstance(env, VecNormalize) else seen
        raw = raw[:, : agent.problem.task.observations.size] if recipe.features is not None else raw
        info = {"step": np.full(5, step % 12), "action_mask": np.stack(masks).astype(np.int8)}
        acted = agent.act(raw, info, np.random.default_rng(0))
        if algo in ("maskable_ppo", "dpi"):
            expected, _ = model.predict(seen, deterministic=True, action_masks=np.stack(masks))
        else:
            expected, memory = model.predict(seen, memory, starts, deterministic=True)
        np.testing.assert_array_equal(acted, expected)
        seen, _, starts, _ = env.step(expected)
        taken |= {action.tobytes() for action in expected}
    assert len(taken) > 1


@pytest.mark.parametrize("name", [name for name in known_agents() if isinstance(read_recipe(name), TrainedRecipe)])
def test_a_recipe_that_ships_makes_a_policy_and_plays_when_it_has_been_trained(name):
    recipe = read_recipe(name)
    problem = problem_of(name)
    features = make_features(recipe, problem)
    observations = features.space if features else problem.task.observations.space
    policy = Hyperparameters.of(recipe).make_policy(observations, problem.task.actions.space)
    assert policy.action_space == problem.task.actions.space
    assert Hyperparameters.of(recipe).n_timesteps >= (1000 if recipe.env == "LightningNet100-v0" else 100_000)
    if recipe.trained is not None:
        idle = evaluate("noop", make_agent("noop", problem), SEEDS, 100)
        assert evaluate(name, make_agent(name, problem), SEEDS, 100).success_rate > idle.success_rate + 0.1


def test_features_are_the_same_in_training_and_in_play(small_fit):
    settings = {"observation": "flows", "observation_history": 1, "max_episode_steps": 33}
    plain, venv = (LightningVecEnv("LightningNet-v0", 4, seed=1, **settings) for _ in range(2))
    training = FeaturedVecEnv(venv, DemandFeatures(venv.problem, 33))
    playing = DemandFeatures(plain.problem, 33)
    np.testing.assert_array_equal(training.reset(), playing(plain.reset(), plain.steps))
    rng = np.random.default_rng(0)
    for step in range(1, 60):
        actions = rng.integers(plain.action_space.n, size=4)
        observations, _, dones, infos = plain.step(actions)
        seen, _, _, told = training.step(actions)
        np.testing.assert_array_equal(seen, playing(observations, plain.steps))
        assert (np.abs(np.delete(seen, slice(62, 72), axis=1)) <= 1).all()  # all but the logarithms of weights
        assert seen[:, -1] == pytest.approx(min(33 - step % 33, 20) / 20)
        assert dones.all() == (step == 33)
        for info, featured in zip(infos, told, strict=True):
            if "terminal_observation" in info:
                last = featured["terminal_observation"]
                np.testing.assert_array_equal(
                    last[: plain.problem.task.observations.size], info["terminal_observation"]
                )
                assert last[-3:] == pytest.approx([8 / 25, 1 / 9, 0])
    assert not np.array_equal(seen[0, 62:72], seen[1, 62:72])


def test_features_need_what_they_are_made_of():
    with pytest.raises(ConfigError, match="observation 'flows'"):
        DemandFeatures(problem_of("noop"), 100)


def test_a_linear_schedule_ends_at_zero_also_when_resumed(tmp_path):
    from stable_baselines3 import PPO  # noqa: PLC0415

    recipe = small_recipe("ppo")
    folder = new_folder(tmp_path / "run")
    train("ppo", recipe, 0, folder, seeds=SEEDS, stopped=after(2))
    half = PPO.load(folder.last_checkpoint() / "model.zip", device="cpu")
    assert half.policy.optimizer.param_groups[0]["lr"] == half.lr_schedule(half._current_progress_remaining)
    assert 0 < half.policy.optimizer.param_groups[0]["lr"] < 1e-3
    train("ppo", recipe, 0, folder, seeds=SEEDS, resume=True)
    whole = PPO.load(folder.last_checkpoint() / "model.zip", device="cpu")
    assert whole.policy.optimizer.param_groups[0]["lr"] == 0


def test_a_report_says_what_was_done_and_what_came_out(tmp_path):
    folder = new_folder(tmp_path / "run")
    told = []
    report = train(
        "mine",
        small_recipe("ppo"),
        2,
        folder,
        every=60,
        seeds=SEEDS,
        command="asked",
        progress=lambda *args: told.append(args),
    )
    saved = msgspec.json.decode(folder.report.read_bytes())
    assert msgspec.json.decode(folder.report.read_bytes(), type=TrainingReport) == report
    assert [point["steps"] for point in saved["curve"]] == [60, 120, 180, 240]
    assert saved["curve"][-1]["success_rate"] == saved["score"]["success_rate"]
    assert (saved["agent"], saved["seed"], saved["steps"], saved["command"]) == ("mine", 2, 240, "asked")
    assert 0 < saved["environment_share"] < 1
    assert saved["wall_time_s"] > 0
    assert {"torch", "stable-baselines3", "lnsim_gym"} <= saved["versions"].keys()
    assert [done for done, *_ in told] == sorted(done for done, *_ in told)
    assert told[-1][:2] == (240, 240)
    assert told[-1][3] == folder.last_checkpoint()
    assert all(last is None or int(kept.name) == last.steps for _, _, last, kept in told)
    assert list(folder.log.glob("events.out.tfevents.*"))


def test_only_the_last_checkpoint_is_kept_and_one_of_another_recipe_is_not_resumed(tmp_path):
    recipe = small_recipe("ppo")
    folder = new_folder(tmp_path / "run")
    train("ppo", recipe, 0, folder, every=60, seeds=SEEDS)
    assert [path.name for path in folder.checkpoints.iterdir()] == [f"{240:012d}"]
    other = msgspec.structs.replace(recipe, hyperparams={**recipe.hyperparams, "gamma": 0.5})
    with pytest.raises(ConfigError, match="was made with hyperparams"):
        train("ppo", other, 0, folder, resume=True)
    with pytest.raises(ConfigError, match="was made with seed 0, now asked for is 1"):
        train("ppo", recipe, 1, folder, resume=True)
    with pytest.raises(ConfigError, match="found none"):
        train("ppo", recipe, 0, TrainingFolder(tmp_path / "empty"), resume=True)
    longer = train("ppo", recipe, 0, folder, steps=300, seeds=SEEDS, resume=True)
    assert longer.steps == 300
    for file in sorted(folder.last_checkpoint().iterdir()):
        kept = file.read_bytes()
        for damage in (b"", kept[: len(kept) // 2], kept[:-9] + bytes(byte ^ 1 for byte in kept[-9:])):
            file.write_bytes(damage)
            with pytest.raises(ConfigError, match="is damaged"):
                train("ppo", recipe, 0, folder, resume=True)
        file.write_bytes(kept)


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_checkpoint_that_was_cut_off_while_it_was_written_leaves_the_one_before(tmp_path, monkeypatch):
    recipe = small_recipe("ppo")
    whole, cut = (new_folder(tmp_path / name) for name in ("whole", "cut"))
    report = train("ppo", recipe, 0, whole, every=60, seeds=SEEDS)
    write = TrainingRun._write

    def cut_off(run, folder):
        write(run, folder)
        if run.steps > 120:
            (folder / "state.pkl").write_bytes((folder / "state.pkl").read_bytes()[:1000])
            raise Killed

    monkeypatch.setattr(TrainingRun, "_write", cut_off)
    with pytest.raises(Killed):
        train("ppo", recipe, 0, cut, every=60, seeds=SEEDS)
    assert cut.last_checkpoint().name == f"{120:012d}"
    monkeypatch.undo()
    assert train("ppo", recipe, 0, cut, every=60, seeds=SEEDS, resume=True).score == report.score
    assert [path.name for path in cut.checkpoints.iterdir()] == [f"{240:012d}"]
    for key, array in weights(whole).items():
        np.testing.assert_array_equal(array, weights(cut)[key], err_msg=key)


@pytest.mark.parametrize(
    ("hyperparams", "said"),
    [
        ({"n_step": 5}, "unknown hyperparameter 'n_step' of ppo. Did you mean 'n_steps'"),
        ({"seed": 5}, "unknown hyperparameter 'seed'"),
        ({"n_steps": "many"}, "n_steps does not fit"),
        ({"gamma": "high"}, "gamma does not fit"),
        ({"n_envs": 0}, "n_envs must be an integer >= 1"),
        ({"n_timesteps": 2.5}, "n_timesteps must be an integer >= 1"),
        ({"policy": "MlpPolcy"}, "Did you mean 'MlpPolicy'"),
        ({"policy": 5}, "policy does not fit"),
        ({"learning_rate": "cos_1e-3"}, "as in 'lin_3e-4'"),
        ({"learning_rate": "lin_fast"}, "as in 'lin_3e-4'"),
        ({"normalize": {"norm_obss": True}}, "Did you mean 'norm_obs'"),
        ({"policy_kwargs": {"net_arc": [8]}}, "net_arc"),
        ({"policy_kwargs": "dict(net_arch=open('x'))"}, "must be a table or as in"),
        ({"policy_kwargs": "dict(activation_fn=nn.Tan)"}, "must be a table or as in"),
        ({"policy_kwargs": "__import__('os').getcwd()"}, "must be a table or as in"),
        ({"batch_size": 1}, "PPO does not take the hyperparameters"),
        ({"n_timesteps": None}, "give --steps"),
    ],
    ids=str,
)
def test_hyperparameters_at_fault_are_refused(hyperparams, said, tmp_path):
    recipe = small_recipe("ppo")
    wanted = {key: value for key, value in {**recipe.hyperparams, **hyperparams}.items() if value is not None}
    with pytest.raises(ConfigError) as refusal:
        train("ppo", msgspec.structs.replace(recipe, hyperparams=wanted), 0, TrainingFolder(tmp_path))
    assert said in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"env": "LightningNett-v0"}, "LightningNett"),
        ({"env": "LightningNetLive-v0"}, "training needs the simulator"),
        ({"env_kwargs": {"observations": "flows"}}, "Did you mean 'observation'"),
        ({"env_kwargs": {"action": "box"}}, "maskable_ppo|MaskablePPO"),
    ],
    ids=str,
)
def test_environments_at_fault_are_refused(changes, said, tmp_path):
    recipe = small_recipe("maskable_ppo")
    with pytest.raises(ConfigError, match=said):
        train("mine", msgspec.structs.replace(recipe, **changes), 0, TrainingFolder(tmp_path))


@pytest.mark.parametrize(
    ("hyperparams", "said"),
    [
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"exploration": 1.5}, "exploration must lie in 0..1, got 1.5"),
        ({"policy_kwargs": {"net_arc": [8]}}, "net_arc"),
        ({"n_steps": 5}, "unknown hyperparameter 'n_steps' of dpi"),
    ],
    ids=str,
)
def test_hyperparameters_that_policy_iteration_cannot_use_are_refused(hyperparams, said, tmp_path, small_fit):
    recipe = small_recipe("dpi")
    wrong = msgspec.structs.replace(recipe, hyperparams={**recipe.hyperparams, **hyperparams})
    with pytest.raises(ConfigError, match=said):
        train("dpi", wrong, 0, TrainingFolder(tmp_path))


def test_a_policy_that_cannot_play_is_refused(tmp_path):
    recipe = small_recipe("ppo")
    folder = new_folder(tmp_path / "seed-0")
    train("ppo", recipe, 0, folder, seeds=SEEDS)
    own = tmp_path / "own.toml"
    own.write_text(with_trained(recipe_path("ppo").read_text(), Trained(weights="seed-0/policy.npz")))
    other = Problem.of(EnvironmentConfig.of({"topology": "ring(nodes = 4)", **view_of(str(own))}))
    with pytest.raises(ConfigError, match=r"was trained for observations Box\(.*this environment has Box"):
        make_agent(str(own), other)
    own.write_text(own.read_text().replace("128, 128", "64, 64"))
    with pytest.raises(ConfigError, match="does not fit the recipe"):
        make_agent(str(own), problem_of(str(own)))
    folder.policy.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="is no policy file"):
        make_agent(str(own), problem_of(str(own)))
    folder.policy.unlink()
    with pytest.raises(ConfigError, match="is missing"):
        make_agent(str(own), problem_of(str(own)))
