"""How well forecasts are calibrated, as a picture: how often what came true lay below each quantile that was told."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lnsim_gym.rendering.style import APPLIED, FAINT, FULLER, INK, PAPER, own_style

__all__ = ["draw_calibration"]

_COLORS: Final = (FULLER, APPLIED)


def draw_calibration(levels: Sequence[float], below: Mapping[str, Sequence[float]]) -> str:
    """Return the picture as SVG.

    Args:
        levels: Quantiles that were told.
        below: By name of a kind of forecast, the share of outcomes below each of them.
    """
    with own_style(), mpl.rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=(5, 5), facecolor=PAPER, layout="constrained")
        canvas: Any = FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, label="well calibrated")
        for color, (name, shares) in zip(_COLORS, below.items(), strict=False):
            axes.plot(levels, shares, color=color, marker="o", label=name)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="quantile that was told", ylabel="outcomes below it")
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=INK)
        file = io.StringIO()
        canvas.print_svg(file, metadata={"Date": None})
        text = file.getvalue()
    return text[text.index("<svg") :]
