"""Charts of what was measured: agents side by side, and how learning went. They are told numbers, and know no agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from lnsim_gym.arrays import Float64

__all__ = ["CHART_SUFFIXES", "draw_comparison", "draw_curve", "draw_series"]

CHART_SUFFIXES: Final = (".png", ".svg")
"""Endings of files that charts are written to."""
AXIS: Final = "payments that settle (%)"
"""What charts show of agents of everybody's liquidity."""
NET_AXIS: Final = "net profit (sat a day)"
"""What they show of operators of one node."""


def draw_comparison(
    path: Path,
    rates: Mapping[str, Sequence[float]],
    interval: Mapping[str, tuple[float, float]],
    is_share: bool = True,
) -> None:
    """Draw how the episodes of each agent went, as a violin, with the mean and its interval.

    Args:
        path: File to write, of a kind in ``CHART_SUFFIXES``.
        rates: Share of payments that settled in each episode, by agent.
        interval: Ends of the interval of the mean.
        is_share: Whether it is that share, or an operator's net profit in sat a day.
    """
    unit = 100 if is_share else 1
    figure, axes = _figure(width_in=1.5 + 1.1 * len(rates))
    places = np.arange(1, 1 + len(rates))
    values = [unit * np.asarray(own, np.float64) for own in rates.values()]
    spread = [place for place, own in zip(places, values, strict=True) if np.ptp(own) > 0]
    if spread:
        axes.violinplot([values[place - 1] for place in spread], spread, widths=0.8, showextrema=False)
    means = np.array([own.mean() for own in values])
    low, high = unit * np.array([interval[name] for name in rates]).T
    axes.errorbar(places, means, yerr=np.maximum([means - low, high - means], 0), fmt="o", color="black", capsize=4)
    for place, mean in zip(places, means, strict=True):
        axes.annotate(f"{mean:.1f}", (place, mean), xytext=(8, 0), textcoords="offset points", va="center")
    axes.set_xticks(places, list(rates), rotation=20 if len(rates) > 3 else 0)
    axes.set_xlim(0.4, len(rates) + 0.8)
    axes.set_ylabel(AXIS if is_share else NET_AXIS)
    _save(figure, path)


def draw_curve(path: Path, title: str, steps: Sequence[int], rates: Float64, low: Float64, high: Float64) -> None:
    """Draw a learning curve with its interval.

    Args:
        path: File to write, of a kind in ``CHART_SUFFIXES``.
        title: What learnt.
        steps: Steps trained by each evaluation.
        rates: Share of payments that settled then, shape (seeds, evaluations).
        low: Lower end of the interval of their mean, shape (evaluations,).
        high: Upper end.
    """
    figure, axes = _figure(width_in=7)
    for own in rates if len(rates) > 1 else ():
        axes.plot(steps, 100 * own, color="0.8", linewidth=0.8)
    axes.fill_between(steps, 100 * low, 100 * high, alpha=0.25, linewidth=0)
    axes.plot(steps, 100 * rates.mean(axis=0), marker=".")
    seeds = f"mean of {len(rates)} seeds with its 95 % interval" if len(rates) > 1 else "95 % interval over episodes"
    axes.set(title=f"{title}, {seeds}", xlabel="training steps", ylabel=AXIS)
    _save(figure, path)


def draw_series(
    path: Path, title: str, elapsed_s: Sequence[float], series: Mapping[str, Sequence[float]], notes: Mapping[str, str]
) -> None:
    """Draw figures over the time of a run, one below the other.

    Args:
        path: File to write, of a kind in ``CHART_SUFFIXES``.
        title: What ran.
        elapsed_s: When each sample was taken, in seconds.
        series: Figures by name, each of shape (samples,).
        notes: What to say of each of them.
    """
    figure = Figure(figsize=(9, 1.1 + 1.5 * len(series)), layout="constrained")
    all_axes = figure.subplots(len(series), sharex=True, squeeze=False)[:, 0]
    figure.suptitle(title)
    for axes, (name, values) in zip(all_axes, series.items(), strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.plot(np.asarray(elapsed_s) / 60, values, linewidth=0.8)
        axes.set_title(f"{name}: {notes[name]}", fontsize="small", loc="left")
        axes.set_ylim(bottom=min(0, *values))
    all_axes[-1].set_xlabel("minutes")
    _save(figure, path)


def _figure(width_in: float) -> tuple[Figure, Any]:
    """Return a figure with one pair of axes."""
    figure = Figure(figsize=(width_in, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    """Write a figure, always the same file for the same numbers."""
    stamp = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(path, dpi=150, metadata=stamp)
