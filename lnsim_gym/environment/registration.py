"""Registration of every environment file with Gymnasium."""

from __future__ import annotations

import gymnasium as gym

from lnsim_gym.environment.files import environment_files

__all__ = ["register_environments"]


def register_environments() -> None:
    """Register each file of ``envs/`` that is not registered yet; harmless when called again."""
    for file in environment_files():
        if file.id not in gym.registry:
            gym.register(
                id=file.id,
                entry_point="lnsim_gym.environment.single:LightningNetEnv",
                vector_entry_point="lnsim_gym.environment.vector:LightningNetVectorEnv",
                order_enforce=False,  # the environment itself asks for a reset before the first step
                max_episode_steps=file.max_episode_steps,
                nondeterministic=file.nondeterministic,
                kwargs=file.settings,
            )
