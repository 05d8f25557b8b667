"""How wide an interval of what may come has to be: as wide as the draws, and wider where past weeks lay further off.

What weeks earn is nearly lognormal, so that errors are those of its logarithm, in standard deviations of the draws: z
of n weeks, were the draws right, of mean 0 and variance 1. Their variance is unknown, with the conjugate prior that m
weeks of variance 1 would leave. What is foretold then follows Student's t with m + n degrees of freedom, scaled by
sqrt((m + sum z^2) / (m + n)) (Gelman et al., Bayesian Data Analysis, 2.6 and 3.2): intervals are wider by this scale,
and by the quantile of t that bounds 90 % over that of the normal law. They are never made narrower than the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np

from lnsim_gym.arrays import Float64

__all__ = ["foretold_levels", "log_error", "widening"]

_PRIOR_WEEKS: Final = 4.0
"""Weeks that the draws' own claim counts as much as."""
_BOUND: Final = 0.95
"""Share of what is foretold that lies below the upper end of an interval of 90 %."""
_LEAST_LOG_SD: Final = 0.1
"""No income of a week is foretold more narrowly than by a tenth."""


def log_error(drawn_sat: Float64, earned_sat: float) -> float:
    """Return by how many standard deviations of the draws' logarithm a week lay above their median.

    Args:
        drawn_sat: What the week earned in each draw, shape (draws,).
        earned_sat: What it did earn.
    """
    told = np.log1p(np.maximum(drawn_sat, 0))
    deviation = max(float(told.std(ddof=1)), _LEAST_LOG_SD)
    return float((np.log1p(max(earned_sat, 0.0)) - np.median(told)) / deviation)


def widening(errors: Sequence[float]) -> float:
    """Return how many times as wide as the draws intervals have to be, by the errors of weeks; 1 at least."""
    weeks = _PRIOR_WEEKS + len(errors)
    scale = np.sqrt((_PRIOR_WEEKS + sum(error**2 for error in errors)) / weeks)
    return max(float(scale) * _tail(weeks), 1.0)


def _tail(freedom: float) -> float:
    """Return how much further out the bound of Student's t is than that of the normal law.

    The expansion of Abramowitz and Stegun, 26.7.5; with 4 degrees of freedom and more it is right to 0.1 %.
    """
    z = NormalDist().inv_cdf(_BOUND)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return float(1 + (first / freedom + second / freedom**2 + third / freedom**3) / z)


def foretold_levels(drawn_sat: Float64, levels: Sequence[float], wider: float = 1.0) -> list[float]:
    """Return quantiles of what may come, by draws of it.

    They are those of order statistics, which hold for one further draw of any law; where there are too few draws, the
    extremes stand for the outermost.

    Args:
        drawn_sat: What is earned in each draw, shape (draws,).
        levels: Which quantiles, as shares.
        wider: How many times as far from the median they are, on the scale of logarithms; see ``widening``.
    """
    told = np.log1p(np.maximum(drawn_sat, 0))
    middle = np.median(told)
    quantiles = np.quantile(told, list(levels), method="weibull")
    found: list[float] = np.expm1(np.maximum(middle + wider * (quantiles - middle), 0)).tolist()
    return found
