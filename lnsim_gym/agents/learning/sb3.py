"""A vector environment for stable-baselines3, on the same compiled loop as ``vector``."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from lnsim_gym.backends.base import ResetReport
from lnsim_gym.environment.infos import add_place, payments_info, reset_info
from lnsim_gym.environment.options import StartOptions, time_limit
from lnsim_gym.environment.saving import SavedState
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.rendering import RENDER_FPS, Renderer
from lnsim_gym.schema import plain, whole_number
from lnsim_gym.tasks import EnvironmentConfig
from lnsim_gym.tasks.columns import LEDGER
from lnsim_gym.tasks.presentation import Presentation

__all__ = ["LightningVecEnv"]


class LightningVecEnv(VecEnv):
    """Many simulated networks as one stable-baselines3 ``VecEnv``.

    Environment i plays the episodes of seed ``seed + i``. An environment whose episode ends starts the next one in the
    same step; the last observation is in ``infos[i]["terminal_observation"]``, and ``TimeLimit.truncated`` is True, as
    episodes never terminate. ``action_masks`` serves sb3-contrib's ``MaskablePPO``. ``infos[i]`` is the info of a
    ``LightningNetEnv``, with the reward terms and ``rebalance_reason`` flat in it too, as ``VecMonitor`` reads them;
    ``reset_infos[i]`` is that of its last reset. ``set_options`` takes the options of ``LightningNetEnv.reset``, for
    all environments or a list with those of each, and holds for the next reset.

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
        UnknownSetting: A setting is unknown; also a ``TypeError``.
        ConfigError: A setting is of the wrong type or out of range.
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
        self.max_episode_steps = time_limit(settings.pop("max_episode_steps", self.spec.max_episode_steps))
        n_envs = whole_number("n_envs", n_envs, 1)
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode of a LightningVecEnv must be None or 'rgb_array', got {render_mode!r}")
        self.config = EnvironmentConfig.of({**self.spec.kwargs, **settings})
        self.problem = Problem.of(self.config)
        self.render_mode = render_mode
        self._info = info
        self._episodes = open_episodes(self.problem, n_envs, plain(threads))
        self._actions: npt.NDArray[Any] = np.zeros(0)
        self._started = False
        self._reset_report = ResetReport(rung="none", seconds=0.0)
        task = self.problem.task
        self._presentation = Presentation(task)
        super().__init__(n_envs, self._presentation.space, copy.deepcopy(task.actions.space))
        self.metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": RENDER_FPS}
        self._renderer = None if render_mode is None else Renderer(render_mode, self._episodes, self.metadata)
        if seed is not None:
            self.seed(seed)

    def reset(self) -> Any:
        """Start the next episode of every environment and return the observations."""
        start = StartOptions.of(self._options, self._episodes)
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
        self._begin(everyone, start)
        self._tell_reset(everyone)
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
        infos = self._infos(dones) if self._info else [{} for _ in range(self.num_envs)]
        if dones.any():
            self._end(dones, infos)
        return self._observation(), rewards, dones, infos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions the balances allow, shape (n_envs, mask length)."""
        if not self._started:
            raise gym.error.ResetNeeded("call reset before the first action_masks")
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

    def _infos(self, dones: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
        """Return the info of each environment's step."""
        columns, task = self._episodes.columns, self.problem.task
        counts = columns.counts[:, :LEDGER].tolist()
        steps = zip(counts, columns.due.tolist(), columns.ledger.tolist(), columns.terms.tolist(), strict=True)
        infos = task.short_infos(columns.ledger, columns.terms)
        for info, (count, due, noted, terms), done in zip(infos, steps, dones.tolist(), strict=True):
            info.update(payments_info(count, due))
            task.add_info(info, noted, terms)
            info["TimeLimit.truncated"] = done
        self._add_places(dict(enumerate(infos)))
        return infos

    def _tell_reset(self, which: npt.NDArray[np.bool_]) -> None:
        """Put the infos of environments that were just reset into ``reset_infos``."""
        fresh = {index: reset_info(self.problem.task) for index in np.flatnonzero(which).tolist()}
        self._add_places(fresh)
        for index, info in fresh.items():
            self.reset_infos[index] = info

    def _add_places(self, infos: dict[int, dict[str, Any]]) -> None:
        """Add to infos, by number of the environment, where it stands."""
        episodes, report = self._episodes, self._reset_report
        masks = self.problem.task.actions.mask(episodes.columns.allowed)
        seeds, numbers, steps = episodes.seeds.tolist(), episodes.episodes.tolist(), episodes.steps.tolist()
        for index, info in infos.items():
            place = seeds[index], numbers[index], steps[index], masks[index]
            add_place(info, report.rung, report.seconds, *place, "")

    def _end(self, dones: npt.NDArray[np.bool_], infos: list[dict[str, Any]]) -> None:
        """Note the last observations of the episodes that ended and start the next ones."""
        last = self._observation()
        for index in np.flatnonzero(dones).tolist():
            row = {key: value[index] for key, value in last.items()} if isinstance(last, dict) else last[index]
            infos[index] |= {"terminal_observation": row, "TimeLimit.truncated": True}
        self._begin(dones)
        if self._info:
            self._tell_reset(dones)

    def _begin(self, which: npt.NDArray[np.bool_], start: StartOptions | None = None) -> None:
        """Start the next episode of the chosen environments."""
        begin = self._episodes.begin if start is None else partial(start.begin, self._episodes)
        self._reset_report = begin(which)
        if self._renderer is not None:
            self._renderer.began(which, self.max_episode_steps)

    def _observation(self) -> Any:
        """Return fresh observations."""
        return self._presentation.present(self._episodes.columns.observation, self._episodes.columns.allowed)
