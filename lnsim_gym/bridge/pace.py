"""Playing a streamed environment at a pace that people, and slow models, can follow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym

from lnsim_gym.agents import Agent
from lnsim_gym.agents.play import play
from lnsim_gym.bridge.bridge import Bridge

__all__ = ["play_paced", "wait_for_clients"]

_ENDLESS = 2**62


def play_paced(
    env: gym.Env[Any, Any], agent: Agent, steps: int | None, seed: int, steps_per_second: float
) -> Iterator[dict[str, Any]]:
    """Play one episode after another, at most so many steps a second.

    Args:
        env: An environment over a ``LightningNetEnv``.
        agent: Who chooses the actions.
        steps: Steps to do in all; None never ends.
        seed: Seed of the first episode, and of the agent.
        steps_per_second: Pace; 0 does not wait.

    Yields:
        The info of each step.
    """
    due_s = time.monotonic()
    for _, info in play(env, agent, _ENDLESS if steps is None else steps, seed):
        yield info
        if steps_per_second:
            # A step that took longer than its share delays the next ones; they do not hurry to catch up.
            due_s = max(due_s + 1.0 / steps_per_second, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))


def wait_for_clients(bridge: Bridge, clients: int = 1) -> None:
    """Wait until so many clients are connected."""
    while bridge.counts().clients < clients:
        time.sleep(0.02)
