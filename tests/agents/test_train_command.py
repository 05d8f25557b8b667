"""The command that trains, as a user runs it: what it leaves, how it stops and goes on, and what it refuses."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sb3_contrib", reason="needs the extra 'train'")

from typer.testing import CliRunner

from lnsim_gym.agents.recipe import read_recipe
from lnsim_gym.cli import make_app
from lnsim_gym.errors import LnsimError

RECIPE = """\
algo = "ppo"
env = "LightningNet-v0"

[env_kwargs]
observation = "flows"

[hyperparams]
n_timesteps = 160
policy = "MlpPolicy"
n_envs = 4
n_steps = 20
batch_size = 40
n_epochs = 1
learning_rate = "lin_1e-3"
normalize = { norm_obs = true, norm_reward = true }
policy_kwargs = "dict(net_arch=dict(pi=[8], vf=[8]), activation_fn=nn.ReLU)"

[trained]
weights = "elsewhere.npz"
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    return str(path)


def lnsim(*arguments):
    done = CliRunner().invoke(make_app(), [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_seeds_train_one_after_another_and_the_first_can_be_played(recipe, tmp_path):
    out = tmp_path / "out"
    said = lnsim("train", recipe, "--seeds", "3:5", "--every", 160, "--out", out)
    assert "mean of 2 seeds" in (out / "learning_curve.svg").read_text()
    for seed in (3, 4):
        report = json.loads((out / f"seed-{seed}" / "report.json").read_text())
        assert report["seed"] == seed
        assert f"mine, seed {seed}: success rate {report['score']['success_rate']:.4f}" in said
    assert re.search(r"mine, 2 seeds: mean success rate 0\.\d+, standard deviation 0\.\d+", said)
    trained = (out / "mine.toml").read_text()
    assert 'weights = "seed-3/policy.npz"' in trained
    assert "seeds = [3, 4]" in trained
    assert "elsewhere" not in trained
    lnsim("eval", "noop", out / "mine.toml", "--seeds", "3000000:3000200", "--out", tmp_path / "scores.json")
    noop, mine = json.loads((tmp_path / "scores.json").read_text())
    first = json.loads((out / "seed-3" / "report.json").read_text())["score"]
    assert {**mine, "agent": "mine"} == first
    assert mine["success_rate"] != noop["success_rate"]
    assert "payments" in lnsim("run", "--agent", out / "mine.toml", "--steps", 3)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_request_to_stop_leaves_a_checkpoint_from_which_the_same_command_goes_on(number, status, recipe, tmp_path):
    out = tmp_path / "out"
    code = "from lnsim_gym.cli import main; main()"
    command = [sys.executable, "-c", code, "train", recipe, "--out", str(out), "--every", "80"]
    with subprocess.Popen([*command, "--steps", "100000000"], stderr=subprocess.PIPE, text=True) as training:
        told = training.stderr.readline()
        assert told.startswith("mine, seed 0: 80 of 100,000,000 steps, success rate ")
        assert told.endswith(f", checkpoint of 80 steps in {out / 'seed-0' / 'checkpoints'}\n")
        training.send_signal(number)
        said = training.stderr.read()
        assert training.wait(timeout=60) == status
    assert "--resume goes on" in said
    assert "Traceback" not in said
    [checkpoint] = (out / "seed-0" / "checkpoints").iterdir()
    steps = int(checkpoint.name) + 80
    assert f"{steps:,} steps in" in lnsim("train", recipe, "--out", out, "--resume", "--steps", steps)
    assert (out / "mine.toml").exists()


def test_a_training_is_not_overwritten_and_one_that_is_done_can_be_made_longer(recipe, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(LnsimError, match="found none"):
        lnsim("train", recipe, "--out", out, "--resume")
    lnsim("train", recipe, "--out", out, "--steps", 80, "--every", 80)
    with pytest.raises(LnsimError, match="holds a training already"):
        lnsim("train", recipe, "--out", out)
    assert "160 steps in" in lnsim("train", recipe, "--out", out, "--resume", "--every", 160)
    assert "2 seeds" in lnsim("train", recipe, "--out", out, "--resume", "--every", 160, "--seeds", "0:2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("targeted",), "is a rule and has nothing to learn"),
        (("pppo",), "Did you mean 'ppo'"),
        (("{recipe}", "--seeds", "5:2"), "A:B"),
        (("{recipe}", "--out", "{recipe}"), "cannot write"),
        (("{recipe}", "--zoo", "file.yml"), "ending in .py"),
        (("maskable_ppo", "--zoo", "file.py"), "has no maskable_ppo"),
        (("dpi", "--zoo", "file.py"), "has no dpi"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused(arguments, said, recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LnsimError, match=said):
        lnsim("train", *(argument.format(recipe=recipe) for argument in arguments))


def test_rl_zoo_is_told_the_same_hyperparameters(tmp_path):
    file = tmp_path / "ppo.py"
    said = lnsim("train", "ppo", "--zoo", file)
    assert f"rl_zoo3.train --algo ppo --env LightningNet-v0 --gym-packages lnsim_gym --conf-file {file}" in said
    assert shlex.split(said)[-2:] == ["--env-kwargs", "observation:'averages'"]
    told = {}
    exec(file.read_text(), told)
    recipe = read_recipe("ppo")
    assert told["hyperparams"] == {"LightningNet-v0": {**recipe.hyperparams, "env_kwargs": recipe.env_kwargs}}


@pytest.mark.parametrize("command", [("train", "{recipe}"), ("run", "--agent", "{recipe}")], ids=str)
def test_without_the_extra_a_command_says_what_to_install(command, recipe):
    code = (
        "import sys\nsys.modules['torch'] = sys.modules['sb3_contrib'] = None\nfrom lnsim_gym.cli import main; main()"
    )
    recurrent = Path(recipe)
    recurrent.write_text(RECIPE.replace('algo = "ppo"', 'algo = "ppo_lstm"'))
    arguments = [argument.format(recipe=recipe) for argument in command]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'lnsim_gym[train]'" in done.stderr
