"""By how much weeks differ, of pairs of peers and of all together, and hours of the day."""

from __future__ import annotations

from math import inf, lgamma
from typing import Final

import numpy as np

from lnsim_gym.arrays import Float64
from lnsim_gym.own_node.demand.candidates import Candidates
from lnsim_gym.own_node.demand.sample import Sample, counted_days, sums
from lnsim_gym.own_node.reading.history import DAY_NS

__all__ = ["day_swing", "factors", "weekly_spreads"]

_SPREADS: Final = (0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, inf)
"""Shapes that the factors of weeks may have."""
_USUAL_SPREADS: Final = (1.0, 3.0)
"""The ones where the history has no two weeks to tell."""


def factors(
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


def weekly_spreads(sample: Sample) -> tuple[float, float]:
    """Return the shapes of the factors of weeks, of pairs and of all, that make the weeks after the first most likely.

    Of all pairs together there are few weeks; one more that had half of what was foretold counts among them.
    """
    week_ns, half_life_days = 7 * DAY_NS, sample.half_life_ns / DAY_NS
    weeks = int((sample.end_ns - sample.begin_ns) // week_ns)
    if weeks < 2:
        return _USUAL_SPREADS
    pair, count = sample.peer_in * len(sample.peers) + sample.peer_out, len(sample.peers) ** 2
    tried: list[tuple[Float64, Float64, Float64]] = []
    for week in range(1, weeks):
        until_ns = sample.end_ns - (weeks - week) * week_ns
        before = sample.time_ns <= until_ns
        after = ~before & (sample.time_ns <= until_ns + week_ns)
        weight = 0.5 ** ((until_ns - sample.time_ns[before]) / sample.half_life_ns)
        known = sums(pair[before], weight, count)
        days = counted_days((until_ns - sample.begin_ns) / DAY_NS, half_life_days)
        shape = known + 1 / len(sample.peers)
        tried.append((sums(pair[after], np.ones(int(after.sum())), count), 7 * shape / days, 1 / shape))
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


def day_swing(sample: Sample) -> float:
    """Return how much busier noon is than the mean: 3 x the mean height of a wave from -1 at midnight to 1 at noon."""
    height = 1 - 4 * np.abs(sample.time_ns % DAY_NS / DAY_NS - 0.5)
    return float(np.clip(3 * np.average(height, weights=sample.weight), 0, 1))
