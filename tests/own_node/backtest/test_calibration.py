"""Intervals that are as wide as the draws, and wider where past weeks lay further off."""

import numpy as np
import pytest

from lnsim_gym.own_node.backtest.calibration import foretold_levels, log_error, widening


def test_weeks_far_off_widen_and_many_near_ones_tell_that_nothing_needs_to():
    normal = 1.6449  # and from tables, bounds of 90 % of Student's t with 4, 8 and 24 degrees of freedom
    assert widening([]) == pytest.approx(2.1318 / normal, rel=2e-3)
    assert widening([3.0, -3.0, 3.0, -3.0]) == pytest.approx(np.sqrt(40 / 8) * 1.8595 / normal, rel=1e-3)
    assert widening([1.0, -1.0] * 10) == pytest.approx(1.7109 / normal, rel=1e-3)
    assert widening([0.1, -0.2, 0.3]) < widening([1.0, -1.0]) < widening([]) < widening([3.0])
    assert widening([0.0] * 100) == 1.0


def test_intervals_hold_what_they_say_whatever_the_errors_of_a_node_are():
    rng = np.random.default_rng(4)
    inside = []
    for _ in range(4_000):
        spread = np.sqrt(4 / rng.chisquare(4))  # by how much the draws of a node are too narrow, or too wide
        *past, next_one = spread * rng.standard_normal(5)
        inside.append(abs(next_one) <= 1.6449 * widening(past))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


def test_an_error_is_told_in_deviations_of_the_logarithm():
    rng = np.random.default_rng(0)
    drawn = np.expm1(rng.normal(5.0, 0.5, 4_000))
    assert log_error(drawn, float(np.expm1(5.0))) == pytest.approx(0, abs=0.05)
    assert log_error(drawn, float(np.expm1(6.0))) == pytest.approx(2, abs=0.1)
    assert log_error(drawn, 0.0) == pytest.approx(-10, abs=0.5)
    assert log_error(np.full(5, 7.0), 7.0) == 0
    assert abs(log_error(np.zeros(5), 1e6)) < 1e3  # draws without any spread make no error endless


def test_quantiles_hold_what_they_say_of_a_further_draw():
    rng = np.random.default_rng(1)
    for draws in (19, 39):
        inside = []
        for _ in range(2_000):
            low, high = foretold_levels(rng.lognormal(3, 1, draws), (0.05, 0.95))
            inside.append(low <= rng.lognormal(3, 1) <= high)
        assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


def test_wider_quantiles_keep_the_median_and_never_fall_below_nothing():
    drawn = np.random.default_rng(2).lognormal(4, 1, 39)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    plain, wide = (foretold_levels(drawn, levels, wider) for wider in (1.0, 3.0))
    assert wide[2] == pytest.approx(plain[2])
    assert wide[0] < plain[0] < plain[4] < wide[4]
    assert foretold_levels(np.array([0.0, 0.0, 0.0, 5.0] * 10), levels, 9.0)[0] == 0.0
    assert foretold_levels(np.zeros(39), levels, 3.0) == [0.0] * 5
