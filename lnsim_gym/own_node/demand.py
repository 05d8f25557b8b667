"""The demand that a node's history tells of: who might pay whom through it, how often, and what is left open.

Forwards of a history are counted by cells, each a pair of peers and half a decade of amounts. Candidates
(``candidates``) are tried out on the balances and prices of the past (``pilot``), which gives the share of a
candidate's payments that settles in each cell; hours in which the node was empty or dear are in that share. With rates
r and shares a, the count of a cell is Poisson with mean days x sum(r a). Rates have Gamma priors whose means follow a
pooled law, the forwards of the peer in times those of the peer out, with the weight of one forward for each pair of
peers; their posterior is drawn by Gibbs' sampler (forwards of a cell to candidates by multinomial draws, then rates by
Gamma draws: Tanner and Wong, 1987). What happened a half-life ago counts half. Candidates that never settle at past
prices keep their prior: what lower prices would bring is as uncertain as that. Weeks differ by more than that: the
posterior of each pair is multiplied by a Gamma factor, as wide as the weeks of the history need (negative binomial
counts), and so are all pairs together, as prices that no forward tells of move all at once. In the end weeks of the
past are played, and all rates are scaled so that, channels running dry on the way, the mean week has its forwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, lgamma, log
from typing import Final

import numpy as np

from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.own_node.candidates import Candidates, draw_candidates
from lnsim_gym.own_node.folder import OwnNode
from lnsim_gym.own_node.history import DAY_NS
from lnsim_gym.own_node.past import Past, around_own
from lnsim_gym.own_node.pilot import Reached, flows_of, rehearse, try_out
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.tasks.operator.config import OperatorConfig
from lnsim_gym.traffic import Flow

__all__ = ["LEAST_DAYS", "LEAST_FORWARDS", "FittedDemand", "fit_demand"]

LEAST_FORWARDS: Final = 20
"""Forwards below which nothing is fitted."""
LEAST_DAYS: Final = 7.0
"""Days of history below which nothing is fitted."""
_LEVELS_PER_DECADE: Final = 2
_CANDIDATES: Final = 3
"""Candidates of a pair of peers with forwards at each level of amounts; others have one in all."""
_TRIALS: Final = 20
"""Payments of each candidate in the pilot, on average."""
_PER_MOMENT: Final = 50
_BURN_IN: Final = 40
_THINNING: Final = 5
_SPREADS: Final = (0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, inf)
"""Shapes that the factors of weeks may have."""
_USUAL_SPREADS: Final = (1.0, 3.0)
"""The ones where the history has no two weeks to tell."""
_LEAST_PER_DAY: Final = 1e-4
"""Payments a day below which a candidate is left out of a draw."""
_REHEARSALS_DAYS: Final = (7, 14)
"""Days before the end at which weeks begin that are played to see how far the node gets with what it has."""
_REHEARSED_DRAWS: Final = 12
_MOST_SCALE: Final = 3.0
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
    """Forwards that it was fitted to."""
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
        return flows_of(self.names, self.candidates, self.per_day[draw], self.per_day[draw] >= _LEAST_PER_DAY)

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


def fit_demand(
    node: OwnNode,
    topology: Topology,
    *,
    begin_ns: int | None = None,
    end_ns: int | None = None,
    half_life_days: float = 14.0,
    draws: int = 40,
    nodes: int = 1_000,
    seed: int = 0,
    threads: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> FittedDemand:
    """Fit the demand around a node to its forwards.

    Args:
        node: The node.
        topology: The network around it, with its balances.
        begin_ns: Begin of the time that is fitted, in ns since 1970; by default a ns before the first forward.
        end_ns: Its end; by default that of the history.
        half_life_days: Age at which a forward counts half.
        draws: Draws of what the history leaves open.
        nodes: Nodes of the network to keep: peers and the largest.
        seed: Seed of all draws.
        threads: Threads that share simulated networks.
        tell: Called with the share of the pilot that is done, as done and of how many.

    Raises:
        ConfigError: The history is too short, or has too few forwards over channels that are still there.
    """
    past = Past(node, around_own(topology, node.name, nodes))
    fit = _Fit.of(past, begin_ns, end_ns, half_life_days)
    rng = np.random.default_rng([seed, past.own])
    payment = OperatorConfig().payment
    candidates = _candidates(fit, payment, rng)
    moments = _moments_ns(fit, len(candidates.sender), rng)
    reached = try_out(past, candidates, moments, seed, threads, tell)
    shares = _Shares.of(fit, candidates, reached)
    prior = _Prior.of(fit, candidates, shares)
    rates = _posterior(fit, shares, prior, draws, rng)
    spreads, swing = _weekly_spreads(fit), _day_swing(fit)
    expected = np.stack([shares.by_pair(each) for each in rates])
    rates = rates * _factors(candidates, spreads, draws, len(past.topology.nodes), rng)
    flows = [flows_of(past.topology.nodes, candidates, each, each >= _LEAST_PER_DAY) for each in rates]
    begins_ns = [end for end in (fit.end_ns - days * DAY_NS for days in _REHEARSALS_DAYS) if end >= fit.begin_ns]
    played = rehearse(past, flows[:_REHEARSED_DRAWS], swing, begins_ns, seed, threads)
    hoped = float(np.mean([shares.by_pair(each).sum() for each in rates[:_REHEARSED_DRAWS]]))
    rates = rates * float(np.clip(hoped / max(played, 1e-9), 1 / _MOST_SCALE, _MOST_SCALE))
    return FittedDemand(
        nodes=nodes,
        names=past.topology.nodes,
        candidates=candidates,
        per_day=rates,
        day_swing=swing,
        forwards=len(fit.time_ns),
        unexplained=_unexplained(fit, candidates),
        weekly_spreads=spreads,
        expected=expected,
        pooled=prior.pooled,
        peers=fit.peers,
    )


@dataclass(frozen=True)
class _Fit:
    """Forwards that are fitted, and how much each counts."""

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

    @classmethod
    def of(cls, past: Past, begin_ns: int | None, end_ns: int | None, half_life_days: float) -> _Fit:
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
        peers = np.unique(past.peers)
        half_life_ns = half_life_days * DAY_NS
        age = (end_ns - told.time_ns.astype(np.float64)) / half_life_ns
        return cls(
            past=past,
            peers=peers,
            begin_ns=begin_ns,
            end_ns=end_ns,
            half_life_ns=half_life_ns,
            time_ns=told.time_ns.astype(np.float64),
            peer_in=np.searchsorted(peers, past.peers[past.places(told.chan_in)]),
            peer_out=np.searchsorted(peers, past.peers[past.places(told.chan_out)]),
            amount_sat=told.out_msat / 1000,
            weight=0.5**age,
            days=float(_counted_days(whole_days, half_life_days)),
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
        return _sums(pair, self.weight, count * count).reshape(count, count)


def _level(amount_sat: Float64) -> Int64:
    """Return the levels of amounts: whole steps of their logarithm."""
    level: Int64 = np.floor(_LEVELS_PER_DECADE * np.log10(np.maximum(amount_sat, 1.0))).astype(np.int64)
    return level


def _counted_days(days: float, half_life_days: float) -> float:
    """Return the integral of what each of the last days counts."""
    return half_life_days / log(2) * (1 - float(0.5 ** (days / half_life_days)))


def _sums(places: Int64, values: Float64, count: int) -> Float64:
    """Return the sum of the values at each of so many places."""
    return np.bincount(places, values, count).astype(np.float64)


def _candidates(fit: _Fit, payment: PaymentOptions, rng: np.random.Generator) -> Candidates:
    """Draw candidates, more of them where there were forwards."""
    place, levels, count = fit.place, len(fit.levels), len(fit.peers)
    shares = np.bincount(place) / len(place)
    wanted = np.zeros((levels, count, count), np.int64)
    one, other = np.indices((count, count))
    wanted[rng.choice(levels, (count, count), p=shares), one, other] = 1
    wanted[:, fit.pair_weight > 0] = _CANDIDATES
    amounts_sat = [np.maximum(fit.amount_sat[place == level], 1.0) for level in range(levels)]
    found = draw_candidates(fit.past.topology, fit.past.own, payment, amounts_sat, wanted, rng)
    if not len(found.sender):
        raise ConfigError(f"no pair of nodes would pay through {fit.past.node.name!r}, even if it asked for nothing")
    return found


def _moments_ns(fit: _Fit, candidates: int, rng: np.random.Generator) -> Int64:
    """Draw moments of the past, in ns since 1970, those of long ago more seldom, for so many candidates."""
    count = -(-_TRIALS * candidates // (32 * _PER_MOMENT)) * 32
    oldest = 0.5 ** ((fit.end_ns - fit.begin_ns) / fit.half_life_ns)
    unit = (np.arange(count) + rng.random(count)) / count
    age_ns = -np.log2(oldest + unit * (1 - oldest)) * fit.half_life_ns
    moments: Int64 = rng.permutation((fit.end_ns - age_ns).astype(np.int64))
    return moments


@dataclass(frozen=True)
class _Shares:
    """What share of a candidate's payments settles in which cell, as entries of a sparse matrix."""

    candidate: Int64
    cell: Int64
    share: Float64
    candidates: int
    levels: int
    peers: int

    @classmethod
    def of(cls, fit: _Fit, candidates: Candidates, reached: Reached) -> _Shares:
        """Count the payments of a pilot.

        Where forwards were and none of its payments settled, those candidates count half of one that should have.
        """
        count, cells = len(candidates.sender), len(fit.levels) * len(fit.peers) ** 2
        places = np.searchsorted(fit.peers, reached.peer_in), np.searchsorted(fit.peers, reached.peer_out)
        cell = fit.cells(*places, reached.amount_sat)
        entry, times = np.unique(reached.candidate * cells + cell, return_counts=True)
        ends = np.searchsorted(fit.peers, candidates.peer_in), np.searchsorted(fit.peers, candidates.peer_out)
        home = fit.cells(*ends, candidates.median_sat)
        missing = np.setdiff1d(fit.cells(fit.peer_in, fit.peer_out, fit.amount_sat), cell)
        helpers = np.flatnonzero(np.isin(home, missing))
        entry = np.concatenate([entry, helpers * cells + home[helpers]])
        times = np.concatenate([times, np.full(len(helpers), 0.5)])
        candidate, cell = np.divmod(entry, cells)
        share = times / np.maximum(reached.sent[candidate], 1)
        return cls(candidate, cell, share, count, len(fit.levels), len(fit.peers))

    @property
    def of_candidate(self) -> Float64:
        """Share of each candidate's payments that settles anywhere, shape (candidates,)."""
        return _sums(self.candidate, self.share, self.candidates)

    def by_pair(self, per_day: Float64) -> Float64:
        """Return forwards a day by pair of peers where candidates pay so often, shape (peers, peers)."""
        pair = _sums(self.cell // self.levels, self.share * per_day[self.candidate], self.peers**2)
        return pair.reshape(self.peers, self.peers)


@dataclass(frozen=True)
class _Prior:
    """Gamma priors of the rates, in payments a day."""

    shape: Float64
    rate: Float64
    pooled: Float64
    """Share of forwards by pair of peers, by what comes in and goes out at each, shape (peers, peers)."""

    @classmethod
    def of(cls, fit: _Fit, candidates: Candidates, shares: _Shares) -> _Prior:
        """Pool forwards over pairs: as often as the peer in and the peer out have any, with one more for each."""
        weight = fit.pair_weight
        pooled = (weight.sum(axis=1)[:, None] + 1) * (weight.sum(axis=0)[None, :] + 1)
        np.fill_diagonal(pooled, 0)
        pooled /= pooled.sum()
        ends = np.searchsorted(fit.peers, candidates.peer_in), np.searchsorted(fit.peers, candidates.peer_out)
        pair, levels = ends[0] * len(fit.peers) + ends[1], len(fit.levels)
        at_level = np.bincount(pair * levels + candidates.level)[pair * levels + candidates.level]
        part = (np.bincount(fit.place) / len(fit.place))[candidates.level] / at_level
        part /= np.bincount(pair, part)[pair]
        mean = pooled.ravel()[pair] * part
        reached = float((mean * shares.of_candidate).sum())
        if not reached > 0:
            raise ConfigError(
                "not one simulated payment went through the node at its past balances and prices: "
                "is the graph of the time of the history?"
            )
        mean *= float(fit.weight.sum()) / fit.days / reached
        return cls(part, part / np.maximum(mean, 1e-12), pooled)


def _posterior(fit: _Fit, shares: _Shares, prior: _Prior, draws: int, rng: np.random.Generator) -> Float64:
    """Draw rates, shape (draws, candidates)."""
    cell = fit.cells(fit.peer_in, fit.peer_out, fit.amount_sat)
    cells, counts = np.unique(cell, return_counts=True)
    weight = _sums(np.searchsorted(cells, cell), fit.weight, len(cells))
    order = np.argsort(shares.cell, kind="stable")
    first, last = (np.searchsorted(shares.cell[order], cells, side=side) for side in ("left", "right"))
    entries = [order[one:other] for one, other in zip(first.tolist(), last.tolist(), strict=True)]
    exposed = prior.rate + fit.days * shares.of_candidate
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


def _unexplained(fit: _Fit, candidates: Candidates) -> float:
    """Return the share of the forwards that come by peers of which no candidate came by a cheapest route."""
    levels = len(fit.levels)
    ends = np.searchsorted(fit.peers, candidates.peer_in), np.searchsorted(fit.peers, candidates.peer_out)
    cell = (ends[0] * len(fit.peers) + ends[1]) * levels + candidates.level
    came = (fit.peer_in * len(fit.peers) + fit.peer_out) * levels + fit.place
    return float(1 - np.isin(came, cell[~candidates.by_detour]).mean())


def _factors(
    candidates: Candidates, spreads: tuple[float, float], draws: int, nodes: int, rng: np.random.Generator
) -> Float64:
    """Draw by how much more the weeks to come have of each pair of peers, shape (draws, candidates)."""
    _, pair = np.unique(candidates.peer_in * nodes + candidates.peer_out, return_inverse=True)
    of_pair, of_all = (
        np.ones((draws, count)) if spread == inf else rng.gamma(spread, size=(draws, count)) / spread
        for spread, count in zip(spreads, (int(pair.max()) + 1, 1), strict=True)
    )
    factors: Float64 = of_pair[:, pair] * of_all
    return factors


def _weekly_spreads(fit: _Fit) -> tuple[float, float]:
    """Return the shapes of the factors of weeks, of pairs and of all, that make the weeks after the first most likely.

    Of all pairs together there are few weeks; one more that had half of what was foretold counts among them.
    """
    week_ns, half_life_days = 7 * DAY_NS, fit.half_life_ns / DAY_NS
    weeks = int((fit.end_ns - fit.begin_ns) // week_ns)
    if weeks < 2:
        return _USUAL_SPREADS
    pair, count = fit.peer_in * len(fit.peers) + fit.peer_out, len(fit.peers) ** 2
    tried: list[tuple[Float64, Float64, Float64]] = []
    for week in range(1, weeks):
        until_ns = fit.end_ns - (weeks - week) * week_ns
        before = fit.time_ns <= until_ns
        after = ~before & (fit.time_ns <= until_ns + week_ns)
        weight = 0.5 ** ((until_ns - fit.time_ns[before]) / fit.half_life_ns)
        known = _sums(pair[before], weight, count)
        days = _counted_days((until_ns - fit.begin_ns) / DAY_NS, half_life_days)
        shape = known + 1 / len(fit.peers)
        tried.append((_sums(pair[after], np.ones(int(after.sum())), count), 7 * shape / days, 1 / shape))
    happened, mean, variation = (np.stack(column) for column in zip(*tried, strict=True))
    of_pair = max(_SPREADS, key=lambda spread: _log_likelihood(happened, mean, _joint(variation, spread)))
    total = mean.sum(axis=1)
    uneven = (mean**2 * _joint(variation, of_pair)).sum(axis=1) / total**2
    weekly, total, uneven = (
        np.append(values, more)
        for values, more in ((happened.sum(axis=1), total.mean() / 2), (total, total.mean()), (uneven, uneven.mean()))
    )
    of_all = max(_SPREADS, key=lambda spread: _log_likelihood(weekly, total, _joint(uneven, spread)))
    return of_pair, of_all


def _joint(variation: Float64, spread: float) -> Float64:
    """Return the squared coefficient of variation of a product, of something and a Gamma factor of a shape."""
    more = 0.0 if spread == inf else 1 / spread
    return variation + more + variation * more


def _log_likelihood(counts: Float64, mean: Float64, variation: Float64) -> float:
    """Return the log-likelihood of negative binomial counts; ``variation`` is the squared one of their means."""
    size = 1 / variation
    log_gamma = np.vectorize(lgamma, otypes=[np.float64])
    likely = log_gamma(counts + size) - log_gamma(size) - log_gamma(counts + 1)
    likely += size * np.log(size / (size + mean)) + counts * np.log(mean / (size + mean))
    return float(likely.sum())


def _day_swing(fit: _Fit) -> float:
    """Return how much busier noon is than the mean: 3 x the mean height of a wave from -1 at midnight to 1 at noon."""
    height = 1 - 4 * np.abs(fit.time_ns % DAY_NS / DAY_NS - 0.5)
    return float(np.clip(3 * np.average(height, weights=fit.weight), 0, 1))
