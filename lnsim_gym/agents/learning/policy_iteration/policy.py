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

from lnsim_gym.arrays import Float32, Int64

__all__ = ["ActionValuePolicy"]


FORBIDDEN: Final = -np.inf
"""Value of what the balances do not allow."""


class FlatValues(nn.Sequential):
    """Values of all actions, from an observation of one row."""

    def basis(self, observation: Float32, actions: Int64) -> Float32:
        """Return what the values of actions depend on, n rows."""
        return observation

    def at(self, basis: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return the values of actions of shape (n, candidates), for their basis."""
        values: torch.Tensor = self(basis).gather(1, actions)
        return values


class SharedValues(nn.Module):
    """Values of the sizes of a rebalance along each direction, from its row of features: one network for all.

    Doing nothing, action 0, has the value 0.

    Args:
        layers: Layers from the features of a direction to the values of its sizes.
        sizes: Number of sizes.
    """

    def __init__(self, layers: list[nn.Module], sizes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.sizes = sizes

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Return the values of all actions, shape (n, actions), for shape (n, directions, features)."""
        values = self.layers(observation).flatten(1)
        return torch.cat([values.new_zeros(len(values), 1), values], dim=1)

    def basis(self, observation: Float32, actions: Int64) -> Float32:
        """Return the features of the directions of actions, shape (n, candidates, features)."""
        direction = (actions - 1).clip(0) // self.sizes
        return np.take_along_axis(observation, direction[:, :, None], axis=1)

    def at(self, basis: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return the values of actions of shape (n, candidates), for their basis."""
        size = (actions - 1) % self.sizes
        values = self.layers(basis).gather(2, size[:, :, None])[:, :, 0]
        return torch.where(actions == 0, 0.0, values)


class ActionValuePolicy(BasePolicy):
    """Knows how much better or worse each action is than the others.

    It acts by an average of the weights over the last updates, which is steadier than the weights that learn.

    Args:
        observation_space: A ``Box``: of one row, or of a row for each direction; then one network looks at each row.
        action_space: A ``Discrete`` space; with a row for each direction, doing nothing and then the rebalances along
            each in the order of their sizes.
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
            raise ValueError(f"needs a box and discrete actions, got {observation_space}, {action_space}")
        super().__init__(observation_space, action_space)
        self.actions = int(action_space.n)
        self.learned = _values(observation_space.shape, self.actions, net_arch or [128, 128], activation_fn)
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
            weight: How far to go, 0..1.
        """
        with torch.no_grad():
            for averaged, learned in zip(self.averaged.parameters(), self.learned.parameters(), strict=True):
                averaged.lerp_(learned, weight)

    def predict(
        self,
        observation: Any,
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = True,
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

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        """See ``BasePolicy._predict``."""
        choice: torch.Tensor = self.averaged(observation).argmax(dim=1)
        return choice


def _values(
    shape: tuple[int, ...], actions: int, net_arch: list[int], activation_fn: type[nn.Module]
) -> FlatValues | SharedValues:
    """Build the network for observations of a shape.

    Raises:
        ValueError: There are not as many actions for each row.
    """
    if len(shape) == 1:
        return FlatValues(*create_mlp(shape[0], actions, net_arch, activation_fn))
    rows, features = shape
    sizes, left = divmod(actions - 1, rows)
    if sizes == 0 or left:
        raise ValueError(f"needs as many actions for each of {rows} rows, besides doing nothing; got {actions} actions")
    return SharedValues(create_mlp(features, sizes, net_arch, activation_fn), sizes)
