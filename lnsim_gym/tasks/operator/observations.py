"""What an operator sees: a row for each own channel, in the units of ``features.CHANNEL_FEATURES``, and the node."""

from __future__ import annotations

from typing import Any, Final

import gymnasium as gym
import numpy as np

from lnsim_gym.arrays import Float32
from lnsim_gym.tasks.base import ObservationScheme
from lnsim_gym.tasks.operator.features import CHANNEL_FEATURES, NODE_FEATURES

__all__ = ["DictObservations", "FlatObservations", "OperatorObservations"]

MOST: Final = 1e7
"""Bound of all numbers: the greatest fee rate that can be announced, in thousand ppm, lies below it."""


class OperatorObservations(ObservationScheme):
    """Observations of a number of own channels in any form.

    Args:
        channels: How many there are.
        rows: How many are shown; those beyond the channels that there are hold 0.
        masks: Whether dicts say which of them there are.
    """

    def __init__(self, channels: int, rows: int, *, masks: bool = False) -> None:
        self.channels = channels
        self.rows = rows
        self.masks = masks

    @property
    def size(self) -> int:
        """See ``ObservationScheme.size``."""
        return self.channels * len(CHANNEL_FEATURES) + len(NODE_FEATURES)

    def by_channel(self, flat: Float32) -> Float32:
        """Return what flat observations, or rows of ``size``, say of each channel that there is; a view.

        Args:
            flat: Shape (..., numbers).

        Returns:
            Shape (..., channels, len(CHANNEL_FEATURES)).
        """
        rows = flat[..., : -len(NODE_FEATURES)].reshape(*flat.shape[:-1], -1, len(CHANNEL_FEATURES))
        return rows[..., : self.channels, :]

    def of_node(self, flat: Float32) -> Float32:
        """Return what flat observations, or rows of ``size``, say of the node, shape (..., len(NODE_FEATURES))."""
        return flat[..., -len(NODE_FEATURES) :]

    def _padded(self, rows: Float32) -> Float32:
        """Return what is shown of each channel, shape (..., rows, len(CHANNEL_FEATURES)); fresh."""
        shown = np.zeros((*rows.shape[:-1], self.rows, len(CHANNEL_FEATURES)), np.float32)
        shown[..., : self.channels, :] = self.by_channel(rows)
        return shown


class FlatObservations(OperatorObservations):
    """``Box``: the rows of all channels one after the other, then the node."""

    @property
    def space(self) -> gym.spaces.Box:
        """See ``ObservationScheme.space``."""
        size = self.rows * len(CHANNEL_FEATURES) + len(NODE_FEATURES)
        return gym.spaces.Box(-MOST, MOST, (size,), np.float32)

    def present(self, rows: Float32) -> Float32:
        """See ``ObservationScheme.present``."""
        if self.rows == self.channels:
            return rows.copy()
        return np.concatenate([self._padded(rows).reshape(*rows.shape[:-1], -1), self.of_node(rows)], axis=-1)


class DictObservations(OperatorObservations):
    """``Dict`` of ``channels``, shape (rows, features), and ``node``, shape (features,).

    Where a number of rows is asked for, ``channel_mask``, shape (rows,), is 1 for channels that there are, else 0.
    """

    @property
    def space(self) -> gym.spaces.Dict:
        """See ``ObservationScheme.space``."""
        shapes = {"channels": (self.rows, len(CHANNEL_FEATURES)), "node": (len(NODE_FEATURES),)}
        spaces: dict[str, gym.Space[Any]] = {
            name: gym.spaces.Box(-MOST, MOST, shape, np.float32) for name, shape in shapes.items()
        }
        if self.masks:
            spaces["channel_mask"] = gym.spaces.Box(0, 1, (self.rows,), np.int8)
        return gym.spaces.Dict(spaces)

    def present(self, rows: Float32) -> dict[str, Any]:
        """See ``ObservationScheme.present``."""
        shown = {"channels": self._padded(rows), "node": self.of_node(rows).copy()}
        if self.masks:
            there = np.arange(self.rows) < self.channels
            shown["channel_mask"] = np.broadcast_to(there, (*rows.shape[:-1], self.rows)).astype(np.int8)
        return shown
