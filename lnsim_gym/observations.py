"""Observations: what an agent sees of the network, always float32 in [0, 1] in a fixed order.

The compiled functions fill one flat row per network; ``ObservationLayout`` says what the row means and wraps it
into the space the config asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lnsim_gym.compiled import outlined
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology

__all__ = ["ObservationLayout", "ObservationName", "observe_balances", "observe_flows"]

ObservationName = Literal["balances", "flows", "dict"]
Float32 = npt.NDArray[np.float32]
MAX_HISTORY: Final = 256


@outlined
def observe_balances(balances_msat: Any, per_capacity: Any, row: Any) -> None:
    """Write both ends' balances as shares of the capacity.

    Args:
        balances_msat: Balances in direction order, shape (directions,).
        per_capacity: ``1 / (1000 * capacity_sat)`` in direction order, shape (directions,).
        row: Observation row; its first ``directions`` entries are filled.
    """
    for direction in range(balances_msat.shape[0]):
        row[direction] = np.float32(balances_msat[direction] * per_capacity[direction])


@outlined
def observe_flows(
    source: Any,
    destination: Any,
    succeeded: Any,
    parts: Any,
    part_amount_msat: Any,
    part_route: Any,
    per_capacity: Any,
    nodes: Any,
    history: Any,
    row: Any,
) -> None:
    """Shift the history of flows by one step and write the last step's in front of it.

    A step's features are, in this order: amount settled over each direction as a share of the capacity, cut at 1;
    share of the batch that failed, by sender; the same by receiver.

    Args:
        source: Senders of the batch, shape (payments,).
        destination: Receivers of the batch, shape (payments,).
        succeeded: Which payments settled, shape (payments,).
        parts: Settled parts of each, shape (payments,).
        part_amount_msat: Amounts of the parts, shape (payments, max_parts).
        part_route: Directions of the parts, padded with -1, shape (payments, max_parts, hops).
        per_capacity: ``1 / (1000 * capacity_sat)`` in direction order, shape (directions,).
        nodes: Number of nodes.
        history: Steps kept.
        row: Observation row, filled behind its first ``directions`` entries.
    """
    directions = per_capacity.shape[0]
    features = directions + 2 * nodes
    for place in range(directions + history * features - 1, directions + features - 1, -1):
        row[place] = row[place - features]
    for place in range(directions, directions + features):
        row[place] = 0.0
    failed_share = np.float32(1.0 / source.shape[0])
    for payment in range(source.shape[0]):
        if not succeeded[payment]:
            row[2 * directions + source[payment]] += failed_share
            row[2 * directions + nodes + destination[payment]] += failed_share
        for part in range(parts[payment]):
            for hop in range(part_route.shape[2]):
                direction = part_route[payment, part, hop]
                if direction < 0:
                    break
                row[directions + direction] += np.float32(part_amount_msat[payment, part] * per_capacity[direction])
    for place in range(directions, directions + features):
        row[place] = min(row[place], np.float32(1.0))


@dataclass(frozen=True, slots=True)
class ObservationLayout:
    """Meaning of an observation row.

    ``balances``: ``row[2 * c]`` and ``row[2 * c + 1]`` are the initiator's and the peer's balance of channel c, as
    shares of its capacity. ``flows`` adds the last ``history`` steps, newest first, each with the features of
    ``observe_flows``. ``dict`` is ``flows`` with one entry per feature.
    """

    name: ObservationName
    directions: int
    nodes: int
    history: int
    split: bool
    """Whether observations are dicts with one entry per feature."""

    @classmethod
    def of(cls, name: ObservationName, topology: Topology, history: int) -> ObservationLayout:
        """Return the layout of that name on a topology.

        Raises:
            ConfigError: ``history`` is out of range.
        """
        if not 1 <= history <= MAX_HISTORY:
            raise ConfigError(f"observation_history must lie in 1..{MAX_HISTORY}, got {history}")
        kept = 0 if name == "balances" else history
        return cls(name, 2 * len(topology.channels), len(topology.nodes), kept, name == "dict")

    @property
    def features(self) -> int:
        """Entries of one step of history."""
        return self.directions + 2 * self.nodes

    @property
    def size(self) -> int:
        """Length of an observation row."""
        return self.directions + self.history * self.features

    @property
    def space(self) -> gym.Space[Any]:
        """The observation space."""
        if not self.split:
            return _unit_box(self.size)
        return gym.spaces.Dict(
            {
                "balances": _unit_box(self.directions),
                "flows": _unit_box(self.history * self.directions),
                "failed_by_sender": _unit_box(self.history * self.nodes),
                "failed_by_receiver": _unit_box(self.history * self.nodes),
            }
        )

    def present(self, rows: Float32) -> Any:
        """Return fresh observations.

        Args:
            rows: Observation rows, shape (..., size).

        Returns:
            A copy of the rows, or a dict of arrays with the same leading axes.
        """
        if not self.split:
            return rows.copy()
        lead = rows.shape[:-1]
        steps = rows[..., self.directions :].reshape(*lead, self.history, self.features)
        flows, sent, received = np.split(steps, [self.directions, self.directions + self.nodes], axis=-1)
        return {
            "balances": rows[..., : self.directions].copy(),
            "flows": flows.reshape(*lead, -1).copy(),
            "failed_by_sender": sent.reshape(*lead, -1).copy(),
            "failed_by_receiver": received.reshape(*lead, -1).copy(),
        }


def _unit_box(size: int) -> gym.spaces.Box:
    """Return the float32 box [0, 1] of a length."""
    return gym.spaces.Box(0.0, 1.0, (size,), np.float32)
