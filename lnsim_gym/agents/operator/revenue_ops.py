"""The fees of cl_revenue_ops: a curve of revenue by fee rate for each channel, learnt while it sells."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from lnsim_gym.agents.operator.base import DAY_H, OperatorRule, Plan, Seen
from lnsim_gym.arrays import Bool, Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["Curve", "RevenueOps", "curve_of"]

OBSERVATIONS: Final = 200
"""Steps that are remembered."""
HALF_LIFE_H: Final = 168.0
"""Age at which one counts for half."""
LEAST_WEIGHT: Final = 1e-6
"""What counts for less is forgotten."""
QUIET_WEIGHT: Final = 0.15
"""What a step without revenue counts for."""
ENOUGH: Final = 5
"""Steps from which on the curve is trusted."""
LEAST_SD_PPM: Final = 10.0
LEAST_RANGE_PPM: Final = 5.0
"""Fee rates closer together tell nothing of a curve."""
PRIOR_COEFFICIENTS: Final = np.array([0.0, 1.0, 0.0])
PRIOR_PRECISION: Final = 0.01 * np.eye(3)
FIRST_NOISE: Final = 1_000.0
LEAST_NOISE: Final = 10.0


class Curve(NamedTuple):
    """What is known of revenue (sat an hour) by fee rate, of channels in shape (...)."""

    mean_ppm: Float64
    """Best fee rate."""
    sd_ppm: Float64
    """How sure that is."""
    coefficients: Float64  # (..., 3) of the square, the rate itself and 1, rates from 0 to 1 over the range
    covariance: Float64  # (..., 3, 3)
    low_ppm: Float64
    """Lower end of the range of fee rates that were tried."""
    range_ppm: Float64
    noise: Float64
    """Variance of revenues about the curve."""
    fits: Bool
    """Whether there is a curve: enough observations, far enough apart."""


class RevenueOps(OperatorRule):
    """Draws fee rates from what is believed of revenue by fee rate (Thompson sampling), within bounds by balance.

    Source: cl_revenue_ops for Core Lightning (lightning-goats/cl_revenue_ops, ``modules/fee_controller.py``, discounted
    Thompson sampling, 2026). Each step is an observation: the fee rate, the revenue an hour, and a weight, which grows
    with its duration up to 6 h and with the logarithm of the revenue, is 0.15 without any, and halves in a week. A
    Bayesian regression makes a parabola of the last 200; its peak, for coefficients drawn from the posterior, is the
    next fee rate. Where it has no peak, a normal distribution about the best observed rate is drawn from, and before
    five observations one about ``prior_ppm``. A channel charges at least 500 ppm below 10 % local and 200 below 25 %;
    ceilings fall to 3/4 and 1/2 after 3 and 7 days without a forward. Its contexts, its defence against failures, and
    its rebalances, none of which it found worth their price in a month, are left out.

    Args:
        problem: See ``OperatorRule``.
        prior_ppm: Mean of the fee rate before anything is known.
        prior_sd_ppm: Its standard deviation.
        min_ppm: Least fee rate.
        max_ppm: Greatest fee rate.
    """

    is_separable = False  # all networks draw from one stream

    def __init__(
        self,
        problem: Problem,
        prior_ppm: float = 200.0,
        prior_sd_ppm: float = 100.0,
        min_ppm: int = 10,
        max_ppm: int = 5_000,
    ) -> None:
        super().__init__(problem)
        if not 0 <= min_ppm <= max_ppm:
            raise ConfigError(f"revenue_ops needs 0 <= min_ppm <= max_ppm, got {min_ppm} and {max_ppm}")
        self.prior_ppm = prior_ppm
        self.prior_sd_ppm = prior_sd_ppm
        self.min_ppm = min_ppm
        self.max_ppm = max_ppm

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        fee_ppm, rate, weight = self._observed(seen)
        noise = self.kept("noise", np.full(seen.local_sat.shape, FIRST_NOISE))
        curve = curve_of(fee_ppm, rate, weight, noise, self.prior_ppm, self.prior_sd_ppm)
        noise[:] = curve.noise
        few = (weight > 0).sum(axis=-1) < ENOUGH
        drawn_ppm = np.where(
            few,
            rng.normal(self.prior_ppm, max(LEAST_SD_PPM, 1.1 * self.prior_sd_ppm), few.shape),
            self._drawn_ppm(curve, rng),
        )
        floor_ppm, ceiling_ppm = self._bounds_ppm(seen)
        self.announce(seen, plan, np.maximum(np.minimum(drawn_ppm, ceiling_ppm), floor_ppm))

    def _observed(self, seen: Seen) -> tuple[Float64, Float64, Float64]:
        """Note the step that was, and return the remembered fee rates, revenues an hour, and weights by age."""
        shape = (*seen.local_sat.shape, OBSERVATIONS)
        fee_ppm, rate = self.kept("tried_ppm", np.zeros(shape)), self.kept("revenue", np.zeros(shape))
        weight = self.kept("weight", np.zeros(shape))
        weight *= 0.5 ** (self.hours / HALF_LIFE_H)
        now = np.arange(len(fee_ppm)), slice(None), self._steps % OBSERVATIONS
        per_hour = seen.fee_earned_sat / self.hours
        long = min(1.0, self.hours / 6)
        earned = np.maximum(long * np.minimum(1, np.log1p(per_hour) / np.log1p(1_000)), 0.01)
        fee_ppm[now], rate[now] = seen.fee_rate_ppm, per_hour
        weight[now] = np.where(self._begins[:, None], 0, np.where(per_hour > 0, earned, long * QUIET_WEIGHT))
        return fee_ppm, rate, np.where(weight < LEAST_WEIGHT, 0, weight)

    def _drawn_ppm(self, curve: Curve, rng: np.random.Generator) -> Float64:
        """Draw the best fee rate from what is believed of it."""
        shape = curve.mean_ppm.shape
        spread = np.linalg.cholesky(curve.covariance)
        drawn = curve.coefficients + np.einsum("...ij,...j->...i", spread, rng.standard_normal((*shape, 3)))
        falls = np.where(drawn[..., 0] < -1e-8, drawn[..., 0], -1.0)
        peak = np.clip(-drawn[..., 1] / (2 * falls), -0.2, 1.2)
        about_ppm = curve.mean_ppm + np.maximum(LEAST_SD_PPM, curve.sd_ppm) * rng.standard_normal(shape)
        has_peak = curve.fits & (drawn[..., 0] < -1e-8)
        return np.where(has_peak, curve.low_ppm + peak * curve.range_ppm, about_ppm)

    def _bounds_ppm(self, seen: Seen) -> tuple[Float64, Float64]:
        """Return the least and the greatest fee rate of each channel now."""
        local = seen.local_sat / seen.capacity_sat
        floor_ppm = np.select([local < 0.1, local < 0.25], [500, 200], self.min_ppm)
        idle_days = self.kept("idle_days", np.zeros(local.shape))
        idle_days[:] = np.where((seen.forwarded_out > 0) | self._begins[:, None], 0, idle_days + self.hours / DAY_H)
        ceiling_ppm = self.max_ppm * np.select([idle_days >= 7, idle_days >= 3], [0.5, 0.75], 1.0)
        return floor_ppm.astype(np.float64), np.maximum(ceiling_ppm, floor_ppm)


def curve_of(
    fee_ppm: Float64, rate: Float64, weight: Float64, noise: Float64, prior_ppm: float, prior_sd_ppm: float
) -> Curve:
    """Work out what observations tell of revenue by fee rate.

    Args:
        fee_ppm: Fee rates that were tried, shape (..., observations).
        rate: Revenue an hour at each, of that shape.
        weight: What each counts for, of that shape; 0 where there is none.
        noise: Variance of revenues about the curve as it was, shape (...).
        prior_ppm: Mean of the best fee rate before anything is known.
        prior_sd_ppm: Its standard deviation.
    """
    there = weight > 0
    low_ppm = np.where(there, fee_ppm, np.inf).min(axis=-1, initial=np.inf)
    range_ppm = np.where(there, fee_ppm, -np.inf).max(axis=-1, initial=-np.inf) - low_ppm
    fits = (there.sum(axis=-1) >= 3) & (range_ppm >= LEAST_RANGE_PPM)
    low_ppm, range_ppm = np.where(fits, low_ppm, 0), np.where(fits, range_ppm, 1)
    at = (fee_ppm - low_ppm[..., None]) / range_ppm[..., None]
    terms = np.stack([at * at, at, np.ones_like(at)], axis=-1) * (there & fits[..., None])[..., None]
    known = (weight / np.maximum(LEAST_NOISE, noise)[..., None])[..., None] * terms
    precision = PRIOR_PRECISION + np.einsum("...ki,...kj->...ij", known, terms)
    covariance = np.linalg.inv(precision)
    sums = PRIOR_PRECISION @ PRIOR_COEFFICIENTS + np.einsum("...ki,...k->...i", known, rate)
    coefficients = np.einsum("...ij,...j->...i", covariance, sums)
    missed = weight * (rate - np.einsum("...ki,...i->...k", terms, coefficients)) ** 2
    about = missed.sum(axis=-1) / np.maximum(weight.sum(axis=-1) - 3, 1)
    mean_ppm, sd_ppm = _peak_of(fee_ppm, rate, there, coefficients, covariance, low_ppm, range_ppm)
    plain_ppm, plain_sd_ppm = _average_of(fee_ppm, weight, prior_ppm, prior_sd_ppm)
    return Curve(
        mean_ppm=np.where(fits, mean_ppm, plain_ppm),
        sd_ppm=np.where(fits, sd_ppm, plain_sd_ppm),
        coefficients=coefficients,
        covariance=covariance,
        low_ppm=low_ppm,
        range_ppm=range_ppm,
        noise=np.where(fits, np.maximum(LEAST_NOISE, 0.7 * about + 0.3 * noise), noise),
        fits=fits,
    )


def _peak_of(
    fee_ppm: Float64,
    rate: Float64,
    there: Bool,
    coefficients: Float64,
    covariance: Float64,
    low_ppm: Float64,
    range_ppm: Float64,
) -> tuple[Float64, Float64]:
    """Return where a parabola has its peak and how sure that is, or the best fee rate where it has none."""
    square, slope, _ = np.moveaxis(coefficients, -1, 0)
    has_peak = square < -1e-8
    square = np.where(has_peak, square, -1.0)
    peak = np.clip(-slope / (2 * square), -0.5, 1.5)
    by_square, by_slope = slope / (2 * square**2), -1 / (2 * square)
    gradient = np.stack([by_square, by_slope, np.zeros_like(slope)], axis=-1)
    variance = np.einsum("...i,...ij,...j->...", gradient, covariance, gradient)
    best = np.where(there, rate, -np.inf).argmax(axis=-1)
    best_ppm = np.take_along_axis(fee_ppm, best[..., None], axis=-1)[..., 0]
    mean_ppm = np.where(has_peak, low_ppm + peak * range_ppm, best_ppm)
    sd_ppm = np.where(has_peak, np.sqrt(np.maximum(variance, 0)) * range_ppm, range_ppm / 4)
    return mean_ppm, np.maximum(sd_ppm, LEAST_SD_PPM)


def _average_of(fee_ppm: Float64, weight: Float64, prior_ppm: float, prior_sd_ppm: float) -> tuple[Float64, Float64]:
    """Return the mean of the fee rates that were tried and how sure it is, given what was believed before."""
    total = weight.sum(axis=-1)
    some = np.maximum(total, 1e-300)
    mean_ppm = (weight * fee_ppm).sum(axis=-1) / some
    variance = np.maximum((weight * fee_ppm**2).sum(axis=-1) / some - mean_ppm**2, LEAST_SD_PPM**2)
    before, data = 1 / max(LEAST_SD_PPM, prior_sd_ppm) ** 2, np.where(total > 0.1, total / variance, 0)
    sd_ppm = np.where(data > 0, np.maximum(LEAST_SD_PPM, (before + data) ** -0.5), prior_sd_ppm)
    return (before * prior_ppm + data * mean_ppm) / (before + data), sd_ppm
