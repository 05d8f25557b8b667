"""Recorders that are killed, or run out of memory: every step that was reported is on disk, and can be read."""

import csv
import random
import signal
import subprocess
import sys
import time

import pytest

from lnsim_gym.records.csv import COLUMNS
from lnsim_gym.records.trace import read_trace

PAYMENTS = 5
STEPS = 40
PROGRAM = f"""
import resource, sys
from pathlib import Path

import gymnasium as gym

import lnsim_gym
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.records.csv import CsvRecorder
from lnsim_gym.records.trace import TraceWriter

def recorded(folder):
    env = gym.make("LightningNet-v0", payments_per_step={PAYMENTS}, max_episode_steps=100_000)
    topology = env.unwrapped.topology
    trace = TraceWriter(folder / "trace.jsonl", topology, PaymentOptions(), backend="simulator")
    return RecordEpisodes(env, [trace, CsvRecorder(folder, topology)])
"""
ALONE = """
env = recorded(Path(sys.argv[1]))
env.reset(seed=1)
steps = 0
hog = []
while True:
    env.step(0)
    steps += 1
    print(steps, flush=True)
    if steps == STEPS and "short" in sys.argv:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, used + 2**24))
    if steps >= STEPS and "short" in sys.argv:
        hog.append(bytearray(2**18))
""".replace("STEPS", str(STEPS))
VECTOR = """
if __name__ == "__main__":
    import os, signal
    def in_its_own_folder():  # the process that makes the vector makes an environment, too
        folder = Path(sys.argv[1]) / str(os.getpid())
        folder.mkdir()
        return recorded(folder)

    envs = gym.vector.AsyncVectorEnv(2 * [in_its_own_folder], context="fork")
    envs.reset(seed=1)
    for steps in range(1, STEPS + 1):
        envs.step([0, 0])
        print(steps, flush=True)
    victim, other = envs.processes
    os.kill(victim.pid, signal.SIGKILL)
    try:
        envs.step([0, 0])
    except Exception as problem:
        print(type(problem).__name__, flush=True)
    envs.close(terminate=True)
    print(other.is_alive(), victim.pid, other.pid, flush=True)
""".replace("STEPS", str(STEPS))


def started(code, folder, *arguments):
    command = [sys.executable, "-c", PROGRAM + code, str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_holds(folder, steps):
    """Hold files to a number of steps that were reported: one more may have been made."""
    (episode,) = read_trace(folder / "trace.jsonl").episodes
    assert steps <= len(episode.steps) <= steps + 1
    (file,) = folder.glob("*.csv")
    rows = list(csv.DictReader(file.open(newline="")))
    assert all(set(row) == set(COLUMNS) and None not in row.values() for row in rows)
    assert len(rows) - PAYMENTS in (PAYMENTS * (steps - 1), PAYMENTS * steps)


@pytest.mark.parametrize("seed", range(3))
def test_a_recorder_that_is_killed_leaves_every_step_that_it_reported(seed, tmp_path):
    with started(ALONE, tmp_path) as program:
        assert program.stdout.readline() == "1\n"
        time.sleep(random.Random(seed).uniform(0.01, 0.3))
        program.send_signal(signal.SIGKILL)
        reported = program.stdout.read().split()
    assert_holds(tmp_path, int(reported[-1]) if reported else 1)


def test_a_recorder_without_memory_leaves_every_step_that_it_reported(tmp_path):
    with started(ALONE, tmp_path, "short") as program:
        said, errors = program.communicate(timeout=120)
    assert program.returncode == 1
    assert errors.rstrip().splitlines()[-1].startswith("MemoryError")
    steps = int(said.split()[-1])
    assert steps >= STEPS
    assert_holds(tmp_path, steps)


def test_a_worker_of_a_vector_that_is_killed_leaves_what_it_reported_and_the_others_can_be_ended(tmp_path):
    with started(VECTOR, tmp_path) as program:
        said, errors = program.communicate(timeout=120)
    assert program.returncode == 0, errors
    *steps, problem, alive, victim, other = said.split()
    assert steps == [str(number) for number in range(1, STEPS + 1)]
    assert problem in ("EOFError", "BrokenPipeError", "ConnectionResetError")
    assert alive == "False"
    assert_holds(tmp_path / victim, STEPS)
    assert_holds(tmp_path / other, STEPS)
