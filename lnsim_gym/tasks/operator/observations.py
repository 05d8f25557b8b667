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
        channels: How many.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels

    @property
    def size(self) -> int:
        """See ``ObservationScheme.size``."""
        return self.channels * len(CHANNEL_FEATURES) + len(NODE_FEATURES)

    def by_channel(self, rows: Float32) -> Float32:
        """Return what rows say of each channel, shape (..., channels, len(CHANNEL_FEATURES)); a view."""
        return rows[..., : -len(NODE_FEATURES)].reshape(*rows.shape[:-1], self.channels, len(CHANNEL_FEATURES))

    def of_node(self, rows: Float32) -> Float32:
        """Return what rows say of the node, shape (..., len(NODE_FEATURES)); a view."""
        return rows[..., -len(NODE_FEATURES) :]


class FlatObservations(OperatorObservations):
    """``Box``: the rows of all channels one after the other, then the node."""

    @property
    def space(self) -> gym.spaces.Box:
        """See ``ObservationScheme.space``."""
        return gym.spaces.Box(-MOST, MOST, (self.size,), np.float32)


class DictObservations(OperatorObservations):
    """``Dict`` of ``channels``, shape (channels, features), and ``node``, shape (features,)."""

    @property
    def space(self) -> gym.spaces.Dict:
        """See ``ObservationScheme.space``."""
        shapes = {"channels": (self.channels, len(CHANNEL_FEATURES)), "node": (len(NODE_FEATURES),)}
        return gym.spaces.Dict({name: gym.spaces.Box(-MOST, MOST, shape, np.float32) for name, shape in shapes.items()})

    def present(self, rows: Float32) -> dict[str, Any]:
        """See ``ObservationScheme.present``."""
        return {"channels": self.by_channel(rows).copy(), "node": self.of_node(rows).copy()}
