"""How often candidates pay: Gamma priors of a pooled law, and draws from the posterior by Gibbs' sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node.demand.candidates import Candidates
from lnsim_gym.own_node.demand.pilot import Reached
from lnsim_gym.own_node.demand.sample import Sample, sums

__all__ = ["Prior", "Shares", "posterior"]

_BURN_IN: Final = 40
_THINNING: Final = 5


@dataclass(frozen=True)
class Shares:
    """What share of a candidate's payments settles in which cell, as entries of a sparse matrix."""

    candidate: Int64
    cell: Int64
    share: Float64
    candidates: int
    levels: int
    peers: int

    @classmethod
    def of(cls, sample: Sample, candidates: Candidates, reached: Reached, *, when_able: bool = False) -> Shares:
        """Count the payments of a pilot.

        Where forwards were and none of its payments settled, those candidates count half of one that should have, or
        where none was sent as many as those others of which any settled.

        Args:
            sample: What is fitted.
            candidates: Who pays whom.
            reached: What became of the payments.
            when_able: Whether to count only those sent when the own channel to the peer out could have carried them.
        """
        sent, counts = (reached.able, reached.was_able) if when_able else (reached.sent, np.ones_like(reached.was_able))
        count, cells = len(candidates.sender), len(sample.levels) * len(sample.peers) ** 2
        peer_in, peer_out = reached.peer_in[counts], reached.peer_out[counts]
        places = np.searchsorted(sample.peers, peer_in), np.searchsorted(sample.peers, peer_out)
        cell = sample.cells(*places, reached.amount_sat[counts])
        entry, times = np.unique(reached.candidate[counts] * cells + cell, return_counts=True)
        ends = np.searchsorted(sample.peers, candidates.peer_in), np.searchsorted(sample.peers, candidates.peer_out)
        home = sample.cells(*ends, candidates.median_sat)
        missing = np.setdiff1d(sample.cells(sample.peer_in, sample.peer_out, sample.amount_sat), cell)
        helpers = np.flatnonzero(np.isin(home, missing))
        entry = np.concatenate([entry, helpers * cells + home[helpers]])
        came = np.bincount(reached.candidate[counts], minlength=count)
        usual = came.sum() / max(int(sent[came > 0].sum()), 1)
        times = np.concatenate([times, np.where(sent[helpers] > 0, 0.5, usual)])
        candidate, cell = np.divmod(entry, cells)
        share = times / np.maximum(sent[candidate], 1)
        return cls(candidate, cell, share, count, len(sample.levels), len(sample.peers))

    @property
    def of_candidate(self) -> Float64:
        """Share of each candidate's payments that settles anywhere, shape (candidates,)."""
        return sums(self.candidate, self.share, self.candidates)

    def by_pair(self, per_day: Float64) -> Float64:
        """Return forwards a day by pair of peers where candidates pay so often, shape (peers, peers)."""
        pair = sums(self.cell // self.levels, self.share * per_day[self.candidate], self.peers**2)
        return pair.reshape(self.peers, self.peers)


@dataclass(frozen=True)
class Prior:
    """Gamma priors of the rates, in payments a day."""

    shape: Float64
    rate: Float64
    pooled: Float64
    """Share of forwards by pair of peers, by what comes in and goes out at each, shape (peers, peers)."""

    @classmethod
    def of(cls, sample: Sample, candidates: Candidates, shares: Shares) -> Prior:
        """Pool forwards over pairs: as often as the peer in and the peer out have any, with one more for each."""
        weight = sample.pair_weight
        pooled = (weight.sum(axis=1)[:, None] + 1) * (weight.sum(axis=0)[None, :] + 1)
        np.fill_diagonal(pooled, 0)
        pooled /= pooled.sum()
        ends = np.searchsorted(sample.peers, candidates.peer_in), np.searchsorted(sample.peers, candidates.peer_out)
        pair, levels = ends[0] * len(sample.peers) + ends[1], len(sample.levels)
        at_level = np.bincount(pair * levels + candidates.level)[pair * levels + candidates.level]
        part = (np.bincount(sample.place) / len(sample.place))[candidates.level] / at_level
        part /= np.bincount(pair, part)[pair]
        mean = pooled.ravel()[pair] * part
        reached = float((mean * shares.of_candidate).sum())
        if not reached > 0:
            raise ConfigError(
                "not one simulated payment went through the node at its past balances and prices: "
                "is the graph of the time of the history?"
            )
        mean *= float(sample.weight.sum()) / sample.days / reached
        return cls(part, part / np.maximum(mean, 1e-12), pooled)


def posterior(sample: Sample, shares: Shares, prior: Prior, draws: int, rng: np.random.Generator) -> Float64:
    """Draw rates, shape (draws, candidates)."""
    cell = sample.cells(sample.peer_in, sample.peer_out, sample.amount_sat)
    cells, counts = np.unique(cell, return_counts=True)
    weight = sums(np.searchsorted(cells, cell), sample.weight, len(cells))
    order = np.argsort(shares.cell, kind="stable")
    first, last = (np.searchsorted(shares.cell[order], cells, side=side) for side in ("left", "right"))
    entries = [order[one:other] for one, other in zip(first.tolist(), last.tolist(), strict=True)]
    exposed = prior.rate + sample.days * shares.of_candidate
    rates = prior.shape / prior.rate
    kept = []
    for sweep in range(_BURN_IN + _THINNING * draws):
        given = np.zeros(shares.candidates)
        for which, count, counted in zip(entries, counts.tolist(), weight.tolist(), strict=True):
            if len(which):
                candidate = shares.candidate[which]
                likely = rates[candidate] * shares.share[which] + 1e-300
                parts = rng.multinomial(count, likely / likely.sum())
                given[candidate] += parts * (counted / count)
        rates = rng.gamma(prior.shape + given) / exposed
        if sweep >= _BURN_IN and (sweep - _BURN_IN) % _THINNING == _THINNING - 1:
            kept.append(rates)
    return np.stack(kept)
