"""Letting an agent play an environment for a number of steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from lnsim_gym.agents.base import Agent

__all__ = ["play"]


def play(env: gym.Env[Any, Any], agent: Agent, steps: int, seed: int) -> Iterator[tuple[float, dict[str, Any]]]:
    """Play one episode after another until a number of steps is done.

    Args:
        env: An environment over a ``LightningNetEnv``.
        agent: Who chooses the actions.
        steps: Steps to do in all.
        seed: Seed of the first episode, and of the agent.

    Yields:
        Reward and info of each step.
    """
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    for step in range(steps):
        action = agent.act_one(observation, info, rng)
        observation, reward, terminated, truncated, info = env.step(action)
        yield float(reward), info
        if (terminated or truncated) and step + 1 < steps:
            observation, info = env.reset()
