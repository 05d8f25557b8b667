"""How fast the environment is: steps per second through Gymnasium's own interface."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym
from gymnasium.vector import VectorEnv

from lnsim_gym.benchmarks.checkout import THIS
from lnsim_gym.benchmarks.first_step import FirstStep, first_step
from lnsim_gym.benchmarks.report import Report, circumstances, system_load

__all__ = ["EnvironmentFigures", "bench_environment"]

ENVIRONMENT_ID: Final = "LightningNet-v0"


class EnvironmentFigures(Report, frozen=True, kw_only=True):
    """What was measured. Actions are drawn beforehand, resets included."""

    first_step_s: float
    """From ``gym.make`` to the end of the first step in this process, in seconds of wall time, compilation included
    when it was needed."""
    single_steps_per_s: float
    """``gym.make`` environment, steps per second of CPU time, median of the runs."""
    cartpole_steps_per_s: float
    """Gymnasium's CartPole-v1 in the same process, for comparison."""
    vector_steps_per_s: float
    """``gym.make_vec`` with ``num_envs`` environments, environment steps per second of CPU time on one core."""
    two_threads_ratio: float
    """Speed of the vector with two threads over one, in wall time."""
    num_envs: int
    payments_per_step: int
    runs: int
    first_step: FirstStep | None = None
    """CPU time to the end of the first step in fresh processes, if that was asked for."""


def bench_environment(
    num_envs: int = 1024, runs: int = 5, seconds: float = 0.4, with_first_step: bool = False
) -> EnvironmentFigures:
    """Measure the default environment on the simulator.

    Args:
        num_envs: Environments of the vector.
        runs: Timed runs of each figure; their median counts.
        seconds: Time of one run, about.
        with_first_step: Also measure the first step in fresh processes, which compiles everything once.
    """
    load_before = system_load()
    started = time.perf_counter()
    single = gym.make(ENVIRONMENT_ID, backend="simulator")
    single.reset(seed=0)
    single.step(0)
    first_step_s = time.perf_counter() - started
    vector, threaded = (gym.make_vec(ENVIRONMENT_ID, num_envs, backend="simulator", threads=n) for n in (1, 2))
    cartpole = gym.make("CartPole-v1")
    one, two = (_rate(_vector_play(env), runs, seconds, time.perf_counter) for env in (vector, threaded))
    figures = EnvironmentFigures(
        first_step_s=first_step_s,
        single_steps_per_s=_rate(_single_play(single), runs, seconds, time.process_time),
        cartpole_steps_per_s=_rate(_single_play(cartpole), runs, seconds, time.process_time),
        vector_steps_per_s=num_envs * _rate(_vector_play(vector), runs, seconds, time.process_time),
        two_threads_ratio=two / one,
        num_envs=num_envs,
        payments_per_step=int(single.get_wrapper_attr("config").payments_per_step),
        runs=runs,
        first_step=first_step(THIS) if with_first_step else None,
        **circumstances(load_before, "gymnasium", "numpy", "numba"),
    )
    for env in (single, vector, threaded, cartpole):
        env.close()
    return figures


def _single_play(env: gym.Env[Any, Any]) -> Callable[[int], None]:
    """Return a function that does a number of steps, resets included."""
    actions = _actions(env.action_space, 4096)
    env.reset(seed=0)

    def play(steps: int) -> None:
        for index in range(steps):
            _, _, terminated, truncated, _ = env.step(actions[index & 4095])
            if terminated or truncated:
                env.reset()

    return play


def _vector_play(env: VectorEnv[Any, Any, Any]) -> Callable[[int], None]:
    """Return a function that does a number of vector steps."""
    actions = _actions(env.action_space, 64)
    env.reset(seed=0)

    def play(steps: int) -> None:
        for index in range(steps):
            env.step(actions[index & 63])

    return play


def _actions(space: gym.Space[Any], count: int) -> list[Any]:
    """Draw actions beforehand: drawing them costs more than the steps."""
    space.seed(0)
    return [space.sample() for _ in range(count)]


def _rate(play: Callable[[int], None], runs: int, seconds: float, clock: Callable[[], float]) -> float:
    """Return the median rate of a number of runs of about a given time."""
    started = clock()
    steps = 1
    play(steps)
    while clock() - started < seconds / 4:
        steps *= 2
        play(steps)
    rates = []
    for _ in range(runs):
        started = clock()
        play(2 * steps)
        rates.append(2 * steps / (clock() - started))
    return statistics.median(rates)
