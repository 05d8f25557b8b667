"""The last rebalance in a picture: an arrow over each hop, and the amount where there is room for it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from matplotlib.patheffects import withStroke

from lnsim_gym.network import Topology
from lnsim_gym.rendering.layout import Layout, outward
from lnsim_gym.rendering.scene import Rebalance
from lnsim_gym.rendering.style import APPLIED, PAPER, REFUSED, short_amount

__all__ = ["RebalanceArrows"]

_MOST_HOPS: Final = 8
"""Most hops of a rebalance."""
_ASIDE: Final = 20
"""Pixels between a wide bar and the arrow beside it."""
_REFUSED_LINE: Final = (0, (2, 1.2))


class RebalanceArrows:
    """Shows rebalances: green when applied, red, dashed and crossed when refused.

    Args:
        axes: Where to draw.
        topology: Whose channels they are over.
        layout: Where the nodes are.
    """

    def __init__(self, axes: Axes, topology: Topology, layout: Layout) -> None:
        self._arrays = topology.arrays
        self._layout = layout
        self._arrows = [self._make_arrow(axes) for _ in range(_MOST_HOPS)]
        self._amount = axes.text(0, 0, "", fontsize=10 * layout.zoom, fontweight="bold", color=PAPER, animated=True)
        self._amount.set(ha="center", va="center", bbox={"boxstyle": "round,pad=0.25", "linewidth": 0})

    def artists(self) -> list[Artist]:
        """Return what is drawn, in drawing order."""
        return [*self._arrows, self._amount]

    def update(self, rebalance: Rebalance | None) -> None:
        """Show a rebalance, or none."""
        route = list(rebalance.route) if rebalance else []
        for place, arrow in enumerate(self._arrows):
            arrow.set_visible(place < len(route))
        self._amount.set_visible(rebalance is not None and self._layout.roomy)
        if rebalance is None:
            return
        start, stop = self._layout.between(self._arrays.source[route], self._arrays.destination[route], gap=2)
        if self._layout.roomy:
            aside = outward(start, stop) * _ASIDE * self._layout.zoom * self._layout.pixel
            inward = 0.2 * (stop - start)
            start = start + inward + aside
            stop = stop - inward + aside
        color = REFUSED if rebalance.refused else APPLIED
        for arrow, tail, head in zip(self._arrows, start.tolist(), stop.tolist(), strict=False):
            arrow.set_positions(tuple(tail), tuple(head))
            arrow.set(color=color, linestyle=_REFUSED_LINE if rebalance.refused else "solid")
        self._amount.set_position(tuple(np.mean([start[0], stop[0]], axis=0).tolist()))
        self._amount.set_text(("✕ " if rebalance.refused else "") + short_amount(rebalance.amount_sat))
        box: Any = self._amount.get_bbox_patch()
        box.set_facecolor(color)

    def _make_arrow(self, axes: Axes) -> FancyArrowPatch:
        """Make an arrow."""
        zoom = self._layout.zoom
        arrow = FancyArrowPatch(
            (0, 0), (1, 1), arrowstyle="-|>", mutation_scale=18 * zoom, linewidth=2.6 * zoom, shrinkA=0, shrinkB=0
        )
        arrow.set(animated=True, path_effects=[withStroke(linewidth=5 * zoom, foreground=PAPER)])
        axes.add_patch(arrow)
        return arrow
