"""The rules of the simulation scripts that this package succeeds, one rebalance per step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from lnsim_gym.agents.rules.base import NEVER, Rule
from lnsim_gym.arrays import Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology

__all__ = ["Ring", "TargetTable", "Targeted"]

SMALLEST_TRANSFER_SAT: Final = 10_000
"""Difference to a target below which ``TargetTable`` leaves a channel alone."""


class Targeted(Rule):
    """Moves a fixed amount from the fuller to the emptier end of the most unbalanced pair of ends outside a band.

    Source: the targeted recovery of the scripts, which moved 20 % of the capacity wherever a node held less than 35 %
    or more than 65 % of a channel, beginning with the share farthest from one half.

    Args:
        problem: The problem of the environment it acts on.
        low: Share of the capacity below which an end counts as empty.
        high: Share above which it counts as full.
        size: Amount to move, as a share of the capacity.
    """

    def __init__(self, problem: Problem, low: float = 0.35, high: float = 0.65, size: float = 0.2) -> None:
        super().__init__(problem)
        if not 0 <= low < high <= 1:
            raise ConfigError(f"the targeted agent needs 0 <= low < high <= 1, got low {low}, high {high}")
        self.low = low
        self.high = high
        self.size = size

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        gives = shares[:, self.giver]
        takes = shares[:, self.taker]
        outside = (gives > takes) & ((gives > self.high) | (takes < self.low))
        return np.where(outside, gives - takes, NEVER), self.size


class TargetTable(Rule):
    """Brings every channel to a share of its own.

    Source: ``rebalance-channels.sh`` of the scripts: target shares of the first-named node, at most 300,000 sat a
    transfer, nothing below 10,000 sat. Where the script visits every channel in turn, this takes the channel farthest
    from its target.

    Args:
        problem: The problem of the environment it acts on.
        targets: Share of the capacity that the first node of ``"first:second"`` is to hold; other channels are left
            alone.
        cap_sat: Most to move at once.
    """

    def __init__(self, problem: Problem, targets: dict[str, float], cap_sat: int = 300_000) -> None:
        super().__init__(problem)
        if cap_sat < SMALLEST_TRANSFER_SAT:
            raise ConfigError(f"target_table needs cap_sat of at least {SMALLEST_TRANSFER_SAT:,}, got {cap_sat}")
        self.cap_sat = cap_sat
        self.targets = _shares_by_direction(targets, problem.topology)

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        surplus_sat = (shares - self.targets) * self.capacity_sat
        amount_sat = np.minimum(surplus_sat[:, self.giver], -surplus_sat[:, self.taker])
        urgency = np.where(amount_sat >= SMALLEST_TRANSFER_SAT, amount_sat, NEVER)
        return urgency, np.minimum(amount_sat, self.cap_sat) / self.liquidity.routes.smallest_capacity_sat


class Ring(Rule):
    """Pushes a little around a ring of nodes, one hop per step, wherever the sender is well filled.

    Source: the periodic rebalance of the scripts: alice, bob, carol, dave, eve and back to alice, only where the sender
    holds at least 60 % of the channel, 5,000 sat or 10 % of the capacity, whichever is less. The smallest size of the
    action space stands for amounts below it.

    Args:
        problem: The problem of the environment it acts on; its operation must be ``push``.
        nodes: The ring; by default all nodes in their order. Neighbours on it, the last and the first too, must share
            a channel.
        at_least: Share of the capacity that the sender must hold.
        amount_sat: Amount to move.
        most: Most to move, as a share of the capacity.
    """

    OPERATIONS = ("push",)

    def __init__(
        self,
        problem: Problem,
        nodes: list[str] | None = None,
        at_least: float = 0.6,
        amount_sat: int = 5_000,
        most: float = 0.1,
    ) -> None:
        super().__init__(problem)
        if not (0 <= at_least <= 1 and 0 < most <= 1 and amount_sat > 0):
            raise ConfigError(
                f"ring needs at_least in 0..1, most in (0, 1] and amount_sat > 0, got {at_least}, {most}, {amount_sat}"
            )
        ring = list(problem.topology.nodes) if nodes is None else nodes
        if len(ring) < 2:
            raise ConfigError(f"ring needs at least 2 nodes, got {ring}")
        pairs = zip(ring, ring[1:] + ring[:1], strict=True)
        self.hops = np.array([problem.topology.direction(*pair) for pair in pairs], np.int64)
        self.at_least = at_least
        capacity_sat = self.liquidity.routes.smallest_capacity_sat
        self.amount = np.maximum(np.minimum(amount_sat / capacity_sat, most), self.sizes[0])

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        hop = self.hops[info["step"] % len(self.hops)]
        turn = hop[:, None] == self.giver
        return np.where(turn & (shares[:, self.giver] >= self.at_least), 1.0, NEVER), self.amount


def _shares_by_direction(targets: Mapping[str, float], topology: Topology) -> Float64:
    """Return the target share of each channel end, NaN where there is none, shape (directions,)."""
    shares: Float64 = np.full(2 * len(topology.channels), np.nan)
    for name, share in targets.items():
        first, colon, second = name.partition(":")
        if not colon or not 0 <= share <= 1:
            raise ConfigError(f'target_table expects targets such as "alice:bob" = 0.6, got "{name}" = {share}')
        direction = topology.direction(first, second)
        shares[direction] = share
        shares[direction ^ 1] = 1 - share
    return shares
