"""The demand that a node's history tells of: who might pay whom through it, how often, and what is left open.

Forwards of a history are counted by cells, each a pair of peers and half a decade of amounts. Candidates
(``candidates``) are tried out on the balances and prices of the past (``pilot``), which gives the share of a
candidate's payments that settles in each cell; hours in which the node was empty or dear are in that share. Where the
history tells of forwards that were refused for lack of balance, these are counted with those that settled, and the
share is that of hours in which the own channel could have carried the payment. With rates
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
from typing import Final

import numpy as np

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.own_node.demand.candidates import Candidates, draw_candidates
from lnsim_gym.own_node.demand.fitted import LEAST_PER_DAY, FittedDemand
from lnsim_gym.own_node.demand.past import Past, around_own
from lnsim_gym.own_node.demand.pilot import Reached, flows_of, rehearse, try_out
from lnsim_gym.own_node.demand.posterior import Prior, Shares, posterior
from lnsim_gym.own_node.demand.sample import Sample
from lnsim_gym.own_node.demand.spread import day_swing, factors, weekly_spreads
from lnsim_gym.own_node.reading.folder import OwnNode
from lnsim_gym.own_node.reading.history import DAY_NS
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.tasks.operator.config import OperatorConfig

__all__ = ["fit_demand"]

_MOST_FORWARDS: Final = 3_000
"""Forwards that candidates and their rates are drawn from, at most: a sum of so many is known to 2 %."""
_CANDIDATES: Final = 3
"""Candidates of a pair of peers with forwards at each level of amounts; others have one in all."""
_MOST_CANDIDATES: Final = 6_000
"""Candidates at most: else pairs have them only at levels that they had, or one for each, and fewer others have any."""
_LEAST_OTHERS: Final = 1_000
"""Pairs without forwards that have a candidate in any case."""
_TRIALS: Final = 20
"""Payments of each candidate in the pilot, on average."""
_PER_MOMENT: Final = 50
_REHEARSALS_DAYS: Final = (7, 14)
"""Days before the end at which weeks begin that are played to see how far the node gets with what it has."""
_REHEARSED_DRAWS: Final = 12
_REHEARSED_PAYMENTS: Final = 50_000
"""Payments for which fewer draws are rehearsed: the busier a demand, the less chance there is in one of them."""
_LEAST_REHEARSED: Final = 2
_MOST_PER_FORWARD: Final = 15.0
"""Payments for each forward that a demand is played with, where candidates that never got through are not needed."""
_MOST_SCALE: Final = 3.0


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
    whole = Sample.of(past, begin_ns, end_ns, half_life_days)
    rng = np.random.default_rng([seed, past.own])
    sample = whole.thinned(_MOST_FORWARDS, rng)
    payment = OperatorConfig().payment
    candidates = _candidates(sample, payment, rng)
    moments = _moments_ns(sample, len(candidates.sender), rng)
    reached = try_out(past, candidates, moments, seed, threads, tell)
    shares = Shares.of(sample, candidates, reached)
    counted = Shares.of(sample, candidates, reached, when_able=True) if sample.knows_refused else shares
    prior = Prior.of(sample, candidates, counted)
    rates = posterior(sample, counted, prior, draws, rng)
    spreads, swing = weekly_spreads(whole), day_swing(whole)
    expected = np.stack([shares.by_pair(each) for each in rates])
    rates = rates * _worth_playing(rates, reached, float(sample.weight.sum()) / sample.days, rng)
    rates = rates * factors(candidates, spreads, draws, len(past.topology.nodes), rng)
    flows = [flows_of(past.topology.nodes, candidates, each, each >= LEAST_PER_DAY) for each in rates]
    begins_ns = [end for end in (sample.end_ns - days * DAY_NS for days in _REHEARSALS_DAYS) if end >= sample.begin_ns]
    rehearsed = _rehearsed(float(rates.sum(axis=1).mean()) * 7 * len(begins_ns))
    played = rehearse(past, flows[:rehearsed], swing, begins_ns, seed, threads)
    hoped = float(np.mean([shares.by_pair(each).sum() for each in rates[:rehearsed]]))
    rates = rates * float(np.clip(hoped / max(played, 1e-9), 1 / _MOST_SCALE, _MOST_SCALE))
    return FittedDemand(
        nodes=nodes,
        names=past.topology.nodes,
        candidates=candidates,
        per_day=rates,
        day_swing=swing,
        forwards=whole.settled,
        refused=len(whole.time_ns) - whole.settled,
        unexplained=_unexplained(sample, candidates),
        weekly_spreads=spreads,
        expected=expected,
        pooled=prior.pooled,
        peers=sample.peers,
    )


def _candidates(sample: Sample, payment: PaymentOptions, rng: np.random.Generator) -> Candidates:
    """Draw candidates, more of them where there were forwards."""
    place, levels = sample.place, len(sample.levels)
    wanted, came = _wanted(sample, rng)
    amounts_sat = [np.maximum(sample.amount_sat[place == level], 1.0) for level in range(levels)]
    found = draw_candidates(sample.past.topology, sample.past.own, payment, amounts_sat, wanted, came, rng)
    if not len(found.sender):
        raise ConfigError(f"no pair of nodes would pay through {sample.past.node.name!r}, even if it asked for nothing")
    return found


def _wanted(sample: Sample, rng: np.random.Generator) -> tuple[Int64, Bool]:
    """Return how many candidates each pair of peers gets at each level, and where that is for forwards that came.

    Both have the shape (levels, peers, peers).
    """
    place, levels, count = sample.place, len(sample.levels), len(sample.peers)
    had = np.zeros((levels, count, count), np.bool_)
    had[place, sample.peer_in, sample.peer_out] = True
    at_any = had.any(axis=0)
    one, other = np.nonzero(~at_any & ~np.eye(count, dtype=np.bool_))
    for wanted in (_CANDIDATES * np.tile(at_any, (levels, 1, 1)), _CANDIDATES * had, 1 * had):
        if int(wanted.sum()) + min(len(one), _LEAST_OTHERS) <= _MOST_CANDIDATES:
            break
    came = wanted > 0
    others = rng.permutation(len(one))[: max(_MOST_CANDIDATES - int(wanted.sum()), _LEAST_OTHERS)]
    shares = np.bincount(place) / len(place)
    wanted[rng.choice(levels, len(others), p=shares), one[others], other[others]] = 1
    return wanted, came


def _moments_ns(sample: Sample, candidates: int, rng: np.random.Generator) -> Int64:
    """Draw moments of the past, in ns since 1970, those of long ago more seldom, for so many candidates."""
    count = -(-_TRIALS * candidates // (32 * _PER_MOMENT)) * 32
    oldest = 0.5 ** ((sample.end_ns - sample.begin_ns) / sample.half_life_ns)
    unit = (np.arange(count) + rng.random(count)) / count
    age_ns = -np.log2(oldest + unit * (1 - oldest)) * sample.half_life_ns
    moments: Int64 = rng.permutation((sample.end_ns - age_ns).astype(np.int64))
    return moments


def _worth_playing(rates: Float64, reached: Reached, forwards: float, rng: np.random.Generator) -> Bool:
    """Return which candidates a demand is played with, shape (candidates,).

    Those of which no payment got through in the pilot tell what lower prices might bring; where they would be most of
    what is played, only some of them are, drawn at random.

    Args:
        rates: Payments a day, shape (draws, candidates).
        reached: What the pilot found.
        forwards: Forwards a day.
        rng: Source of randomness.
    """
    daily, gets_through = rates.mean(axis=0), np.isin(np.arange(rates.shape[1]), reached.candidate)
    room = _MOST_PER_FORWARD * forwards - float(daily[gets_through].sum())
    chance = np.clip(room / max(float(daily[~gets_through].sum()), 1e-300), 0, 1)
    chosen: Bool = gets_through | (rng.random(len(daily)) < chance)
    return chosen


def _rehearsed(payments: float) -> int:
    """Return how many draws are rehearsed when each takes so many payments."""
    return int(np.clip(_REHEARSED_PAYMENTS / max(payments, 1.0), _LEAST_REHEARSED, _REHEARSED_DRAWS))


def _unexplained(sample: Sample, candidates: Candidates) -> float:
    """Return the share of the forwards that come by peers of which no candidate came by a cheapest route."""
    levels = len(sample.levels)
    ends = np.searchsorted(sample.peers, candidates.peer_in), np.searchsorted(sample.peers, candidates.peer_out)
    cell = (ends[0] * len(sample.peers) + ends[1]) * levels + candidates.level
    came = (sample.peer_in * len(sample.peers) + sample.peer_out) * levels + sample.place
    return float(1 - np.isin(came, cell[~candidates.by_detour]).mean())
