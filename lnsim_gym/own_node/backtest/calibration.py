"""How wide an interval of what may come has to be: as wide as the draws, and wider where past weeks lay further off.

What weeks earn is nearly lognormal, so that errors are those of its logarithm, in standard deviations of the draws.
With errors z of n weeks, intervals are wider by sqrt((m e^2 + sum z^2) / (m + n)): the mean square of the errors,
shrunk by m weeks that lay off by e, as weeks to come differ more than weeks of one past do among themselves. Both
were chosen on six simulated nodes; ``tests.own_node.truth`` plays others. Intervals are never made narrower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from lnsim_gym.arrays import Float64

__all__ = ["foretold_levels", "log_error", "widening"]

_PRIOR_WEEKS: Final = 4.0
_PRIOR_ERROR: Final = 2.0
"""Deviations by which weeks lie off unless those of the past tell otherwise."""
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
    squares = sum(error**2 for error in errors)
    return float(np.sqrt(max((_PRIOR_WEEKS * _PRIOR_ERROR**2 + squares) / (_PRIOR_WEEKS + len(errors)), 1.0)))


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
