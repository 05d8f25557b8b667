"""A vector environment for stable-baselines3, on the same compiled loop as ``vector``."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from lnsim_gym.environment.saving import SavedState
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.rendering import RENDER_FPS, Renderer
from lnsim_gym.tasks import EnvironmentConfig

__all__ = ["LightningVecEnv"]


class LightningVecEnv(VecEnv):
    """Many simulated networks as one stable-baselines3 ``VecEnv``.

    Environment i plays the episodes of seed ``seed + i``. An environment whose episode ends starts the next one in the
    same step; the last observation is in ``infos[i]["terminal_observation"]``, and ``TimeLimit.truncated`` is True, as
    episodes never terminate. ``action_masks`` serves sb3-contrib's ``MaskablePPO``. ``infos[i]`` holds the reward
    terms and the reason of a refused rebalance.

    Args:
        env_id: Id of a registered environment.
        n_envs: Number of networks.
        seed: Seed of environment 0; random by default.
        threads: Threads that share the networks; worth it from about 0.1 ms of work per step.
        render_mode: ``"rgb_array"`` lets ``render`` return the networks in one picture, as
            ``VecVideoRecorder`` needs it; None draws nothing.
        info: Whether ``infos`` holds more than the end of an episode; without it a step of many networks is quicker.
        **settings: Fields of ``EnvironmentConfig`` that differ from the registered ones, and ``max_episode_steps``.

    Raises:
        ConfigError: A setting is unknown, of the wrong type or out of range.
        MissingDependency: A package that ``render_mode`` needs is not installed.
    """

    def __init__(
        self,
        env_id: str,
        n_envs: int = 1,
        seed: int | None = None,
        threads: int = 1,
        info: bool = True,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        self.spec = gym.spec(env_id)
        self.max_episode_steps: int | None = settings.pop("max_episode_steps", self.spec.max_episode_steps)
        if n_envs < 1:
            raise ConfigError(f"n_envs must be at least 1, got {n_envs}")
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode of a LightningVecEnv must be None or 'rgb_array', got {render_mode!r}")
        self.config = EnvironmentConfig.of({**self.spec.kwargs, **settings})
        self.problem = Problem.of(self.config)
        self.render_mode = render_mode
        self._info = info
        self._episodes = open_episodes(self.problem, n_envs, threads)
        self._actions: npt.NDArray[Any] = np.zeros(0)
        self._started = False
        task = self.problem.task
        super().__init__(n_envs, task.observations.space, copy.deepcopy(task.actions.space))
        self.metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": RENDER_FPS}
        self._renderer = None if render_mode is None else Renderer(render_mode, self._episodes, self.metadata)
        if seed is not None:
            self.seed(seed)

    def reset(self) -> Any:
        """Start the next episode of every environment and return the observations."""
        everyone = np.ones(self.num_envs, np.bool_)
        fresh = not self._started and all(seed is None for seed in self._seeds)
        if fresh:
            self.seed()
        for index, seed in enumerate(self._seeds):
            if seed is not None:
                self._episodes.seed(index, seed)
        self._started = True
        self._reset_seeds()
        self._reset_options()
        self._begin(everyone)
        self.reset_infos = [{"episode_number": int(number)} for number in self._episodes.episodes]
        return self._observation()

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the actions of the next step, shape (n_envs, ...)."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Do the step; see ``VecEnv.step_wait``.

        Raises:
            InvalidAction: The number of actions is another than that of networks, or one lies outside the space.
        """
        if not self._started:
            raise gym.error.ResetNeeded("call reset before the first step")
        episodes = self._episodes
        everyone = np.ones(self.num_envs, np.bool_)
        episodes.step(everyone, self.problem.task.actions.decode_batch(self._actions, self.num_envs))
        if self._renderer is not None:
            self._renderer.stepped(everyone)
        rewards = episodes.columns.reward.astype(np.float32)
        dones = episodes.steps >= (self.max_episode_steps or np.inf)
        infos = self._step_infos() if self._info else [{} for _ in range(self.num_envs)]
        if dones.any():
            self._end(dones, infos)
        return self._observation(), rewards, dones, infos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions the balances allow, shape (n_envs, mask length)."""
        return self.problem.task.actions.mask(self._episodes.columns.allowed).astype(np.bool_)

    def get_images(self) -> list[npt.NDArray[np.uint8] | None]:
        """Return a picture of each network, uint8 of shape (height, width, 3), for ``render``."""
        return [] if self._renderer is None else list(self._renderer.render() or ())

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """Steps done in the episode of each environment, shape (n_envs,)."""
        return self._episodes.steps.copy()

    @property
    def simulated(self) -> SimulatedEpisodes:
        """The compiled episodes.

        Raises:
            ConfigError: They are on real nodes, which cannot be copied or put back where they were.
        """
        if not isinstance(self._episodes, SimulatedEpisodes):
            raise ConfigError("only episodes on the simulator can be copied, saved and restored")
        return self._episodes

    def save_state(self) -> SavedState:
        """Return where all episodes stand, for ``restore_state`` of this environment or one made alike.

        Raises:
            ConfigError: The episodes are on real nodes, which cannot be put back where they were.
        """
        own = {"started": self._started, "seeds": self._seeds}
        return SavedState.of(self, self._episodes, self._renderer, own)

    def restore_state(self, state: SavedState) -> None:
        """Go on, without a reset, where a ``LightningVecEnv`` of the same settings and size stood.

        Raises:
            ConfigError: The state is of other settings, or the episodes are on real nodes.
        """
        own = SavedState.put_back(state, self, self._episodes, self._renderer)
        self._started = own["started"]
        self._seeds = own["seeds"]

    def close(self) -> None:
        """Release the networks."""
        self._episodes.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute once for each environment.

        Raises:
            AttributeError: There is no such attribute.
        """
        value = getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: the environments share one compiled state.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"the attribute {attr_name!r} of environments {indices} is fixed: make a new LightningVecEnv")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method and return its result for each environment; one that returns an array gives each its row."""
        results = getattr(self, method_name)(*args, **kwargs)
        return [results[index] for index in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return False for each environment: nothing wraps them one by one."""
        return [False for _ in self._get_indices(indices)]

    def _step_infos(self) -> list[dict[str, Any]]:
        """Return the info of each environment's step."""
        columns = self._episodes.columns
        return self.problem.task.short_infos(columns.ledger, columns.terms)

    def _end(self, dones: npt.NDArray[np.bool_], infos: list[dict[str, Any]]) -> None:
        """Note the last observations of the episodes that ended and start the next ones."""
        last = self._observation()
        for index in np.flatnonzero(dones).tolist():
            row = {key: value[index] for key, value in last.items()} if isinstance(last, dict) else last[index]
            infos[index] |= {"terminal_observation": row, "TimeLimit.truncated": True}
        self._begin(dones)

    def _begin(self, which: npt.NDArray[np.bool_]) -> None:
        """Start the next episode of the chosen environments."""
        self._episodes.begin(which)
        if self._renderer is not None:
            self._renderer.began(which)

    def _observation(self) -> Any:
        """Return fresh observations."""
        return self.problem.task.observations.present(self._episodes.columns.observation)
