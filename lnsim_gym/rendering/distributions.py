"""What a network holds as a picture: how degrees, capacities and fees are distributed over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.rendering.style import FAINT, INK, PAPER, own_style

__all__ = ["plot_network"]


def plot_network(topology: Topology, path: Path, title: str = "") -> None:
    """Draw the distributions of a network: for each value, the share of nodes, channels or directions at or above it.

    Args:
        topology: The network.
        path: Picture to write; its ending says of which kind.
        title: What to write above; shown as it is.

    Raises:
        ConfigError: The picture cannot be written there, or is of an unknown kind.
    """
    with own_style():
        _plot(topology, path, title)


def _plot(topology: Topology, path: Path, title: str) -> None:
    """Draw the distributions of a network."""
    arrays = topology.arrays
    degree = np.bincount(arrays.source, minlength=len(topology.nodes))
    figure = Figure(figsize=(10, 7), dpi=110, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    heading = f"{title}\n" if title else ""
    numbers = f"{len(topology.nodes):,} nodes, {len(topology.channels):,} channels"
    figure.suptitle(f"{heading}{numbers}, {arrays.capacity_sat.sum() / 1e8:,.2f} BTC", color=INK, parse_math=False)
    axes = figure.subplots(2, 2).ravel()
    _draw(axes[0], degree, "channels of a node")
    _draw(axes[1], arrays.capacity_sat, "capacity of a channel (sat)")
    _draw(axes[2], arrays.fee_rate_ppm, "fee rate (ppm)")
    _draw(axes[3], arrays.fee_base_msat, "base fee (msat)")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as problem:
        raise ConfigError(f"cannot write the picture {path}: {problem}") from None


def _draw(axes: Axes, values: Int64, what: str) -> None:
    """Draw the share of values at or above each one, on logarithmic axes; zeros stand at the left edge."""
    values = np.sort(values)
    share = 1 - np.arange(len(values)) / max(len(values), 1)
    axes.step(np.maximum(values, 0.5), share, where="post", color=INK)
    axes.set(xscale="log", yscale="log", xlabel=what, ylabel="share at or above")
    axes.grid(visible=True, which="major", color=FAINT, alpha=0.3)
