"""Features of each channel end, the same on a network of any size."""

from __future__ import annotations

from typing import Any, Final, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.features.base import Features
from lnsim_gym.arrays import Float32, Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.liquidity import as_liquidity

__all__ = ["ChannelFeatures"]

FLOW_SCALE: Final = 10.0
"""What flows, shares of a channel's capacity in a step, are multiplied by."""
FAILURE_SCALE: Final = 30.0
"""What failures, shares of the payments of a step, are multiplied by."""


class ChannelFeatures(Features):
    """Makes a row of features for each channel end, the same for all ends of all networks.

    In order, each of the end and then of its peer's: the balance as a share of the capacity; the share that the node
    holds of the capacity of all its channels; for each block of the observation, the flow in the direction away from
    it, the square root of that, and the failures of its node as a sender and as a receiver; the logarithms of the
    direction's fee rate and of the number of the node's channels. Last comes the logarithm of the capacity.

    Args:
        problem: The problem of the environment; its observation must be ``flows`` or ``averages``.

    Raises:
        ConfigError: The observation is another one, the operation is not ``push``, or the problem varies from episode
            to episode.
    """

    fits_any_network = True

    def __init__(self, problem: Problem) -> None:
        task = as_liquidity(problem.task, type(self).__name__)
        layout = task.observations
        arrays = problem.topology.arrays
        if layout.history == 0 or layout.split:
            raise ConfigError(
                f"the features 'channels' need observation 'flows' or 'averages', got {layout.name!r}: "
                "set it in [env_kwargs] of the recipe"
            )
        if task.config.operation != "push":
            raise ConfigError(f"the features 'channels' need operation 'push', got {task.config.operation!r}")
        if len(problem.variants) > 1:
            raise ConfigError("the features 'channels' need a problem that stays the same: leave out variants")
        self._layout = layout
        self._source = arrays.source.astype(np.int64)
        self._peer = arrays.destination.astype(np.int64)
        self._opposite = np.arange(layout.directions) ^ 1
        capacity = np.repeat(arrays.capacity_sat, 2).astype(np.float64)
        self._by_node = np.argsort(self._source, kind="stable")
        owners, self._first, degrees = np.unique(self._source[self._by_node], return_index=True, return_counts=True)
        self._place = np.zeros(layout.nodes, np.int64)
        self._place[owners] = np.arange(len(owners))
        self._share_of_node = capacity / np.bincount(self._source, capacity)[self._source]
        fee_rate = np.log10(1 + arrays.fee_rate_ppm) / 3
        channels = np.zeros(layout.nodes)
        channels[owners] = np.log(degrees) / 3
        self._lasting: Float64 = np.stack(
            [
                fee_rate,
                fee_rate[self._opposite],
                channels[self._source],
                channels[self._peer],
                np.log10(capacity / np.median(capacity)),
            ],
            axis=-1,
        )
        size = 4 + self._lasting.shape[1] + 8 * layout.history
        self.space = gym.spaces.Box(-np.inf, np.inf, (layout.directions, size), np.float32)

    def __call__(self, observation: Float32, step: Int64) -> Float32:
        """See ``Features``."""
        return self._look(observation)

    def begin(self, which: npt.NDArray[np.bool_], observation: Float32) -> Float32:
        """See ``Features``."""
        return self._look(observation[which])

    def fresh_copy(self) -> Self:
        """See ``Features``."""
        return self

    def save_state(self) -> tuple[npt.NDArray[Any], ...]:
        """Return nothing: nothing is remembered."""
        return ()

    def restore_state(self, memory: tuple[npt.NDArray[Any], ...]) -> None:
        """Do nothing."""

    def _look(self, observation: Float32) -> Float32:
        """Return the features of each channel end, shape (n, directions, features)."""
        layout = self._layout
        balance, blocks = np.split(observation, [layout.directions], axis=1)
        held = np.add.reduceat((balance * self._share_of_node)[:, self._by_node], self._first, axis=1)[:, self._place]
        columns = [balance, balance[:, self._opposite], held[:, self._source], held[:, self._peer]]
        for block in np.split(blocks, layout.history, axis=1):
            flow, sent, received = np.split(block, [layout.directions, layout.directions + layout.nodes], axis=1)
            for one in (FLOW_SCALE * flow, np.sqrt(flow)):
                columns += [one, one[:, self._opposite]]
            for one in (FAILURE_SCALE * sent, FAILURE_SCALE * received):
                columns += [one[:, self._source], one[:, self._peer]]
        changing = np.stack(columns, axis=-1)
        lasting = np.broadcast_to(self._lasting, (len(observation), *self._lasting.shape))
        return np.concatenate([changing, lasting], axis=-1, dtype=np.float32)
