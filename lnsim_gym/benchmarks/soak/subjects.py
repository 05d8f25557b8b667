"""What is run for long: the simulator, a stream with clients, a network of real nodes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import gymnasium as gym
import psutil

from lnsim_gym.backends.lnd.nodes.folders import records
from lnsim_gym.benchmarks.soak.samples import usage
from lnsim_gym.bridge.pace import wait_for_clients
from lnsim_gym.bridge.stream import StreamEpisodes
from lnsim_gym.environment.single import LightningNetEnv
from lnsim_gym.errors import BringUpError, LnsimError

__all__ = ["Live", "Simulator", "Stream", "Subject"]

_DRAWN: Final = 64
"""Actions that are drawn beforehand: drawing them costs more than the steps."""


class Subject(ABC):
    """Something that makes steps, and that is closed in the end."""

    lost = 0
    """What went missing: messages that clients did not get, or networks of real nodes."""

    @abstractmethod
    def step(self) -> int:
        """Step, a new episode included where one is over; return how many steps of an environment that was."""

    def wait(self) -> None:  # noqa: B027 - most have no pace
        """Wait until the next step is due."""

    def figures(self) -> dict[str, float]:
        """Return what is to be sampled besides this process and the steps."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """Release everything."""

    def __enter__(self) -> Self:
        """Return itself for a ``with`` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class Simulator(Subject):
    """A vector of simulated environments, with actions at random.

    Args:
        env_id: Environment.
        num_envs: How many of them step at once.
    """

    def __init__(self, env_id: str, num_envs: int) -> None:
        self._envs = gym.make_vec(env_id, num_envs, backend="simulator")
        self._envs.action_space.seed(0)
        self._actions = [self._envs.action_space.sample() for _ in range(_DRAWN)]
        self._next = 0
        self._envs.reset(seed=0)

    def step(self) -> int:
        """See ``Subject.step``."""
        self._envs.step(self._actions[self._next])
        self._next = (self._next + 1) % _DRAWN
        return self._envs.num_envs

    def close(self) -> None:
        """See ``Subject.close``."""
        self._envs.close()


class Stream(Subject):
    """A simulated environment that is streamed to clients of another process.

    Args:
        clients: How many.
        steps_per_second: Pace; 0 is full speed.
    """

    def __init__(self, clients: int, steps_per_second: float) -> None:
        self._env = StreamEpisodes(gym.make("LightningNet-v0", backend="simulator"), port=0)
        self._pause_s = 1 / steps_per_second if steps_per_second else 0.0
        self._next_s = time.monotonic()
        self._over = False
        try:
            self._clients = _Clients(self._env.bridge.port, clients)
            wait_for_clients(self._env.bridge, clients)
            self._env.reset(seed=0)
        except BaseException:
            self._env.close()
            raise

    def step(self) -> int:
        """See ``Subject.step``."""
        if self._over:
            self._env.reset()
        _, _, terminated, truncated, _ = self._env.step(0)
        self._over = terminated or truncated
        return 1

    def wait(self) -> None:
        """See ``Subject.wait``; what was late by less than a second is made up for."""
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s = max(self._next_s, time.monotonic() - 1.0) + self._pause_s

    def figures(self) -> dict[str, float]:
        """Return what clients received since they were last asked, and how old it was then."""
        found = self._clients.ask()
        self.lost = int(found.pop("lost"))
        return {**found, "clients": float(self._env.bridge.counts().clients)}

    def close(self) -> None:
        """See ``Subject.close``."""
        self._clients.close()
        self._env.close()


class _Clients:
    """Clients of a stream in a process of their own, which tell what they received when they are asked."""

    def __init__(self, port: int, clients: int) -> None:
        command = [sys.executable, "-m", "lnsim_gym.benchmarks.bridge_clients", "watch", str(port), str(clients)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._answer() != "connected\n":
            self.close()
            raise LnsimError("the clients could not connect: see their message above")

    def ask(self) -> dict[str, float]:
        """Return what came in since the last time.

        Raises:
            LnsimError: They have ended.
        """
        try:
            print(file=self._process.stdin, flush=True)
        except OSError:
            raise LnsimError("the clients of the stream have ended: see their message above") from None
        if not (answer := self._answer()):
            raise LnsimError("the clients of the stream have ended: see their message above")
        found: dict[str, float] = json.loads(answer)
        return found

    def close(self) -> None:
        """End them."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        return self._process.stdout.readline() if self._process.stdout else ""


class Live(Subject):
    """An environment on real nodes of its own, which does nothing but pay; a lost network is counted and repaired.

    Args:
        topology: Preset, generator call or file.
    """

    def __init__(self, topology: str) -> None:
        self._env = gym.make("LightningNet-v0", backend="lnd", topology=topology, lnd={"launcher": "process"})
        self._over = True
        try:
            self._env.reset(seed=0)
            self._folder = self._find_folder()
        except BaseException:
            self._env.close()
            raise
        self._over = False

    def step(self) -> int:
        """See ``Subject.step``."""
        if self._over:
            self._env.reset()
        _, _, terminated, truncated, info = self._env.step(0)
        self.lost += bool(info["backend_error"])
        self._over = terminated or truncated
        return 1

    def figures(self) -> dict[str, float]:
        """Return what the nodes and btcd take, their files included."""
        found = next((each for each in records() if Path(each.folder) == self._folder), None)
        pids = [int(pid) for pid, _ in found.details["pids"].values()] if found else []
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        kept_bytes = sum(path.stat().st_size for path in files if path.exists())
        return {**usage("nodes", _alive(pids)), "nodes_disk_mib": kept_bytes / 2**20}

    def close(self) -> None:
        """See ``Subject.close``."""
        self._env.close()

    def _find_folder(self) -> Path:
        """Return the folder of the network."""
        network = cast("LightningNetEnv", self._env.unwrapped).network_record()
        if not network:
            raise BringUpError("expected a network of real nodes, got none that is up")
        return Path(network[0]["tls_cert_path"]).parent.parent


def _alive(pids: list[int]) -> list[psutil.Process]:
    """Return the processes that are there."""
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
