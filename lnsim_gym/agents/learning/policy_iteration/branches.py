"""Copies of a training's networks that go on from where those stand, each with actions of its own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize, unwrap_vec_wrapper

from lnsim_gym.agents.learning.sb3 import LightningVecEnv
from lnsim_gym.agents.learning.wrappers import ClockedVecEnv, FeaturedVecEnv
from lnsim_gym.arrays import Bool, Float32, Float64, Int64
from lnsim_gym.episodes.simulated import SimulatedEpisodes

__all__ = ["Branches"]


class Branches:
    """A number of copies of each network; those of one network meet the same payments, whatever is done.

    Args:
        env: A ``LightningVecEnv``, wrapped or not; what its wrappers do to observations is done here too.
        copies: Copies of each network.

    Raises:
        ValueError: The environment is another one.
    """

    def __init__(self, env: VecEnv, copies: int) -> None:
        if not isinstance(env.unwrapped, LightningVecEnv):
            raise ValueError(f"direct policy iteration needs a LightningVecEnv, got {env.unwrapped}")
        self._trunk: LightningVecEnv = env.unwrapped
        self._problem = self._trunk.problem
        self._copies = copies
        self._episodes = SimulatedEpisodes(self._problem, copies * env.num_envs)
        self._everyone = np.ones(self._episodes.networks, np.bool_)
        self._clock = unwrap_vec_wrapper(env, ClockedVecEnv)
        self._normalizer: VecNormalize | None = unwrap_vec_normalize(env)
        featured = unwrap_vec_wrapper(env, FeaturedVecEnv)
        self._trunk_features = None if featured is None else featured.features
        self._features = None if featured is None else featured.features.fresh_copy()
        self._observation: Any = None
        self._left: Int64 = np.zeros(0, np.int64)

    @property
    def ended(self) -> bool:
        """Whether the episodes of all branches are over."""
        return not (self._left > 0).any()

    def start(self) -> None:
        """Go back to where the networks of the training stand."""
        self._episodes.branch_from(self._trunk.simulated, self._copies)
        if self._features is not None and self._trunk_features is not None:
            memory = self._trunk_features.save_state()
            self._features.restore_state(tuple(array.repeat(self._copies, axis=0) for array in memory))
        self._left = (self._trunk.max_episode_steps or np.iinfo(np.int64).max) - self._episodes.steps

    def step(self, actions: Int64) -> Float64:
        """Do a step on every branch.

        Args:
            actions: Actions, shape (n * copies,), the copies of a network side by side.

        Returns:
            Rewards, shape (n * copies,), 0 once an episode is over.
        """
        with self._clock.running() if self._clock else nullcontext():
            self._episodes.step(self._everyone, self._problem.task.actions.decode(actions))
            self._observation = self._episodes.columns.observation
            if self._features is not None:
                self._observation = self._features(self._observation, self._episodes.steps)
        self._left -= 1
        return np.where(self._left >= 0, self._episodes.columns.reward, 0.0)

    def observe(self) -> tuple[Float32, Bool]:
        """Return the observations after the last step, and which actions are allowed."""
        observation: Any = self._observation
        allowed = self._problem.task.actions.mask(self._episodes.columns.allowed)
        if self._normalizer is not None:
            observation = self._normalizer.normalize_obs(observation)
        return observation, allowed.astype(np.bool_)

    def close(self) -> None:
        """Release the networks."""
        self._episodes.close()
