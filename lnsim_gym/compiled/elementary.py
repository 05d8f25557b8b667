"""``exp``, ``exp2`` and ``log`` from basic operations: the same bits on every machine, in compiled code and in Python.

The functions of C libraries, and those that numpy and LLVM put in their place, differ in the last bit from one
machine to the next, and an episode that differs in one bit soon differs in everything. IEEE 754 fixes ``+ - * /``,
square roots and scaling by powers of two to the last bit; these functions use nothing else. They are off by at most
0.52 of a unit in the last place. Their tables come from ``decimal``, whose ``exp`` and ``ln`` are rounded correctly.

Method: P. T. P. Tang, Table-driven implementation of the exponential (logarithm) function in IEEE floating-point
arithmetic, ACM TOMS 15 (1989) and 16 (1990). The names ``compiled_...`` are the same functions for compiled code.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any, Final

import numpy as np

from lnsim_gym.arrays import Float64
from lnsim_gym.compiled.functions import fused

__all__ = ["compiled_exp", "compiled_exp2", "compiled_log", "exp", "exp2", "log"]

_STEPS: Final = 64
"""Entries of the table of powers of two, from 1 up to 2."""
_CELLS: Final = 64
"""Cells of the table of logarithms in a range as wide as from 1 to 2; it holds those around 1."""
_ROOT_HALF: Final = 0.70703125
"""Numbers are halved or doubled to lie between this and its double."""
_FIRST_CELL: Final = int(_ROOT_HALF * _CELLS + 0.5)
_GRID: Final = 2.0**36
"""The first parts of split numbers are multiples of its inverse, so that small multiples of them add up exactly."""
_HALF_BITS: Final = 2.0**26
_INFINITY: Final = math.inf


def _split(value: Decimal, grid: float | None = None) -> tuple[float, float]:
    """Return a float close to a number, a multiple of ``1 / grid`` if asked for, and what it lacks."""
    high = float(value) if grid is None else round(value * Decimal(grid)) / grid
    return high, float(value - Decimal(high))


def _powers() -> Float64:
    """Return rows of the two parts of ``2 ** (step / 64)``."""
    log_2 = Decimal(2).ln()
    return np.array([_split((log_2 * step / _STEPS).exp()) for step in range(_STEPS)])


def _logarithms() -> Float64:
    """Return rows of a short number close to the inverse of a cell's middle, and of the two parts of minus its log."""
    rows = []
    for cell in range(_FIRST_CELL, int(2 * _ROOT_HALF * _CELLS + 0.5) + 1):
        inverse = round(256 * _CELLS / cell) / 256
        rows.append((inverse, *_split(-Decimal(inverse).ln(), _GRID)))
    return np.array(rows)


with localcontext() as _context:
    _context.prec = 36
    _POWERS: Final = _powers()
    _LOGS: Final = _logarithms()
    _LOG_2: Final = float(Decimal(2).ln())
    _LOG_2_HIGH, _LOG_2_LOW = _split(Decimal(2).ln(), _GRID)
    _STEP_HIGH, _STEP_LOW = _split(Decimal(2).ln() / _STEPS, _GRID)
_STEPS_PER_UNIT: Final = _STEPS / _LOG_2
_LEAST, _MOST = -746.0, 710.0
"""Exponents from where on ``exp`` is 0 and infinity to the last bit."""
_LEAST_2, _MOST_2 = -1076.0, 1024.0
"""The same of ``exp2``."""


def _raised(steps: Any, rest: Any) -> Any:
    """Return ``2 ** (steps / 64) * e ** rest`` for small rests; numbers, or arrays of them."""
    tail = 1.0 / 6 + rest * (1.0 / 24 + rest * (1.0 / 120 + rest * (1.0 / 720)))
    grown = rest + rest * rest * (0.5 + rest * tail)
    step, doublings = steps & (_STEPS - 1), steps >> 6
    power = _POWERS[step, 0] + (_POWERS[step, 1] + _POWERS[step, 0] * grown)
    half = doublings >> 1  # twice, as one float cannot hold the largest powers of two, nor the smallest
    first = np.int64((half + 1023) << 52).view(np.float64)
    second = np.int64((doublings - half + 1023) << 52).view(np.float64)
    return power * first * second


def exp(x: Any) -> Any:
    """Return e to the power of a float or of each of an array; 0 and infinity where floats end."""
    x = np.clip(x, _LEAST, _MOST)
    steps = np.floor(x * _STEPS_PER_UNIT + 0.5)
    return _raised(np.int64(steps), (x - steps * _STEP_HIGH) - steps * _STEP_LOW)


def exp2(x: Any) -> Any:
    """Return 2 to the power of a float or of each of an array; 0 and infinity where floats end."""
    x = np.clip(x, _LEAST_2, _MOST_2)
    steps = np.floor(x * _STEPS + 0.5)
    return _raised(np.int64(steps), (x - steps * (1.0 / _STEPS)) * _LOG_2)


_compiled_raised: Final = fused(_raised)


@fused
def compiled_exp(x: Any) -> Any:
    """Return e to the power of a float; 0 and infinity where floats end."""
    x = _LEAST if x < _LEAST else _MOST if x > _MOST else x
    steps = math.floor(x * _STEPS_PER_UNIT + 0.5)
    return _compiled_raised(np.int64(steps), (x - steps * _STEP_HIGH) - steps * _STEP_LOW)


@fused
def compiled_exp2(x: Any) -> Any:
    """Return 2 to the power of a float; 0 and infinity where floats end."""
    x = _LEAST_2 if x < _LEAST_2 else _MOST_2 if x > _MOST_2 else x
    steps = math.floor(x * _STEPS + 0.5)
    return _compiled_raised(np.int64(steps), (x - steps * (1.0 / _STEPS)) * _LOG_2)


def log(x: Any) -> Any:
    """Return the natural logarithm of a float; minus infinity for 0, NaN for what is less."""
    if not 0.0 < x < _INFINITY:
        return x if math.isnan(x) or x > 0.0 else -_INFINITY if x == 0.0 else _INFINITY - _INFINITY
    part, doublings = math.frexp(x)
    if part < _ROOT_HALF:
        part *= 2.0
        doublings -= 1
    cell = np.int64(part * _CELLS + 0.5) - _FIRST_CELL
    inverse = _LOGS[cell, 0]
    front = math.floor(part * _HALF_BITS) / _HALF_BITS  # so that both products are exact
    nearly, lost = front * inverse - 1.0, (part - front) * inverse
    rest = nearly + lost
    lost += nearly - rest
    tail = 1.0 / 6 - rest * (1.0 / 7 - rest * (1.0 / 8 - rest * (1.0 / 9)))
    tail = 1.0 / 3 - rest * (1.0 / 4 - rest * (1.0 / 5 - rest * tail))
    bent = rest * rest * (0.5 - rest * tail)
    known = doublings * _LOG_2_HIGH + _LOGS[cell, 1]
    total = known + rest
    return total + (((known - total) + rest) + ((doublings * _LOG_2_LOW + _LOGS[cell, 2] + lost) - bent))


compiled_log: Final = fused(log)
