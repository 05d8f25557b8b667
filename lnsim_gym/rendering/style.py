"""Colours and sizes of pictures. The colours are told apart with any kind of colour blindness (Okabe and Ito, 2008)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "APPLIED",
    "DPI",
    "DRY_END",
    "EMPTIER",
    "FAINT",
    "FULLER",
    "INK",
    "PAPER",
    "REFUSED",
    "line_width",
    "own_style",
    "short_amount",
    "short_name",
]

FULLER: Final = "#0072B2"
"""What the end of a channel holds that holds more."""
EMPTIER: Final = "#A6D0EA"
"""What the end holds that holds less."""
DRY_END: Final = "#D55E00"
"""Ends of channels that hold next to nothing: payments from there fail."""
APPLIED: Final = "#00795A"
"""A rebalance that was applied."""
REFUSED: Final = "#C8102E"
"""A rebalance that was refused."""
INK: Final = "#222222"
FAINT: Final = "#8A8A8A"
PAPER: Final = "#FFFFFF"

DPI: Final = 100
"""Pixels per inch: sizes below and in the views are in points, 1/72 inch."""


@contextmanager
def own_style() -> Iterator[None]:
    """Keep what the user set of Matplotlib, and its style sheets, out of what is made or drawn meanwhile."""
    import matplotlib.style  # noqa: PLC0415 - texts need the rest of this module, and no Matplotlib

    with matplotlib.style.context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names hold characters that few fonts have
        yield


def line_width(capacity_sat: npt.NDArray[np.int64], thinnest: float, widest: float) -> npt.NDArray[np.float64]:
    """Return the width of each channel's bar in points: it grows with the square root of the capacity."""
    width: npt.NDArray[np.float64] = thinnest + (widest - thinnest) * np.sqrt(capacity_sat / capacity_sat.max())
    return width


def short_name(name: str) -> str:
    """Return a node's name in at most twelve characters."""
    return name if len(name) <= 12 else f"{name[:11]}…"


def short_amount(sat: int) -> str:
    """Return an amount in at most five characters: ``621k``, ``1.25M``."""
    if sat < 1_000:
        return str(sat)
    if sat < 999_500:
        return f"{sat / 1_000:.0f}k"
    return f"{sat / 1_000_000:.3g}M"
