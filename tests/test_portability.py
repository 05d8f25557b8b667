"""Everything but the launchers of real nodes runs where POSIX does not: on macOS as far as it goes, and on Windows."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

WITHOUT_POSIX = """
import asyncio, importlib, os, pkgutil, signal, socket, sys

# Libraries from outside find their own way on each system, and have to find it on this one first.
import docker, filelock, grpc.aio, gymnasium, matplotlib, msgspec, numba, numpy, platformdirs, psutil, rich, typer
import websockets.asyncio.client, websockets.asyncio.server, websockets.sync.client
import multiprocessing.connection, multiprocessing.context, multiprocessing.reduction, multiprocessing.shared_memory
import concurrent.futures.process, concurrent.futures.thread
for optional in ("pyarrow", "pyarrow.parquet", "pygame", "stable_baselines3", "torch", "torch.utils.tensorboard"):
    try:
        importlib.import_module(optional)
    except ImportError:
        pass

for name in ("fcntl", "termios", "resource", "pwd", "grp", "pty", "tty", "syslog", "posix", "_posixsubprocess"):
    sys.modules[name] = None
for name in (
    "fork", "forkpty", "register_at_fork", "getuid", "geteuid", "getgid", "getegid", "getpgid", "getpgrp", "setsid",
    "setpgid", "killpg", "uname", "getloadavg", "sched_getaffinity", "sched_setaffinity", "nice", "chown", "mkfifo",
    "O_CLOEXEC", "WNOHANG", "WIFEXITED", "ctermid", "openpty", "pread", "sysconf",
):
    if hasattr(os, name):
        delattr(os, name)
for name in (
    "SIGKILL", "SIGSTOP", "SIGCONT", "SIGHUP", "SIGPIPE", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGQUIT",
    "SIGWINCH", "alarm", "setitimer", "pause", "pthread_kill", "pthread_sigmask", "sigwait",
):
    if hasattr(signal, name):
        delattr(signal, name)
for name in ("MSG_NOSIGNAL", "SO_REUSEPORT", "sethostname"):
    if hasattr(socket, name):
        delattr(socket, name)
"""
"""Takes away what Windows lacks, as far as the standard library of this system can do without it."""


def run_without_posix(program: str) -> str:
    """Run a program where modules and names of POSIX are missing; return what it prints."""
    source = WITHOUT_POSIX + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_but_the_launchers_is_imported_without_posix():
    printed = run_without_posix(
        """
        import lnsim_gym
        LAUNCHERS = "lnsim_gym.backends.lnd.nodes.launchers"
        count = 0
        for found in pkgutil.walk_packages(lnsim_gym.__path__, "lnsim_gym."):
            if found.name.startswith(LAUNCHERS) or found.name.endswith("proto.generate"):
                continue
            try:
                importlib.import_module(found.name)
            except ModuleNotFoundError as missing:
                extras = {"torch", "stable_baselines3", "pygame", "pyarrow", "pettingzoo", "minari", "ray", "optuna"}
                if (missing.name or "").partition(".")[0] not in extras:
                    raise
            count += 1
        print(count)
        """
    )
    assert int(printed) > 150


@pytest.mark.slow
def test_an_episode_is_played_and_streamed_without_posix():
    printed = run_without_posix(
        """
        import json
        import gymnasium as gym
        import lnsim_gym
        from lnsim_gym.bridge import StreamEpisodes
        from websockets.sync.client import connect

        env = StreamEpisodes(gym.make("LightningNet-v0", backend="simulator", max_episode_steps=3), port=0)
        with connect(f"ws://127.0.0.1:{env.bridge.port}") as client:
            client.recv(timeout=30)
            env.reset(seed=1)
            ended = False
            while not ended:
                *_, terminated, ended, info = env.step(env.action_space.sample())
            assert env.bridge.drain()
            print(json.loads(client.recv(timeout=30))["type"], info["payments"] > 0)
            env.close()
        """
    )
    assert printed.split()[-1] == "True"


@pytest.mark.slow
def test_daemons_of_our_own_are_refused_without_posix_with_a_remedy():
    printed = run_without_posix(
        """
        from lnsim_gym.backends.lnd import LndBackend, LndSettings
        from lnsim_gym.backends.lnd.nodes.folders import state_root
        from lnsim_gym.backends.lnd.nodes.programs import build_binaries
        from lnsim_gym.errors import MissingDependency
        from lnsim_gym.network.presets import preset

        for launcher in ("process", "docker"):
            try:
                LndBackend(preset("default"), settings=LndSettings(launcher=launcher)).open()
            except MissingDependency as refused:
                print(refused)
        for use in (state_root, build_binaries):
            try:
                use()
            except MissingDependency as refused:
                print(refused)
        """
    )
    refused = printed.strip().splitlines()
    assert len(refused) == 4
    assert all("expected a POSIX system" in line and "use the simulator" in line for line in refused)
