"""The demand that was fitted to a node's history, in several draws of what that leaves open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node.demand.candidates import Candidates
from lnsim_gym.own_node.demand.pilot import flows_of
from lnsim_gym.traffic import Flow

__all__ = ["LEAST_PER_DAY", "FittedDemand"]

LEAST_PER_DAY: Final = 1e-4
"""Payments a day below which a candidate is left out of a draw."""
_SURPRISE: Final = 0.02
"""Share of forwards that may come between any peers, whatever was fitted."""


@dataclass(frozen=True)
class FittedDemand:
    """Demand around a node, in several draws of what its history leaves open."""

    nodes: int
    """Nodes of the network that it is of; see ``past.around_own``."""
    names: tuple[str, ...]
    """Their names."""
    candidates: Candidates
    per_day: Float64
    """Payments a day of each candidate, shape (draws, candidates)."""
    day_swing: float
    """How much busier noon (UTC) is than the mean of the day, as a share of it."""
    forwards: int
    """Forwards that settled and that it was fitted to."""
    refused: int
    """Forwards that it was fitted to and that were refused for lack of balance; 0 where the history does not tell."""
    unexplained: float
    """Share of them between peers by which, at that amount, no cheapest route of the graph leads."""
    weekly_spreads: tuple[float, float]
    """Shapes of the Gamma factors by which weeks of a pair of peers differ, and of all pairs together; infinite where
    they do not."""
    expected: Float64
    """Forwards a day between peers at past balances and prices, in weeks like those, shape (draws, peers, peers)."""
    pooled: Float64
    """Share of forwards between peers by the pooled law, shape (peers, peers)."""
    peers: Int64
    """Node indices of the peers, in order."""

    @property
    def draws(self) -> int:
        """How many draws there are."""
        return len(self.per_day)

    def first(self, draws: int) -> FittedDemand:
        """Return the same in its first so many draws."""
        return replace(self, per_day=self.per_day[:draws], expected=self.expected[:draws])

    def flows(self, draw: int) -> tuple[Flow, ...]:
        """Return the demand of one draw, as traffic of kind ``flows`` takes it.

        Raises:
            ConfigError: There is no such draw.
        """
        if not 0 <= draw < self.draws:
            raise ConfigError(f"expected a draw in 0..{self.draws - 1}, got {draw}")
        return flows_of(self.names, self.candidates, self.per_day[draw], self.per_day[draw] >= LEAST_PER_DAY)

    def surprise(self, peer_in: Int64, peer_out: Int64) -> tuple[float, float]:
        """Return the mean log-likelihood of forwards by pair of peers, in nats: of this demand, and of the pooled law.

        Args:
            peer_in: Node index of the peer whence each came, shape (forwards,).
            peer_out: Node index of the peer it went on to, shape (forwards,).
        """
        places = np.searchsorted(self.peers, peer_in), np.searchsorted(self.peers, peer_out)
        every = self.expected.mean(axis=0)
        anywhere = _SURPRISE / max(len(self.peers) * (len(self.peers) - 1), 1)
        fitted, pooled = (
            float(np.log((1 - _SURPRISE) * shares[places] + anywhere).mean())
            for shares in (every / max(every.sum(), 1e-300), self.pooled)
        )
        return fitted, pooled
