"""A node's books as a picture: what each day earned and cost, how the net grew, and what each channel brought."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lnsim_gym.rendering.style import APPLIED, DRY_END, FAINT, FULLER, INK, PAPER, REFUSED, own_style, short_name

__all__ = ["draw_books"]

_MOST: Final = 30
"""Channels that are shown, those that brought or cost most."""


def draw_books(daily_sat: npt.NDArray[np.float64], names: Sequence[str], net_sat: Sequence[float]) -> str:
    """Return the picture as SVG.

    Args:
        daily_sat: By day, the last one last: fees earned, fees of refills, fees of transactions; shape (days, 3).
        names: Of the peers of all channels.
        net_sat: What each channel brought, less its costs.
    """
    with own_style(), mpl.rc_context({"svg.fonttype": "none"}):  # the reader's fonts have more characters
        figure = Figure(figsize=(11, 6), facecolor=PAPER, layout="constrained")
        canvas: Any = FigureCanvasSVG(figure)
        axes = figure.subplot_mosaic([["money", "channels"], ["net", "channels"]])
        _draw_money(axes["money"], daily_sat)
        _draw_net(axes["net"], daily_sat)
        _draw_channels(axes["channels"], names, np.array(net_sat, np.float64))
        for each in axes.values():
            each.spines[["top", "right"]].set_visible(False)
            each.tick_params(labelsize=8, colors=INK)
        file = io.StringIO()
        canvas.print_svg(file, metadata={"Date": None})
        text = file.getvalue()
    return text[text.index("<svg") :]


def _draw_money(axes: Axes, daily_sat: npt.NDArray[np.float64]) -> None:
    """Draw what each day earned and cost."""
    days = np.arange(1 - len(daily_sat), 1)
    axes.bar(days, daily_sat[:, 0], color=FULLER, width=0.9)
    axes.bar(days, -daily_sat[:, 1], color=DRY_END, width=0.9)
    axes.bar(days, -daily_sat[:, 2], bottom=-daily_sat[:, 1], color=REFUSED, width=0.9)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_title("blue: fees earned; orange: refills; red: transactions; each day (sat)", fontsize=9, loc="left")


def _draw_net(axes: Axes, daily_sat: npt.NDArray[np.float64]) -> None:
    """Draw how the net grew."""
    days = np.arange(1 - len(daily_sat), 1)
    axes.plot(days, np.cumsum(daily_sat[:, 0] - daily_sat[:, 1:].sum(axis=1)), color=INK, linewidth=2)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_title("net so far (sat)", fontsize=9, loc="left")
    axes.set_xlabel("days before the import", fontsize=9)


def _draw_channels(axes: Axes, names: Sequence[str], net_sat: npt.NDArray[np.float64]) -> None:
    """Draw what each channel brought, those with the most money at stake."""
    shown = np.sort(np.argsort(-np.abs(net_sat), kind="stable")[:_MOST])
    shown = shown[np.argsort(net_sat[shown], kind="stable")]
    colors = np.where(net_sat[shown] < 0, REFUSED, APPLIED).tolist()
    axes.barh(np.arange(len(shown)), net_sat[shown], color=colors, height=0.8)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(np.arange(len(shown)), [short_name(names[one]) for one in shown], fontsize=8, parse_math=False)
    rest = f", the {_MOST} with most" if len(names) > _MOST else ""
    axes.set_title(f"net of each channel (sat){rest}", fontsize=9, loc="left")
