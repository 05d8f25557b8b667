"""Saving, copying and pickling environments in mid-episode: what single, vector and SB3 forms have in common."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from lnsim_gym.episodes import Episodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.rendering import Renderer
from lnsim_gym.tasks import EnvironmentConfig

__all__ = ["SavedState"]


@dataclass(frozen=True, slots=True)
class SavedState:
    """Where an environment stood; a value of its own, which may be pickled and restored any number of times."""

    form: str
    """Class of the environment."""
    config: EnvironmentConfig
    """Its settings."""
    episodes: list[npt.NDArray[Any]]
    """The columns of the networks that change as episodes go on."""
    random: Any
    """State of the environment's ``np_random``, which draws seeds when none is given; None when it has none."""
    shown: Any
    """What pictures show of the steps so far; None without a ``render_mode``."""
    own: dict[str, Any]
    """What else the environment keeps."""

    @classmethod
    def of(cls, env: Any, episodes: Episodes, renderer: Renderer | None, own: dict[str, Any]) -> SavedState:
        """Return where an environment stands.

        Args:
            env: The environment.
            episodes: Its runner.
            renderer: What draws it, if anything does.
            own: What else it keeps.

        Raises:
            ConfigError: Its episodes are on real nodes.
        """
        random = getattr(env, "np_random", None)
        return cls(
            form=type(env).__name__,
            config=env.config,
            episodes=episodes.save_state(),
            random=None if random is None else copy.deepcopy(random.bit_generator.state),
            shown=None if renderer is None else renderer.save_state(),
            own=copy.deepcopy(own),
        )

    @classmethod
    def put_back(cls, state: Any, env: Any, episodes: Episodes, renderer: Renderer | None) -> dict[str, Any]:
        """Put an environment where the saved one stood; it stays as it is when the state is refused.

        Args:
            state: What ``of`` returned.
            env: As for ``of``.
            episodes: As for ``of``.
            renderer: As for ``of``.

        Returns:
            What else that one kept.

        Raises:
            ConfigError: The state is of other settings, or the environment's episodes are on real nodes.
        """
        if not isinstance(state, cls):
            raise ConfigError(f"expected what save_state returned, got {type(state).__name__}")
        if (state.form, state.config) != (type(env).__name__, env.config):
            raise ConfigError(
                f"expected a state of a {type(env).__name__} with the same settings, got one of a {state.form} "
                f"with {'the same' if state.config == env.config else 'others'}: save it from an environment made alike"
            )
        episodes.restore_state(state.episodes)
        if state.random is not None:
            env.np_random.bit_generator.state = copy.deepcopy(state.random)
        if renderer is not None:
            renderer.restore_state(state.shown)
        return copy.deepcopy(state.own)
