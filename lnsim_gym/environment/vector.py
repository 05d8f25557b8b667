"""The vector environment: thousands of networks stepping in one compiled loop."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from lnsim_gym.arrays import Bool
from lnsim_gym.environment.infos import InfoKind, check_kind, shown
from lnsim_gym.environment.options import StartOptions, time_limit
from lnsim_gym.environment.saving import SavedState
from lnsim_gym.environment.spec import PlainSpec
from lnsim_gym.episodes import Episodes, Problem
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.payments import FAILURE_NAMES
from lnsim_gym.rendering import RENDER_FPS, RENDER_MODES, Renderer
from lnsim_gym.schema import plain, whole_number
from lnsim_gym.tasks import EnvironmentConfig
from lnsim_gym.tasks.columns import COUNTS, FIRST_FAILURE, LEDGER
from lnsim_gym.tasks.presentation import Presentation

__all__ = ["LightningNetVectorEnv"]


class LightningNetVectorEnv(VectorEnv[Any, Any, Any]):
    """Many ``LightningNetEnv`` at once, on the embedded simulator.

    Environment i behaves, bit for bit, as a single environment that was reset with ``seed + i``, over whole episodes
    and automatic resets. Observations, actions, rewards and infos are those of ``LightningNetEnv`` in Gymnasium's
    vector form: arrays along a first axis of length ``num_envs``, and for each info key ``k`` a mask ``_k``.

    Args:
        num_envs: Number of networks.
        max_episode_steps: Steps after which an episode is truncated; never when None or -1.
        autoreset_mode: When an environment whose episode ended starts the next one: ``"NextStep"`` (at the next
            step, which ignores the action), ``"SameStep"`` (at once, last observation in ``info["final_obs"]``) or
            ``"Disabled"`` (when told to, by ``reset(options={"reset_mask": mask})``).
        threads: Threads that share the networks; worth it from about 0.1 ms of work per step.
        render_mode: ``"human"`` draws one window with the first networks at every reset and step; with ``"rgb_array"``
            ``render`` returns a picture of each network, with ``"ansi"`` a text; None draws nothing.
        info: As for ``LightningNetEnv``; by default without texts, so that wrappers such as Gymnasium's
            ``NumpyToTorch`` can make tensors of infos.
        **settings: Fields of ``EnvironmentConfig``, also as NumPy, OmegaConf or ``pathlib`` have them.

    Raises:
        UnknownSetting: A setting is unknown; also a ``TypeError``.
        ConfigError: A setting is of the wrong type or out of range.
        MissingDependency: A package that ``render_mode`` needs is not installed.
        InvalidAction: From ``step``, for actions outside the space.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": [*RENDER_MODES],
        "render_fps": RENDER_FPS,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    spec = PlainSpec()

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        threads: int = 1,
        render_mode: str | None = None,
        info: InfoKind = "numbers",
        **settings: Any,
    ) -> None:
        num_envs = whole_number("num_envs", num_envs, 1)
        self.render_mode = render_mode
        self.config = EnvironmentConfig.of(settings)
        self.problem = Problem.of(self.config)
        self.num_envs = num_envs
        self.max_episode_steps = time_limit(max_episode_steps)
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space = copy.deepcopy(self.problem.task.actions.space)
        self._presentation = Presentation(self.problem.task)
        self.single_observation_space = self._presentation.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._episodes: Episodes = open_episodes(self.problem, num_envs, plain(threads))
        self._renderer = None if render_mode is None else Renderer(render_mode, self._episodes, self.metadata)
        self._info_kind = check_kind(info)
        self._seeds = [0] * num_envs
        self._begun = np.zeros(num_envs, np.bool_)
        self._done = np.zeros(num_envs, np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: Seed of environment 0 (environment i gets ``seed + i``), or one seed or None for each environment.
                An environment without a seed goes on with its sequence of episodes.
            options: ``reset_mask``, bool of shape (num_envs,): which environments to reset; all by default. The others
                are those of ``LightningNetEnv.reset``, for every environment that is reset.

        Raises:
            ConfigError: An option is unknown or impossible.
            TypeError: ``reset_mask`` is no bool array.
            ValueError: ``reset_mask`` or the list of seeds has the wrong shape.
        """
        which = self._reset_mask(options or {})
        start = StartOptions.of([options or {}] * self.num_envs, self._episodes, ("reset_mask",))
        seeds = self._seed_list(seed, which)
        for index, given in enumerate(seeds):
            if which[index] and given is not None:
                self._episodes.seed(index, int(given))
                self._seeds[index] = int(given)
        self._seed_column = np.array(self._seeds)
        self._begin(which, start)
        return self._observation(), self._infos(which, stepped=np.zeros(self.num_envs, np.bool_))

    def step(self, actions: Any) -> tuple[Any, npt.NDArray[np.float64], Bool, Bool, dict[str, Any]]:
        """Step every environment; one whose episode ended starts the next as ``autoreset_mode`` says.

        Returns:
            Observations, rewards (num_envs,), terminations (all False), truncations (num_envs,), infos.

        Raises:
            InvalidAction: An action lies outside the space.
        """
        self._require_begun("step")
        ended = self._done.copy()
        if self.autoreset_mode is AutoresetMode.DISABLED and ended.any():
            raise gym.error.ResetNeeded(
                f"environments {np.flatnonzero(ended).tolist()} have ended: reset them with the option reset_mask"
            )
        active = ~ended
        self._advance(actions, active)
        rewards = np.where(active, self._episodes.columns.reward, 0.0)
        truncations = active & (self._episodes.steps >= (self.max_episode_steps or np.inf))
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = self._restart(truncations)
            infos = self._infos(np.ones(self.num_envs, np.bool_), stepped=~truncations) | final
        else:
            if ended.any():
                self._begin(ended)
            infos = self._infos(np.ones(self.num_envs, np.bool_), stepped=active)
            self._done = truncations.copy()
        return self._observation(), rewards, np.zeros(self.num_envs, np.bool_), truncations, infos

    def render(self) -> tuple[Any, ...] | None:
        """Show the networks as ``render_mode`` says; draws nothing without one.

        Returns:
            A picture of each network, uint8 of shape (height, width, 3), or a text of each, or None.
        """
        if self._renderer is None:
            gym.logger.warn("render was called, but render_mode is None: pass it when the environment is made")
            return None
        self._require_begun("render")
        return self._renderer.render()

    def action_masks(self) -> Bool:
        """Return which actions the balances allow, shape (num_envs, mask length)."""
        self._require_begun("action_masks")
        return self.problem.task.actions.mask(self._episodes.columns.allowed).astype(np.bool_)

    def balances_msat(self) -> npt.NDArray[np.int64]:
        """Return the exact balances in msat, shape (num_envs, channels, 2), initiator first."""
        balances: npt.NDArray[np.int64] = self._episodes.columns.balances_msat.copy()
        return balances

    def save_state(self) -> SavedState:
        """Return where all episodes stand, for ``restore_state`` of this environment or one made alike.

        Raises:
            ConfigError: The episodes are on real nodes, which cannot be put back where they were.
        """
        own = {"seeds": self._seeds, "begun": self._begun, "done": self._done}
        return SavedState.of(self, self._episodes, self._renderer, own)

    def restore_state(self, state: SavedState) -> None:
        """Go on, without a reset, where an environment of the same settings and size stood when it gave this state.

        Raises:
            ConfigError: The state is of other settings, or the episodes are on real nodes.
        """
        own = SavedState.put_back(state, self, self._episodes, self._renderer)
        self._seeds = own["seeds"]
        self._begun = own["begun"]
        self._done = own["done"]
        self._seed_column = np.array(self._seeds)

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002
        """Release the networks, also those of an environment whose making failed."""
        for made in (getattr(self, "_episodes", None), getattr(self, "_renderer", None)):
            if made is not None:
                made.close()

    def _advance(self, actions: Any, active: Bool) -> None:
        """Step the active environments."""
        decisions = np.zeros_like(self._episodes.columns.decision)
        decisions[active] = self.problem.task.actions.decode_batch(actions, self.num_envs, active)
        self._episodes.step(active, decisions)
        if self._renderer is not None:
            self._renderer.stepped(active)

    def _begin(self, which: Bool, start: StartOptions | None = None) -> None:
        """Start the next episode of the chosen environments."""
        begin = self._episodes.begin if start is None else partial(start.begin, self._episodes)
        begin(which)
        self._begun[which] = True
        self._done[which] = False
        if self._renderer is not None:
            self._renderer.began(which, self.max_episode_steps)

    def _require_begun(self, what: str) -> None:
        """Refuse to go on where an environment was never reset."""
        if not self._begun.all():
            never = (
                "reset" if not self._begun.any() else f"reset for environments {np.flatnonzero(~self._begun).tolist()}"
            )
            raise gym.error.ResetNeeded(f"call {never} before the first {what}")

    def _restart(self, ended: Bool) -> dict[str, Any]:
        """Start the next episode of those that ended; return their last observations and infos."""
        if not ended.any():
            return {}
        last = self._observation()
        final_obs = np.full(self.num_envs, None, dtype=object)
        for index in np.flatnonzero(ended).tolist():
            final_obs[index] = _row(last, index)
        final_info = self._infos(ended, stepped=ended)
        self._begin(ended)
        return {
            "final_obs": final_obs,
            "_final_obs": ended.copy(),
            "final_info": final_info,
            "_final_info": ended.copy(),
        }

    def _observation(self) -> Any:
        """Return fresh observations."""
        return self._presentation.present(self._episodes.columns.observation, self._episodes.columns.allowed)

    def _infos(self, which: Bool, stepped: Bool) -> dict[str, Any]:
        """Return the infos of environments in Gymnasium's vector form.

        Args:
            which: Those that have an info, shape (num_envs,).
            stepped: Those of them that have just stepped; the others were just reset.
        """
        infos = self._step_info(which, stepped) | self._place(which)
        return _masked(shown(infos, self._info_kind), which)

    def _step_info(self, which: Bool, stepped: Bool) -> dict[str, Any]:
        """Return what happened in the last step, nothing where there was none."""
        columns = self._episodes.columns
        counts = _where(stepped, columns.counts)
        rows = np.ascontiguousarray(counts[:, :LEDGER].T)
        named = dict(zip(COUNTS, rows, strict=True))
        return {
            "payments": stepped * columns.due,
            "succeeded": named["succeeded"],
            "volume_sat": named["volume_msat"] // 1000,
            "fees_msat": named["fees_msat"],
            "failures": dict(zip(FAILURE_NAMES, rows[FIRST_FAILURE + 1 :], strict=True)),
            **self.problem.task.step_infos(counts[:, LEDGER:], _where(stepped, columns.terms), which),
        }

    def _place(self, which: Bool) -> dict[str, Any]:
        """Return where environments stand in their episodes."""
        return {
            "reset_rung": _where(which, np.full(self.num_envs, "assign", dtype=object), None),
            "reset_seconds": np.zeros(self.num_envs),
            "seed": _where(which, self._seed_column),
            "episode_number": _where(which, self._episodes.episodes),
            "step": _where(which, self._episodes.steps),
            "action_mask": _where(which, self.problem.task.actions.mask(self._episodes.columns.allowed)),
            "backend_error": _where(which, np.full(self.num_envs, "", dtype=object), None),
        }

    def _reset_mask(self, options: dict[str, Any]) -> Bool:
        """Return which environments a reset is for."""
        mask = options.get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"reset_mask must be a numpy array of bool, got {getattr(mask, 'dtype', type(mask))}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"reset_mask must have shape ({self.num_envs},) and a True entry, got {mask}")
        return mask

    def _seed_list(self, seed: int | Sequence[int | None] | None, which: Bool) -> list[int | None]:
        """Return one seed or None for each environment, random ones where one begins that never had any."""
        if isinstance(seed, int | np.integer):
            seeds: list[int | None] = [int(seed) + index for index in range(self.num_envs)]
            self._np_random, self._np_random_seed = gym.utils.seeding.np_random(int(seed))
        else:
            seeds = [None] * self.num_envs if seed is None else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, got {len(seeds)}")
        fresh = which & ~self._begun & np.array([own is None for own in seeds])
        if fresh.any():
            base = int(self.np_random.integers(2**62))
            seeds = [base + index if fresh[index] else own for index, own in enumerate(seeds)]
        return seeds


def _autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """Return the autoreset mode of that name."""
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(repr(known.value) for known in AutoresetMode)
        raise ConfigError(f"autoreset_mode must be one of {known}, got {mode!r}") from None


def _row(observations: Any, index: int) -> Any:
    """Return the observation of one environment."""
    if isinstance(observations, dict):
        return {key: _row(value, index) for key, value in observations.items()}
    return observations[index]


def _where(which: Bool, values: npt.NDArray[Any], other: Any = 0) -> npt.NDArray[Any]:
    """Return a fresh array of what belongs to the chosen environments; mostly all are, which costs a copy only."""
    if which.all():
        return values.copy()
    fresh = np.full_like(values, other)
    fresh[which] = values[which]
    return fresh


def _masked(infos: dict[str, Any], which: Bool) -> dict[str, Any]:
    """Add the mask of each key, those inside tables included."""
    values = {key: _masked(value, which) if isinstance(value, dict) else value for key, value in infos.items()}
    return values | {f"_{key}": which.copy() for key in infos}
