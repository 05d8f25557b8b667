"""The forwards of a history that demand is fitted to, and how much each counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from typing import Final

import numpy as np

from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node.demand.past import Past
from lnsim_gym.own_node.reading.history import DAY_NS

__all__ = ["LEAST_DAYS", "LEAST_FORWARDS", "Sample", "counted_days", "sums"]

LEAST_FORWARDS: Final = 20
"""Forwards below which nothing is fitted."""
LEAST_DAYS: Final = 7.0
"""Days of history below which nothing is fitted."""
_LEVELS_PER_DECADE: Final = 2


@dataclass(frozen=True)
class Sample:
    """Forwards that are fitted, those that settled before those that were refused, and how much each counts."""

    past: Past
    peers: Int64
    """Node indices of the peers, in order."""
    begin_ns: int
    end_ns: int
    half_life_ns: float
    time_ns: Float64
    peer_in: Int64
    """Place among ``peers``."""
    peer_out: Int64
    amount_sat: Float64
    weight: Float64
    days: float
    """Days of the history, those of long ago counting less."""
    settled: int
    """How many of the forwards settled."""
    knows_refused: bool
    """Whether the history tells of those that were refused."""

    @classmethod
    def of(cls, past: Past, begin_ns: int | None, end_ns: int | None, half_life_days: float) -> Sample:
        """Choose the forwards of a time."""
        told = past.forwards
        if not half_life_days > 0:
            raise ConfigError(f"expected half_life_days above 0, got {half_life_days:g}")
        end_ns = past.end_ns if end_ns is None else end_ns
        if begin_ns is None:
            begin_ns = int(told.time_ns[0]) - 1 if len(told) else end_ns
        told = told.keep((told.time_ns > max(begin_ns, 0)) & (told.time_ns <= end_ns))
        whole_days = (end_ns - begin_ns) / DAY_NS
        if len(told) < LEAST_FORWARDS or whole_days < LEAST_DAYS:
            raise ConfigError(
                f"expected {LEAST_FORWARDS} forwards in {LEAST_DAYS:g} days at least over channels that are still "
                f"there, got {len(told)} in {max(whole_days, 0):.1f}: import a longer history"
            )
        refused = past.refused
        refused = refused.keep((refused.time_ns > max(begin_ns, 0)) & (refused.time_ns <= end_ns))
        time_ns, chan_in, chan_out, amount_msat = (
            np.concatenate(columns)
            for columns in (
                (told.time_ns, refused.time_ns),
                (told.chan_in, refused.chan_in),
                (told.chan_out, refused.chan_out),
                (told.out_msat, refused.amount_msat),
            )
        )
        peers = np.unique(past.peers)
        half_life_ns = half_life_days * DAY_NS
        age = (end_ns - time_ns.astype(np.float64)) / half_life_ns
        return cls(
            past=past,
            peers=peers,
            begin_ns=begin_ns,
            end_ns=end_ns,
            half_life_ns=half_life_ns,
            time_ns=time_ns.astype(np.float64),
            peer_in=np.searchsorted(peers, past.peers[past.places(chan_in)]),
            peer_out=np.searchsorted(peers, past.peers[past.places(chan_out)]),
            amount_sat=amount_msat / 1000,
            weight=0.5**age,
            days=float(counted_days(whole_days, half_life_days)),
            settled=len(told),
            knows_refused="failures" in past.node.told,
        )

    def thinned(self, forwards: int, rng: np.random.Generator) -> Sample:
        """Return a sample of about so many forwards at most, each kept by a chance in proportion to what it counts.

        A thinned Poisson process is one again: what is kept counts whole, in as many days fewer. What is drawn from it
        is as uncertain as so many forwards are.
        """
        kept_share = forwards / float(self.weight.sum())
        if kept_share >= 1:
            return self
        kept = rng.random(len(self.weight)) < kept_share * self.weight
        return replace(
            self,
            time_ns=self.time_ns[kept],
            peer_in=self.peer_in[kept],
            peer_out=self.peer_out[kept],
            amount_sat=self.amount_sat[kept],
            weight=np.ones(int(kept.sum())),
            days=kept_share * self.days,
            settled=int(kept[: self.settled].sum()),
        )

    @cached_property
    def levels(self) -> Int64:
        """The levels of amounts that were forwarded, by their logarithm."""
        return np.unique(_level(self.amount_sat))

    @property
    def place(self) -> Int64:
        """Place of each forward's level among ``levels``, shape (forwards,)."""
        return np.searchsorted(self.levels, _level(self.amount_sat))

    def cells(self, peer_in: Int64, peer_out: Int64, amount_sat: Float64) -> Int64:
        """Return the cells of forwards, by places among the peers and amounts; odd amounts are in the next level."""
        place = np.minimum(np.searchsorted(self.levels, _level(amount_sat)), len(self.levels) - 1)
        return (peer_in * len(self.peers) + peer_out) * len(self.levels) + place

    @property
    def pair_weight(self) -> Float64:
        """Forwards by pair of peers, those of long ago counting less, shape (peers, peers)."""
        count = len(self.peers)
        pair = self.peer_in * count + self.peer_out
        return sums(pair, self.weight, count * count).reshape(count, count)


def _level(amount_sat: Float64) -> Int64:
    """Return the levels of amounts: whole steps of their logarithm."""
    level: Int64 = np.floor(_LEVELS_PER_DECADE * np.log10(np.maximum(amount_sat, 1.0))).astype(np.int64)
    return level


def counted_days(days: float, half_life_days: float) -> float:
    """Return the integral of what each of the last days counts."""
    return half_life_days / log(2) * (1 - float(0.5 ** (days / half_life_days)))


def sums(places: Int64, values: Float64, count: int) -> Float64:
    """Return the sum of the values at each of so many places."""
    return np.bincount(places, values, count).astype(np.float64)
