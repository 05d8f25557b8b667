"""The interface of features: what a learning agent looks at instead of the plain observation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Float32, Int64

__all__ = ["Features"]


class Features(ABC):
    """Makes what an agent looks at out of the observations of a batch of networks."""

    space: gym.spaces.Box
    """Of one network."""
    fits_any_network: ClassVar[bool] = False
    """Whether a policy that learnt on them acts on networks of any size."""

    @abstractmethod
    def __call__(self, observation: Float32, step: Int64) -> Float32:
        """Take in what the last step showed, and return what is looked at.

        Args:
            observation: Observations, shape (n, layout.size).
            step: Steps done in the episode of each network, shape (n,); 0 where one begins.

        Returns:
            Shape (n, *shape of ``space``).
        """

    @abstractmethod
    def begin(self, which: npt.NDArray[np.bool_], observation: Float32) -> Float32:
        """Return what is looked at first in the episodes that begin on the chosen networks.

        Args:
            which: Which networks, shape (n,).
            observation: Observations of all networks, shape (n, layout.size).

        Returns:
            Shape (chosen networks, *shape of ``space``).
        """

    @abstractmethod
    def fresh_copy(self) -> Self:
        """Return the same features for other networks, with nothing remembered yet."""

    @abstractmethod
    def save_state(self) -> tuple[npt.NDArray[Any], ...]:
        """Return what it remembers of the networks: arrays of one row each."""

    @abstractmethod
    def restore_state(self, memory: tuple[npt.NDArray[Any], ...]) -> None:
        """Put back what ``save_state`` returned."""
