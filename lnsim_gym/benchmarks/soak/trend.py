"""Whether a series rises or falls, and how sure that is."""

from __future__ import annotations

from statistics import NormalDist
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["CONFIDENCE", "Trend", "trend_of"]

CONFIDENCE: Final = 0.99
"""Of the intervals: several series are looked at, and one in a hundred of those that stand still may seem to move."""
LEAST_FREEDOM: Final = 3.0
"""Degrees of freedom below which nothing is said."""


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """The slope of a series over time."""

    mean: float
    per_hour: float
    """Slope of the straight line of least squares."""
    low_per_hour: float | None
    """Lower end of its interval; None where nothing can be said."""
    high_per_hour: float | None
    independent_samples: float
    """How many independent samples would say as much: values that follow each other closely say less."""
    verdict: Literal["indistinguishable from zero", "rises", "falls", "too few samples"]


def trend_of(elapsed_s: npt.ArrayLike, values: npt.ArrayLike) -> Trend:
    """Return the slope of a series, with an interval that knows of its autocorrelation.

    Residuals are taken for an autoregressive process of the first order, so that n samples with the autocorrelation r
    count as n (1 - r) / (1 + r) (Santer et al. 2000, https://doi.org/10.1029/1999JD901105).

    Args:
        elapsed_s: When each value was taken, in seconds, shape (samples,).
        values: The series, shape (samples,).
    """
    hours = np.asarray(elapsed_s, np.float64) / 3600
    series = np.asarray(values, np.float64)
    if len(series) < LEAST_FREEDOM + 2:
        mean = float(series.mean()) if len(series) else 0.0
        return _undecided(mean, 0.0, float(len(series)))
    mean = float(series.mean())
    centred = hours - hours.mean()
    spread = float(centred @ centred)
    slope = float(centred @ (series - mean)) / spread
    residuals = series - mean - slope * centred
    scatter = float(residuals @ residuals)
    if scatter <= 1e-18 * max(1.0, mean * mean) * len(series):  # a straight line, but for rounding
        slope = slope if np.ptp(series) > 1e-9 * abs(mean) else 0.0
        return _decided(mean, slope, 0.0, float(len(series)))
    correlation = min(max(0.0, float(residuals[1:] @ residuals[:-1]) / scatter), 0.999)
    independent = len(series) * (1 - correlation) / (1 + correlation)
    if independent - 2 < LEAST_FREEDOM:
        return _undecided(mean, slope, independent)
    error = (scatter / (independent - 2) / spread) ** 0.5
    return _decided(mean, slope, error * _student(independent - 2), independent)


def _undecided(mean: float, slope: float, independent: float) -> Trend:
    """Return a trend of which nothing can be said."""
    return Trend(
        mean=mean,
        per_hour=slope,
        low_per_hour=None,
        high_per_hour=None,
        independent_samples=independent,
        verdict="too few samples",
    )


def _decided(mean: float, slope: float, half_width: float, independent: float) -> Trend:
    """Return a trend with its interval."""
    low, high = slope - half_width, slope + half_width
    return Trend(
        mean=mean,
        per_hour=slope,
        low_per_hour=low,
        high_per_hour=high,
        independent_samples=independent,
        verdict="rises" if low > 0 else "falls" if high < 0 else "indistinguishable from zero",
    )


def _student(freedom: float) -> float:
    """Return the quantile of Student's t distribution that bounds ``CONFIDENCE`` on both sides.

    By its expansion about the normal one (Abramowitz and Stegun, 26.7.5), within 1 % from 4 degrees of freedom on and
    4 % at 3.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))
