"""The demand that a node's history tells of: who might pay whom through it, how often, and what is left open.

Forwards of a history are counted by cells, each a pair of peers and a third of the amounts. Candidates (``candidates``)
are tried out on the balances and prices of the past (``pilot``), which gives the share of a candidate's payments that
settles in each cell; hours in which the node was empty or dear are in that share. With rates r and shares a, the count
of a cell is Poisson with mean days x sum(r a). Rates have Gamma priors whose means follow a pooled law, the forwards of
the peer in times those of the peer out, with the weight of one forward for each pair of peers; their posterior is drawn
by Gibbs' sampler (forwards of a cell to candidates by multinomial draws, then rates by Gamma draws: Tanner and Wong,
1987). What happened a half-life ago counts half. Candidates that never settle at past prices keep their prior: what
lower prices would bring is as uncertain as that. Weeks differ by more than that: the posterior of each pair is
multiplied by a Gamma factor, as wide as the weeks of the history need (negative binomial counts).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from lnsim_gym.own_node.pilot import Reached, flows_of, try_out
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.tasks.operator.config import OperatorConfig
from lnsim_gym.traffic import Flow

__all__ = ["LEAST_DAYS", "LEAST_FORWARDS", "FittedDemand", "fit_demand"]

LEAST_FORWARDS: Final = 20
"""Forwards below which nothing is fitted."""
LEAST_DAYS: Final = 7.0
"""Days of history below which nothing is fitted."""
_LEVELS: Final = 3
_CANDIDATES: Final = 5
"""Candidates of a pair of peers with forwards at each level of amounts; others have ``_CANDIDATES_UNSEEN``."""
_CANDIDATES_UNSEEN: Final = 1
_TRIALS: Final = 20
"""Payments of each candidate in the pilot, on average."""
_PER_MOMENT: Final = 50
_BURN_IN: Final = 40
_THINNING: Final = 5
_SPREADS: Final = (0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, inf)
"""Shapes that the factors of weeks may have."""
_USUAL_SPREAD: Final = 1.0
"""The one where the history has no two weeks to tell."""
_LEAST_PER_DAY: Final = 1e-4
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
    """Forwards that it was fitted to."""
    unexplained: float
    """Share of them between peers that no candidate of the graph's would choose."""
    weekly_spread: float
    """Shape of the Gamma factor by which weeks of a pair of peers differ; infinite where they do not."""
    expected: Float64
    """Forwards a day between peers at past balances and prices, shape (draws, peers, peers)."""
    pooled: Float64
    """Share of forwards between peers by the pooled law, shape (peers, peers)."""
    peers: Int64
    """Node indices of the peers, in order."""

    @property
    def draws(self) -> int:
        """How many draws there are."""
        return len(self.per_day)

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
    rates, unexplained = _posterior(fit, shares, prior, draws, rng)
    spread = _weekly_spread(fit)
    rates = rates * _factors(candidates, spread, draws, len(past.topology.nodes), rng)
    return FittedDemand(
        nodes=nodes,
        names=past.topology.nodes,
        candidates=candidates,
        per_day=rates,
        day_swing=_day_swing(fit),
        forwards=len(fit.time_ns),
        unexplained=unexplained,
        weekly_spread=spread,
        expected=np.stack([shares.by_pair(each) for each in rates]),
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

    @property
    def edges_sat(self) -> Float64:
        """Amounts between the levels."""
        return np.quantile(self.amount_sat, np.arange(1, _LEVELS) / _LEVELS)

    @property
    def amounts_sat(self) -> list[Float64]:
        """The amounts by levels."""
        level = np.searchsorted(self.edges_sat, self.amount_sat)
        return [np.maximum(self.amount_sat[level == each], 1.0) for each in np.unique(level).tolist()]

    def cells(self, peer_in: Int64, peer_out: Int64, amount_sat: Float64) -> Int64:
        """Return the cells of forwards, by places among the peers and amounts."""
        level = np.searchsorted(self.edges_sat, amount_sat)
        return (peer_in * len(self.peers) + peer_out) * _LEVELS + level

    @property
    def pair_weight(self) -> Float64:
        """Forwards by pair of peers, those of long ago counting less, shape (peers, peers)."""
        count = len(self.peers)
        pair = self.peer_in * count + self.peer_out
        return _sums(pair, self.weight, count * count).reshape(count, count)


def _counted_days(days: float, half_life_days: float) -> float:
    """Return the integral of what each of the last days counts."""
    return half_life_days / log(2) * (1 - float(0.5 ** (days / half_life_days)))


def _sums(places: Int64, values: Float64, count: int) -> Float64:
    """Return the sum of the values at each of so many places."""
    return np.bincount(places, values, count).astype(np.float64)


def _candidates(fit: _Fit, payment: PaymentOptions, rng: np.random.Generator) -> Candidates:
    """Draw candidates, more of them where there were forwards."""
    wanted = np.zeros((len(fit.past.topology.nodes),) * 2, np.int64)
    wanted[np.ix_(fit.peers, fit.peers)] = np.where(fit.pair_weight > 0, _CANDIDATES, _CANDIDATES_UNSEEN)
    found = draw_candidates(fit.past.topology, fit.past.own, payment, fit.amounts_sat, wanted, rng)
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
    peers: int

    @classmethod
    def of(cls, fit: _Fit, candidates: Candidates, reached: Reached) -> _Shares:
        """Count the payments of a pilot."""
        count = len(candidates.sender)
        places = np.searchsorted(fit.peers, reached.peer_in), np.searchsorted(fit.peers, reached.peer_out)
        cell = fit.cells(*places, reached.amount_sat)
        cells = _LEVELS * len(fit.peers) ** 2
        entry, times = np.unique(reached.candidate * cells + cell, return_counts=True)
        candidate, cell = np.divmod(entry, cells)
        return cls(candidate, cell, times / reached.sent[candidate], count, len(fit.peers))

    @property
    def of_candidate(self) -> Float64:
        """Share of each candidate's payments that settles anywhere, shape (candidates,)."""
        return _sums(self.candidate, self.share, self.candidates)

    def by_pair(self, per_day: Float64) -> Float64:
        """Return forwards a day by pair of peers where candidates pay so often, shape (peers, peers)."""
        pair = _sums(self.cell // _LEVELS, self.share * per_day[self.candidate], self.peers**2)
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
        pair = ends[0] * len(fit.peers) + ends[1]
        of_pair = np.bincount(pair)[pair]
        mean = pooled.ravel()[pair] / of_pair
        reached = float((mean * shares.of_candidate).sum())
        if not reached > 0:
            raise ConfigError(
                "not one simulated payment went through the node at its past balances and prices: "
                "is the graph of the time of the history?"
            )
        mean *= float(fit.weight.sum()) / fit.days / reached
        shape = 1 / of_pair
        return cls(shape, shape / np.maximum(mean, 1e-12), pooled)


def _posterior(
    fit: _Fit, shares: _Shares, prior: _Prior, draws: int, rng: np.random.Generator
) -> tuple[Float64, float]:
    """Draw rates, shape (draws, candidates), and tell which share of the forwards no candidate explains."""
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
    empty = np.array([not len(which) for which in entries])
    return np.stack(kept), float(counts[empty].sum() / counts.sum())


def _factors(candidates: Candidates, spread: float, draws: int, nodes: int, rng: np.random.Generator) -> Float64:
    """Draw by how much more the weeks to come have of each pair of peers, shape (draws, candidates)."""
    _, pair = np.unique(candidates.peer_in * nodes + candidates.peer_out, return_inverse=True)
    if spread == inf:
        return np.ones((draws, len(pair)))
    factors: Float64 = rng.gamma(spread, size=(draws, int(pair.max()) + 1)) / spread
    return factors[:, pair]


def _weekly_spread(fit: _Fit) -> float:
    """Return the shape of the factors of weeks under which the weeks after the first are most likely."""
    week_ns, half_life_days = 7 * DAY_NS, fit.half_life_ns / DAY_NS
    weeks = int((fit.end_ns - fit.begin_ns) // week_ns)
    if weeks < 2:
        return _USUAL_SPREAD
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
        happened = _sums(pair[after], np.ones(int(after.sum())), count)
        tried.append((1 / shape, 7 * shape / days, happened))
    variation, mean, happened = (np.concatenate(column) for column in zip(*tried, strict=True))
    return max(_SPREADS, key=lambda spread: _log_likelihood(happened, mean, variation, spread))


def _log_likelihood(counts: Float64, mean: Float64, variation: Float64, spread: float) -> float:
    """Return the log-likelihood of negative binomial counts, whose means vary twice over: by shape, and by spread."""
    more = 0.0 if spread == inf else 1 / spread
    size = 1 / (variation + more + variation * more)
    log_gamma = np.vectorize(lgamma, otypes=[np.float64])
    likely = log_gamma(counts + size) - log_gamma(size) - log_gamma(counts + 1)
    likely += size * np.log(size / (size + mean)) + counts * np.log(mean / (size + mean))
    return float(likely.sum())


def _day_swing(fit: _Fit) -> float:
    """Return how much busier noon is than the mean: 3 x the mean height of a wave from -1 at midnight to 1 at noon."""
    height = 1 - 4 * np.abs(fit.time_ns % DAY_NS / DAY_NS - 0.5)
    return float(np.clip(3 * np.average(height, weights=fit.weight), 0, 1))
