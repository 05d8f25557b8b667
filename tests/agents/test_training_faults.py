"""Trainings that are killed, or have no room: they go on from the last checkpoint, and end with the same weights."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("sb3_contrib", reason="needs the extra 'train'")

from tests.agents.test_train_command import RECIPE
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
STEPS = 640


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "mine.toml"
    path.write_text(RECIPE)
    return path


def training(recipe, out, *arguments, most_kib="unlimited"):
    """Start a training; files may grow to so much at most."""
    command = [sys.executable, "-m", "lnsim_gym", "train", recipe, "--out", out, "--every", "80", "--steps", STEPS]
    limited = ["bash", "-c", f'ulimit -f {most_kib}; exec "$@"', "bash", *map(str, command), *arguments]
    return subprocess.Popen(limited, stderr=subprocess.PIPE, text=True)


def begun(program, out, before=""):
    """Wait until a training has a checkpoint later than one before, whose steps its folder is named by."""
    wait_until(lambda: program.poll() is not None or last_checkpoint(out) > before, deadline_s=120)
    assert program.returncode is None, program.stderr.read()


def last_checkpoint(out):
    return max((path.name for path in out.glob("seed-0/checkpoints/[0-9]*")), default="")


def ended(program):
    """Wait for a program to end well."""
    _, said = program.communicate(timeout=300)
    assert program.returncode == 0, said


def weights(out):
    with np.load(out / "seed-0" / "policy.npz") as archive:
        return {name: archive[name] for name in archive.files}


def assert_same(one, other):
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """What a training that nothing happened to leaves."""
    out = tmp_path_factory.mktemp("whole")
    ended(training(recipe, out / "out"))
    return out / "out"


def test_a_training_that_is_killed_once_it_told_how_far_it_is_has_the_checkpoint_that_it_named(recipe, tmp_path):
    out = tmp_path / "out"
    with training(recipe, out) as program:
        told = next(line for line in program.stderr if " of " in line)  # the first line says that so few teach little
        program.send_signal(signal.SIGKILL)
    assert f"80 of {STEPS} steps" in told
    assert f"checkpoint of 80 steps in {out}" in told
    assert int(last_checkpoint(out)) >= 80
    ended(training(recipe, out, "--resume"))


def test_a_training_that_is_killed_over_and_over_ends_with_the_same_weights(recipe, whole, tmp_path):
    out = tmp_path / "out"
    rng = random.Random(1)
    kills = 0
    for _ in range(3):
        before = last_checkpoint(out)
        with training(recipe, out, *(("--resume",) if before else ())) as program:
            begun(program, out, before)
            time.sleep(rng.uniform(0, 0.05))
            program.send_signal(signal.SIGKILL)
        kills += program.returncode == -signal.SIGKILL
    assert kills
    ended(training(recipe, out, "--resume"))
    assert_same(out, whole)


def test_a_training_without_room_says_so_and_goes_on_when_there_is_some(recipe, whole, tmp_path):
    out = tmp_path / "out"
    with training(recipe, out) as program:  # to have a checkpoint
        begun(program, out)
        program.send_signal(signal.SIGKILL)
    program = training(recipe, out, "--resume", most_kib=2)
    _, said = program.communicate(timeout=300)
    assert program.returncode == 1, said
    assert "Traceback" not in said
    assert "error: " in said
    assert "File too large" in said
    ended(training(recipe, out, "--resume"))
    assert_same(out, whole)
