"""exp, exp2 and log: accurate, monotone, exact where they can be, and the same compiled and in Python."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from lnsim_gym.compiled import kernel
from lnsim_gym.compiled.elementary import compiled_exp, compiled_exp2, compiled_log, exp, exp2, log
from lnsim_gym.traffic.normal import normal_quantile

RNG = np.random.default_rng(0)
EXPONENTS = np.concatenate([RNG.uniform(-700, 700, 1000), RNG.normal(0, 1, 1000), RNG.normal(0, 1e-6, 200)])
POWERS = np.concatenate([RNG.uniform(-1000, 1000, 1000), RNG.normal(0, 1, 1000)])
NUMBERS = np.concatenate([np.exp(EXPONENTS), RNG.uniform(0.5, 2, 1000), 1 + RNG.normal(0, 1e-6, 200)])


@kernel
def fill(x, raised, raised_2, logs):
    """Fill arrays with the compiled functions of an array."""
    for index in range(x.size):
        raised[index] = compiled_exp(x[index])
        raised_2[index] = compiled_exp2(x[index])
        logs[index] = compiled_log(abs(x[index]))


def worst_error(function, exact, values):
    """Return the largest error in units of the last place."""
    with localcontext() as context:
        context.prec = 40
        errors = []
        for value in values.tolist():
            true = exact(Decimal(value))
            errors.append(abs(Decimal(float(function(value))) - true) / Decimal(math.ulp(float(true))))
        return float(max(errors))


@pytest.mark.parametrize(
    ("function", "exact", "values"),
    [
        (exp, lambda x: x.exp(), EXPONENTS),
        (exp2, lambda x: (x * Decimal(2).ln()).exp(), POWERS),
        (log, lambda x: x.ln(), NUMBERS),
    ],
    ids=["exp", "exp2", "log"],
)
def test_errors_stay_close_to_those_of_rounding(function, exact, values):
    assert worst_error(function, exact, values) < 0.52


def test_values_that_floats_can_hold_are_exact():
    assert exp(0.0) == 1.0
    assert log(1.0) == 0.0
    assert [exp2(float(power)) for power in range(-1074, 1024)] == [2.0**power for power in range(-1074, 1024)]


def test_the_ends_of_floats_are_zero_and_infinity():
    with np.errstate(over="ignore"):
        assert (exp(-1e300), exp(1e300), exp2(-1e300), exp2(1e300)) == (0.0, math.inf, 0.0, math.inf)
    assert (log(0.0), log(math.inf)) == (-math.inf, math.inf)
    assert math.isnan(log(-1.0))


@pytest.mark.parametrize("function", [exp, exp2])
def test_neighbouring_floats_never_fall(function):
    for start in RNG.uniform(-30, 3, 200):
        neighbours = start + np.spacing(start) * np.arange(-500, 500) * np.sign(start)
        assert (np.diff(function(np.sort(neighbours))) >= 0).all()


def test_compiled_code_and_python_compute_the_same_bits():
    x = np.concatenate([EXPONENTS, [-800.0, 800.0]])
    raised, raised_2, logs = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    fill(x, raised, raised_2, logs)
    with np.errstate(over="ignore"):
        assert (raised == exp(x)).all()
        assert (raised_2 == exp2(x)).all()
    assert logs.tolist() == [float(log(value)) for value in np.abs(x).tolist()]


def test_quantiles_of_the_normal_distribution_lie_where_its_integral_says():
    for probability in (1e-7, 1e-3, 0.05, 0.3, 0.5, 0.8, 0.999):
        integral = 0.5 * math.erfc(-normal_quantile(probability) / math.sqrt(2))
        assert integral == pytest.approx(probability, rel=1e-13)
