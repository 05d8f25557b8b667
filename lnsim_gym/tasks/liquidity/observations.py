"""Observations: what an agent sees of the network, always float32 in [0, 1] in a fixed order.

The compiled functions fill one flat row per network; ``ObservationLayout`` says what the row means and wraps it
into the space the config asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np

from lnsim_gym.arrays import Float32
from lnsim_gym.compiled import outlined
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.tasks.base import ObservationScheme

__all__ = [
    "MAX_AVERAGED_STEPS",
    "MAX_HISTORY",
    "ObservationLayout",
    "ObservationName",
    "observe_balances",
    "observe_flows",
]

ObservationName = Literal["balances", "flows", "averages", "dict"]
MAX_HISTORY: Final = 256
"""Most steps of flows kept, and most averages."""
MAX_AVERAGED_STEPS: Final = 10_000
"""Most steps that an average is over."""


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
    payments: Any,
    source: Any,
    destination: Any,
    succeeded: Any,
    parts: Any,
    part_amount_msat: Any,
    part_route: Any,
    per_capacity: Any,
    nodes: Any,
    history: Any,
    averaging: Any,
    row: Any,
) -> None:
    """Write the last step's flows in front of the history of flows, or of their averages.

    A step's features are, in this order: amount settled over each direction as a share of the capacity, cut at 1;
    share of the batch that failed, by sender; the same by receiver.

    Args:
        payments: Payments of the batch, at least 1; further entries of the columns mean nothing.
        source: Senders of the batch, shape (payments,).
        destination: Receivers of the batch, shape (payments,).
        succeeded: Which payments settled, shape (payments,).
        parts: Settled parts of each, shape (payments,).
        part_amount_msat: Amounts of the parts, shape (payments, max_parts).
        part_route: Directions of the parts, padded with -1, shape (payments, max_parts, hops).
        per_capacity: ``1 / (1000 * capacity_sat)`` in direction order, shape (directions,).
        nodes: Number of nodes.
        history: Steps kept, or one more than there are averages.
        averaging: Weight of the last step in each exponential average, shape (history - 1,); empty to keep the last
            steps instead.
        row: Observation row, filled behind its first ``directions`` entries.
    """
    directions = per_capacity.shape[0]
    features = directions + 2 * nodes
    if averaging.shape[0] == 0:
        for place in range(directions + history * features - 1, directions + features - 1, -1):
            row[place] = row[place - features]
    for place in range(directions, directions + features):
        row[place] = 0.0
    failed_share = np.float32(1.0 / payments)
    for payment in range(payments):
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
    for average in range(averaging.shape[0]):
        for place in range(directions, directions + features):
            averaged = place + (average + 1) * features
            row[averaged] += averaging[average] * (row[place] - row[averaged])


@dataclass(frozen=True, slots=True)
class ObservationLayout(ObservationScheme):
    """Meaning of an observation row.

    ``balances``: ``row[2 * c]`` and ``row[2 * c + 1]`` are the initiator's and the peer's balance of channel c, as
    shares of its capacity. ``flows`` adds the last ``history`` steps, newest first, each with the features of
    ``observe_flows``. ``averages`` adds those of the last step, then their exponential averages over each of some
    numbers of steps. ``dict`` is ``flows`` with one entry per feature.
    """

    name: ObservationName
    directions: int
    nodes: int
    history: int
    """Blocks of features behind the balances."""
    split: bool
    """Whether observations are dicts with one entry per feature."""
    averages: tuple[int, ...] = ()
    """Steps that each block behind the first averages over; empty where the blocks are single steps."""

    @classmethod
    def of(
        cls, name: ObservationName, topology: Topology, history: int, averages: tuple[int, ...]
    ) -> ObservationLayout:
        """Return the layout of that name on a topology.

        Args:
            name: Kind of observation.
            topology: The network.
            history: Steps of flows kept by ``flows`` and ``dict``.
            averages: Steps that ``averages`` averages over.

        Raises:
            ConfigError: ``history`` or ``averages`` is out of range.
        """
        if not 1 <= history <= MAX_HISTORY:
            raise ConfigError(f"observation_history must lie in 1..{MAX_HISTORY}, got {history}")
        if not (1 <= len(averages) <= MAX_HISTORY and all(2 <= steps <= MAX_AVERAGED_STEPS for steps in averages)):
            raise ConfigError(
                f"observation_averages must be 1..{MAX_HISTORY} numbers of steps in 2..{MAX_AVERAGED_STEPS:,}, "
                f"got {list(averages)}"
            )
        kept = {"balances": 0, "averages": 1 + len(averages)}.get(name, history)
        used = averages if name == "averages" else ()
        return cls(name, 2 * len(topology.channels), len(topology.nodes), kept, name == "dict", used)

    @property
    def averaging(self) -> Float32:
        """Weight of a new step in each average: 2 / (n + 1) for n steps, the usual span of exponential smoothing."""
        return np.array([2 / (steps + 1) for steps in self.averages], np.float32)

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

    def views_of(self, row: Float32) -> Callable[[], Any]:
        """See ``ObservationScheme.views_of``."""
        return (lambda: self.present(row)) if self.split else row.copy


def _unit_box(size: int) -> gym.spaces.Box:
    """Return the float32 box [0, 1] of a length."""
    return gym.spaces.Box(0.0, 1.0, (size,), np.float32)
