"""The operator's environment in the corridor engine: a world to train in, some fifty times as fast as the exact one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np

from lnsim_gym.arrays import Bool
from lnsim_gym.corridor import Corridor, kept_survey
from lnsim_gym.corridor.survey import require_surveyable
from lnsim_gym.environment.spec import PlainSpec
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.schema import plain, whole_number
from lnsim_gym.tasks import EnvironmentConfig
from lnsim_gym.tasks.presentation import Presentation

__all__ = ["CorridorEnv"]

DEFAULT_SEEDS: Final = tuple(range(8))
"""Seeds of the episodes that are surveyed unless others are named."""


class CorridorEnv(gym.Env[Any, Any]):
    """An operator's environment for training: episodes of it, surveyed once each and replayed for any actions.

    Spaces, actions, observations, limits of gossip and reward are those of the environment with the same settings, so
    what was trained here plays there. Payments choose between the own node and the best way around it by costs that
    were worked out once, with balances of others that do not answer to what the own node does; see
    ``lnsim_gym.corridor``. Income is about that of the exact engine, not equal to it: **score agents in the exact
    environment**, in episodes of other seeds.

    **Episode.** Each reset draws one of ``seeds``; the episode is that of the exact environment after
    ``reset(seed=...)`` with this number. The first time it is surveyed, which takes some seconds, and the survey is
    kept in the user's cache. Never terminates; truncated after ``survey_steps``.

    **Reward.** Forwarding income less fees of circular rebalances in the step, in sat.

    **Info.** ``ledger`` (``income_msat``, ``rebalance_fee_msat``), ``episode_seed`` (the one drawn), ``step``
    (steps done) and ``action_mask`` (int8).

    Args:
        seeds: Seeds of the episodes to play.
        survey_steps: Steps of an episode, as many as are surveyed.
        **settings: Fields of ``OperatorConfig``. Not taken: real nodes, several networks, payments in several parts,
            and the levers ``swap``, ``close`` and ``open``.

    Raises:
        UnknownSetting: A setting is unknown; also a ``TypeError``.
        ConfigError: A setting is of the wrong type, out of range or none that can be surveyed.
        InvalidAction: From ``step``, for an action outside the space.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012
    spec = PlainSpec()

    def __init__(
        self,
        seeds: Sequence[int] = DEFAULT_SEEDS,
        survey_steps: int = 120,
        **settings: Any,
    ) -> None:
        self.seeds = _checked(seeds)
        """Seeds of the episodes that are played."""
        self.survey_steps = whole_number("survey_steps", survey_steps, 1)
        self.problem = Problem.of(EnvironmentConfig.of(settings))
        self._task = require_surveyable(self.problem)
        if "swap" in self._task.config.levers:
            raise ConfigError("the corridor knows no swaps: leave 'swap' out of levers")
        self._presentation = Presentation(self._task)
        self.action_space = copy.deepcopy(self._task.actions.space)
        self.observation_space = self._presentation.space
        self._row = np.zeros(self._task.observations.size, np.float32)
        self._episodes: dict[int, Corridor] = {}
        self._seed = self.seeds[0]
        self._playing: Corridor | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Starts a new sequence of draws from ``seeds``.
            options: None are known.

        Raises:
            ConfigError: An option is given.
        """
        super().reset(seed=seed)
        if options:
            raise ConfigError(f"unknown reset option {next(iter(options))!r}: the corridor knows none")
        self._seed = self.seeds[int(self.np_random.integers(len(self.seeds)))]
        if self._seed not in self._episodes:
            self._episodes[self._seed] = Corridor([kept_survey(self.problem, self._seed, self.survey_steps)])
        self._playing = self._episodes[self._seed]
        self._playing.begin()
        return self._told(self._playing, 0, 0)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Do what the action says, let the payments of the step pass, observe.

        Returns:
            Observation, reward, False, whether the episode is over, and info.

        Raises:
            InvalidAction: The action lies outside the space.
        """
        playing = self._begun("step")
        parts = self._task.actions.parts_of(np.asarray(self._task.actions.decode_one(action))[None])
        before_msat = int(playing.income_msat[0]), int(playing.paid_msat[0])
        playing.step(parts.policies, parts.rebalances)
        income_msat = int(playing.income_msat[0]) - before_msat[0]
        paid_msat = int(playing.paid_msat[0]) - before_msat[1]
        observation, info = self._told(playing, income_msat, paid_msat)
        over = playing.step_number >= playing.steps
        return observation, (income_msat - paid_msat) / 1000, False, over, info

    def action_masks(self) -> Bool:
        """Return which actions the node can take, as sb3-contrib asks for them, shape (mask length,)."""
        allowed = self._begun("action_masks").allowed()[0]
        return self._task.actions.masks_of(allowed)().astype(np.bool_)

    def _begun(self, what: str) -> Corridor:
        """Return the episode that is played."""
        if self._playing is None:
            raise gym.error.ResetNeeded(f"call reset before the first {what}")
        return self._playing

    def _told(self, playing: Corridor, income_msat: int, paid_msat: int) -> tuple[Any, dict[str, Any]]:
        """Return a fresh observation, and the info of the step that led to it."""
        allowed = playing.allowed()[0]
        (channels,), (node,) = playing.observe()
        self._task.observations.by_channel(self._row)[:] = channels
        self._task.observations.of_node(self._row)[:] = node
        info = {
            "ledger": {"income_msat": income_msat, "rebalance_fee_msat": paid_msat},
            "episode_seed": self._seed,
            "step": playing.step_number,
            "action_mask": self._task.actions.masks_of(allowed)(),
        }
        return self._presentation.views_of(self._row, allowed)(), info


def _checked(seeds: Any) -> tuple[int, ...]:
    """Return seeds of episodes.

    Raises:
        ConfigError: There is none, or one is no whole number of at least 0.
    """
    given = plain(list(seeds)) if isinstance(seeds, Sequence | np.ndarray) and len(seeds) else None
    if given is None:
        raise ConfigError(f"expected seeds of episodes to survey, such as range(8), got {seeds!r}")
    return tuple(whole_number("a seed", one, 0) for one in given)
