"""The policy that direct policy iteration trains: it takes the allowed action whose value is highest."""

from __future__ import annotations

import copy
from typing import Any, Final

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

__all__ = ["ActionValuePolicy"]

FORBIDDEN: Final = -np.inf
"""Value of what the balances do not allow."""


class ActionValuePolicy(BasePolicy):
    """Knows how much better or worse each action is than the others.

    It acts by an average of the weights over the last updates, which is steadier than the weights that learn.

    Args:
        observation_space: A ``Box``.
        action_space: A ``Discrete`` space.
        lr_schedule: Learning rate, by what is left of the training.
        net_arch: Units of each hidden layer.
        activation_fn: Activation between layers.

    Raises:
        ValueError: A space is of another kind.
    """

    def __init__(
        self,
        observation_space: gym.spaces.Space[Any],
        action_space: gym.spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
    ) -> None:
        if not isinstance(action_space, gym.spaces.Discrete) or not isinstance(observation_space, gym.spaces.Box):
            raise ValueError(f"needs flat observations and discrete actions, got {observation_space}, {action_space}")
        super().__init__(observation_space, action_space)
        self.actions = int(action_space.n)
        layers = create_mlp(observation_space.shape[0], self.actions, net_arch or [128, 128], activation_fn)
        self.learned = nn.Sequential(*layers)
        self.averaged = copy.deepcopy(self.learned).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.learned.parameters(), lr=lr_schedule(1.0))

    def values(self, observation: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """Return the value of each action up to a constant, shape (n, actions), ``FORBIDDEN`` where not allowed."""
        with torch.no_grad():
            values: npt.NDArray[np.float32] = self.averaged(torch.from_numpy(observation)).numpy()
        values[~allowed] = FORBIDDEN
        return values

    def average(self, weight: float) -> None:
        """Move the averaged weights towards the learned ones.

        Args:
            weight: Share of the way.
        """
        with torch.no_grad():
            for averaged, learned in zip(self.averaged.parameters(), self.learned.parameters(), strict=True):
                averaged.lerp_(learned, weight)

    def predict(
        self,
        observation: Any,
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[np.bool_] | None = None,  # noqa: ARG002
        deterministic: bool = True,  # noqa: ARG002
        action_masks: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Choose actions for observations of shape (n, size); see ``BasePolicy.predict``.

        Args:
            observation: The observations.
            state: Returned as it is: the policy has no memory.
            episode_start: Of no effect.
            deterministic: Of no effect: nothing is left to chance.
            action_masks: Allowed actions, shape (n, actions); all by default.
        """
        if action_masks is None:
            action_masks = np.ones((len(observation), self.actions), np.bool_)
        return self.values(np.asarray(observation, np.float32), action_masks).argmax(axis=1), state

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:  # noqa: ARG002
        """See ``BasePolicy._predict``."""
        choice: torch.Tensor = self.averaged(observation).argmax(dim=1)
        return choice
