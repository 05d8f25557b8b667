"""How much the bridge carries: many clients, a streamed simulator, and what streaming costs real nodes.

The clients run in a process of their own, so two cores are in use: one for the environment and the server, one for
the clients.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np

from lnsim_gym.agents.evaluate import bootstrap
from lnsim_gym.benchmarks.report import Report, circumstances, system_load
from lnsim_gym.bridge.pace import wait_for_clients
from lnsim_gym.bridge.stream import StreamEpisodes
from lnsim_gym.errors import LnsimError

__all__ = [
    "BridgeFigures",
    "FanOut",
    "LiveStreamed",
    "Streamed",
    "measure_bridge",
    "measure_fan_out",
    "measure_live",
    "measure_streamed",
]

_ENDLESS = 2**31


class FanOut(msgspec.Struct, frozen=True, kw_only=True):
    """Many clients of a paced stream."""

    clients: int
    messages_per_second: float
    """Received by all clients together."""
    lost: int
    """Sent by the environment and not received, by all clients together."""
    p50_s: float
    """Median time from a message's timestamp to its receipt."""
    p99_s: float


class Streamed(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that streams as fast as it can."""

    clients: int
    steps_per_second: float
    messages_per_step: float
    megabytes_per_second: float
    """Received by all clients together, in 10^6 bytes."""
    lost: int
    """Messages published and not received, by all clients together."""


class BridgeFigures(Report, frozen=True, kw_only=True):
    """What ``measure_bridge`` found."""

    fan_out: FanOut
    streamed: Streamed
    paused_steps_per_second: float
    """With clients connected and streaming paused."""
    unheard_steps_per_second: float
    """With no client connected."""
    bare_steps_per_second: float
    """Without the wrapper."""


class LiveStreamed(Report, frozen=True, kw_only=True):
    """Steps on real nodes, each done twice: with some clients, and with none."""

    clients: int
    steps: int
    alone_s: float
    """Median step with no client, in seconds."""
    heard_s: float
    """Median step with the clients."""
    longer: float
    """How much longer the same step takes with the clients, mean as a share of the step without."""
    longer_low: float
    """Lower end of its 95 % bootstrap interval over steps."""
    longer_high: float
    """Upper end of it."""


def measure_bridge(seconds: float = 5.0) -> BridgeFigures:
    """Measure everything on the default network of the simulator.

    Args:
        seconds: Length of each measurement.
    """
    load_before = system_load()
    bare = _make(20)
    with _streamed(20) as env, _clients("count", env, 10):
        env.bridge.paused = True
        paused = _free_running(env, seconds)
    with _streamed(20) as env:
        unheard = _free_running(env, seconds)
    with contextlib.closing(bare):
        bare.reset(seed=0)
        bare_rate = _free_running(bare, seconds)
    return BridgeFigures(
        fan_out=measure_fan_out(seconds=seconds),
        streamed=measure_streamed(seconds=seconds),
        paused_steps_per_second=paused,
        unheard_steps_per_second=unheard,
        bare_steps_per_second=bare_rate,
        **circumstances(load_before, "websockets"),
    )


def measure_fan_out(clients: int = 100, messages_per_second: float = 20_000.0, seconds: float = 5.0) -> FanOut:
    """Measure how long messages travel to many clients.

    Args:
        clients: Ordinary WebSocket clients.
        messages_per_second: Messages to receive, by all clients together.
        seconds: Length of the measurement.
    """
    with _streamed(1) as env, _clients("latency", env, clients) as finish:
        first_seq = env.bridge.seq
        started = time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            sent = env.bridge.seq - first_seq
            ahead_s = sent * clients / messages_per_second - elapsed
            if ahead_s > 0:
                time.sleep(ahead_s)
            env.step(0)
        sent = env.bridge.seq - first_seq
        elapsed = time.perf_counter() - started
        env.bridge.drain()
        env.bridge.close()
        found = finish()
    received = sum(found["received"])
    return FanOut(
        clients=clients,
        messages_per_second=received / elapsed,
        lost=sent * clients - received,
        p50_s=found["p50_s"],
        p99_s=found["p99_s"],
    )


def measure_streamed(clients: int = 10, payments_per_step: int = 20, seconds: float = 5.0) -> Streamed:
    """Measure how fast a simulated environment steps while every message goes to some clients."""
    with _streamed(payments_per_step) as env, _clients("count", env, clients) as finish:
        first_seq = env.bridge.seq
        steps, elapsed = _run(env, seconds)
        sent = env.bridge.seq - first_seq
        env.bridge.drain()
        env.bridge.close()
        found = finish()
    # Each client also received two messages of its own when it connected.
    received = sum(found["received"]) - 2 * clients
    return Streamed(
        clients=clients,
        steps_per_second=steps / elapsed,
        messages_per_step=sent / steps,
        megabytes_per_second=found["bytes"] / 1e6 / elapsed,
        lost=sent * clients - received,
    )


def measure_live(launcher: str = "process", clients: int = 10, rounds: int = 10, steps: int = 3) -> LiveStreamed:
    """Measure how much longer a step on real nodes takes while every message goes to some clients.

    Every round does the same steps with and without clients, by turns in either order, as a machine has moods.

    Args:
        launcher: Who runs the nodes.
        clients: Ordinary WebSocket clients.
        rounds: How often the steps are repeated.
        steps: Steps of a round.

    Raises:
        BringUpError: The network did not become ready.
    """
    load_before = system_load()
    taken_s: dict[bool, list[float]] = {False: [], True: []}
    env = StreamEpisodes(gym.make("LightningNet-v0", backend="lnd", lnd={"launcher": launcher}), port=0)
    with contextlib.closing(env):
        for number in range(rounds):
            for heard in (False, True) if number % 2 else (True, False):
                with _clients("latency", env, clients) if heard else contextlib.nullcontext():
                    env.reset(seed=0, options={"episode": 0})
                    taken_s[heard] += [_step_s(env) for _ in range(steps)]
    alone_s = np.array(taken_s[False])
    heard_s = np.array(taken_s[True])
    ratios = np.log(heard_s / alone_s)
    low, high = np.expm1(bootstrap(ratios))
    return LiveStreamed(
        clients=clients,
        steps=len(ratios),
        alone_s=float(np.median(alone_s)),
        heard_s=float(np.median(heard_s)),
        longer=float(np.expm1(ratios.mean())),
        longer_low=float(low),
        longer_high=float(high),
        **circumstances(load_before, "websockets", "grpcio"),
    )


def _make(payments_per_step: int) -> gym.Env[Any, Any]:
    """Make the environment that is streamed, with episodes that never end."""
    return gym.make(
        "LightningNet-v0", backend="simulator", payments_per_step=payments_per_step, max_episode_steps=_ENDLESS
    )


@contextlib.contextmanager
def _streamed(payments_per_step: int) -> Iterator[StreamEpisodes]:
    """Make a streamed environment, ready to step."""
    env = StreamEpisodes(_make(payments_per_step), port=0)
    with contextlib.closing(env):
        env.reset(seed=0)
        env.step(0)
        yield env


@contextlib.contextmanager
def _clients(mode: str, env: StreamEpisodes, clients: int) -> Iterator[Any]:
    """Connect clients in another process; yields a function that returns what they found once they are closed."""
    command = [sys.executable, "-m", "lnsim_gym.benchmarks.bridge_clients", mode, str(env.bridge.port), str(clients)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout
        if output is None or output.readline().strip() != "connected":
            process.kill()
            raise LnsimError("the benchmark's clients could not connect: see their message above")
        wait_for_clients(env.bridge, clients)
        try:
            yield lambda: json.loads(output.read())
        finally:
            process.terminate()


def _step_s(env: gym.Env[Any, Any]) -> float:
    """Step once and return how long it took, in seconds."""
    started = time.perf_counter()
    env.step(0)
    return time.perf_counter() - started


def _free_running(env: gym.Env[Any, Any], seconds: float) -> float:
    """Return the steps per second of an environment that runs for a while."""
    steps, elapsed = _run(env, seconds)
    return steps / elapsed


def _run(env: gym.Env[Any, Any], seconds: float) -> tuple[int, float]:
    """Step for a while; return the steps done and the time they took in seconds."""
    steps = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        for _ in range(20):
            env.step(0)
        steps += 20
    return steps, elapsed
