"""How environments show agents what a task lets them see: its observations, with the mask of the actions or without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym
import numpy as np

from lnsim_gym.arrays import Float32, Int8
from lnsim_gym.tasks.base import Task

__all__ = ["Presentation", "without_mask"]

KEYS: Final[dict[bool | str, tuple[str, str]]] = {
    True: ("observation", "action_mask"),
    "rllib": ("observations", "action_mask"),
    "tianshou": ("obs", "mask"),
}
"""Keys of observation and mask by the setting ``mask_in_observation``; those of True are PettingZoo's and TorchRL's."""


class Presentation:
    """Shows observations of a task, as the setting ``mask_in_observation`` says.

    With masks an observation is a dict of ``observation`` and ``action_mask`` (int8); one that is a dict already has
    ``action_mask`` as one more entry. Other keys are as RLlib or tianshou read them, and never an entry among others.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self._observations = task.observations
        self._actions = task.actions
        self._masked = task.config.mask_in_observation
        self._nested = self._masked is not True or not isinstance(task.observations.space, gym.spaces.Dict)
        self._options = task.options

    @property
    def space(self) -> gym.Space[Any]:
        """The observation space."""
        space = self._observations.space
        if not self._masked:
            return space
        mask = self._actions.mask(np.zeros((1, self._options), np.int8))[0]
        return gym.spaces.Dict(self._joined(space, gym.spaces.Box(0, 1, mask.shape, np.int8)))

    def present(self, rows: Float32, allowed: Int8) -> Any:
        """Return fresh observations.

        Args:
            rows: Observation rows, shape (networks, size).
            allowed: Allowed options, shape (networks, options).
        """
        shown = self._observations.present(rows)
        return self._joined(shown, self._actions.mask(allowed)) if self._masked else shown

    def views_of(self, row: Float32, allowed: Int8) -> Callable[[], Any]:
        """Return what presents one network as it is when it is called.

        Args:
            row: The network's own observation row, shape (size,).
            allowed: Its own allowed options, shape (options,).
        """
        observe, mask = self._observations.views_of(row), self._actions.masks_of(allowed)
        return (lambda: self._joined(observe(), mask())) if self._masked else observe

    def _joined(self, observation: Any, mask: Any) -> dict[str, Any]:
        """Put a mask beside an observation, or the space of the one beside that of the other."""
        observed, masked = KEYS[self._masked]
        return {**({observed: observation} if self._nested else observation), masked: mask}


def without_mask(observation: Any) -> Any:
    """Return observations, of one network or of many, as they are without ``mask_in_observation``."""
    if not isinstance(observation, dict):
        return observation
    for observed, masked in KEYS.values():
        if set(observation) == {observed, masked}:
            return observation[observed]
    masked = KEYS[True][1]
    return {key: value for key, value in observation.items() if key != masked} if masked in observation else observation
