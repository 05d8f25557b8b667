"""Wrappers of ``LightningVecEnv`` for training: one that measures time, one that puts features behind observations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from lnsim_gym.agents.features import Features
from lnsim_gym.agents.learning.sb3 import LightningVecEnv
from lnsim_gym.tasks.presentation import without_mask

__all__ = ["ClockedVecEnv", "FeaturedVecEnv"]


class ClockedVecEnv(VecEnvWrapper):
    """Measures the time that the steps of an environment take."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what runs inside as time of the environment."""
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started

    def reset(self) -> Any:
        """See ``VecEnv.reset``."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """See ``VecEnv.step_wait``."""
        with self.running():
            return self.venv.step_wait()


class FeaturedVecEnv(VecEnvWrapper):
    """Puts features behind the observations of a ``LightningVecEnv``."""

    def __init__(self, venv: LightningVecEnv, features: Features) -> None:
        super().__init__(venv, features.space)
        self.features = features
        self._networks = venv

    def reset(self) -> Any:
        """See ``VecEnv.reset``."""
        return self.features(without_mask(self._networks.reset()), self._networks.steps)

    def step_wait(self) -> VecEnvStepReturn:
        """See ``VecEnv.step_wait``."""
        shown, rewards, dones, infos = self._networks.step_wait()
        observations = without_mask(shown)
        last = observations.copy()
        steps = self._networks.steps
        ended = np.flatnonzero(dones).tolist()
        for index in ended:
            last[index] = without_mask(infos[index]["terminal_observation"])
        steps[dones] = self._networks.max_episode_steps or 0
        shown = self.features(last, steps)
        for index in ended:
            infos[index]["terminal_observation"] = shown[index]
        if ended:
            shown = shown.copy()
            shown[dones] = self.features.begin(dones, observations)
        return shown, rewards, dones, infos
