"""The network in a picture: nodes, and channels as bars that are divided as their balance is.

The colours say which end holds more. An end that holds next to nothing stands out, at every size: it is marked over a
stretch of the bar that its balance would be too short for. In large networks all else fades behind these marks.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from lnsim_gym.network import Topology
from lnsim_gym.rendering.arrows import RebalanceArrows
from lnsim_gym.rendering.layout import Layout
from lnsim_gym.rendering.scene import DRY, Rebalance, Scene
from lnsim_gym.rendering.style import (
    APPLIED,
    DPI,
    DRY_END,
    EMPTIER,
    FULLER,
    INK,
    PAPER,
    REFUSED,
    line_width,
    short_amount,
    short_name,
)

__all__ = ["NetworkView"]

MOST_NAMED: Final = 16
"""Most nodes that show their name where it fits neither beside nor into the nodes, the best connected first."""
_NAME_WIDTH: Final = 80
_NAME_HEIGHT: Final = 18
"""Pixels that a name needs for itself."""
_AMOUNT_AT: Final = 0.19
"""Where on its channel a balance is written, from the end that holds it."""
_MARKED: Final = 0.3
"""Share of its channel over which a dry end is marked."""
_MANY: Final = 30
"""Channels beyond which bars become thinner and fade."""
_FAINTEST: Final = 0.1
"""Opacity of bars in the largest networks."""
_MARK_WIDTH: Final = 1.8
"""Least width of a dry end, in points: it is seen among thousands of bars."""


class NetworkView:
    """Shows scenes of one topology.

    Args:
        axes: Where to draw; square.
        topology: What to draw.
        pixels: Width and height of the axes.
    """

    def __init__(self, axes: Axes, topology: Topology, pixels: int) -> None:
        self._axes = axes
        self._topology = topology
        self._layout = layout = Layout(topology, pixels)
        arrays = topology.arrays
        self._start, self._stop = layout.between(arrays.source[::2], arrays.destination[::2], gap=1.5)
        self._order = np.argsort(-arrays.capacity_sat, kind="stable")  # thin bars over wide ones
        axes.set(xlim=(-layout.reach, layout.reach), ylim=(-layout.reach, layout.reach))
        axes.axis("off")
        self._scale = min(1.0, float(np.sqrt(_MANY / len(topology.channels)))) if topology.channels else 1.0
        self._bars = self._make_bars()
        self._marks = LineCollection([], capstyle="butt", animated=True, colors=DRY_END)
        axes.add_collection(self._marks)
        self._nodes = self._make_nodes()
        self._names = [self._make_name(node) for node in self._named()]
        self._amounts = self._make_amounts() if layout.roomy else []
        self._arrows = RebalanceArrows(axes, topology, layout)

    def artists(self) -> list[Artist]:
        """Return what is drawn, in drawing order."""
        return [self._bars, self._marks, *self._amounts, self._nodes, *self._arrows.artists()]

    def names(self) -> list[Artist]:
        """Return the names of nodes, which lie over all else and never change."""
        return [*self._names]

    def update(self, scene: Scene) -> bool:
        """Show a scene; nothing here stands still."""
        self._divide(scene.shares)
        self._mark_dry_ends(scene.shares)
        ends = np.stack([scene.shares, 1 - scene.shares], axis=1).ravel().tolist()
        for text, sat, share in zip(self._amounts, scene.balances_sat.ravel().tolist(), ends, strict=False):
            text.set_text(short_amount(sat))
            box: Any = text.get_bbox_patch()
            box.set_edgecolor(DRY_END if share < DRY else INK)
        self._arrows.update(scene.rebalance)
        self._ring(scene.rebalance)
        return False

    def _divide(self, shares: npt.NDArray[np.float64]) -> None:
        """Show what each end of each channel holds."""
        split = self._start + shares[:, None] * (self._stop - self._start)
        held = np.stack([self._start, split, split, self._stop], axis=1)[self._order]
        self._bars.set_segments(list(held.reshape(-1, 2, 2)))
        fuller = np.stack([shares >= 0.5, shares < 0.5], axis=1)[self._order].ravel()
        self._bars.set_color(np.where(fuller, FULLER, EMPTIER).tolist())

    def _mark_dry_ends(self, shares: npt.NDArray[np.float64]) -> None:
        """Let dry ends stand out, over all bars."""
        along = _MARKED * (self._stop - self._start)
        first = np.stack([self._start, self._start + along], axis=1)
        last = np.stack([self._stop - along, self._stop], axis=1)
        ends = np.stack([first, last], axis=1)[self._order].reshape(-1, 2, 2)
        dry = np.stack([shares < DRY, shares > 1 - DRY], axis=1)[self._order].ravel()
        self._marks.set(
            segments=list(ends[dry]), linewidths=np.maximum(self._widths[dry], self._layout.zoom * _MARK_WIDTH)
        )

    def _ring(self, rebalance: Rebalance | None) -> None:
        """Ring the nodes of a rebalance, which are hard to find in a large network."""
        nodes = len(self._topology.nodes)
        edges = [INK if self._layout.names_inside else PAPER] * nodes
        widths = [self._edge_width()] * nodes
        for name in rebalance.nodes if rebalance else ():
            node = self._topology.node_index[name]
            edges[node] = REFUSED if rebalance and rebalance.refused else APPLIED
            widths[node] = 3.0
        self._nodes.set(edgecolors=edges, linewidths=widths)

    def _named(self) -> list[int]:
        """Return the nodes whose names are shown."""
        nodes = len(self._topology.nodes)
        if self._layout.beside or self._layout.names_inside:
            return list(range(nodes))
        degree = np.bincount(self._topology.arrays.source, minlength=nodes)
        place = self._layout.position / self._layout.pixel
        named: list[int] = []
        for node in np.argsort(-degree, kind="stable").tolist():
            apart = np.abs(place[named] - place[node])
            if len(named) < MOST_NAMED and not ((apart[:, 0] < _NAME_WIDTH) & (apart[:, 1] < _NAME_HEIGHT)).any():
                named.append(node)
        return named

    def _make_bars(self) -> LineCollection:
        """Make the bars, two for each channel: its initiator's and its peer's."""
        thinnest, widest = max(3.0 * self._scale, 0.4), max(13.0 * self._scale, 4.0)
        zoom = self._layout.zoom
        width = line_width(self._topology.arrays.capacity_sat, zoom * thinnest, zoom * widest)[self._order]
        self._widths = np.repeat(width, 2)
        bars = LineCollection([], linewidths=self._widths, capstyle="butt", animated=True)
        bars.set_alpha(max(self._scale, _FAINTEST))
        self._axes.add_collection(bars)
        return bars

    def _make_nodes(self) -> PathCollection:
        """Make the nodes: discs, or rings around their names."""
        points = 2 * self._layout.node_radius * 72 / DPI
        inside = self._layout.names_inside
        x, y = self._layout.position.T
        color, edge = (PAPER, INK) if inside else (INK, PAPER)
        return self._axes.scatter(
            x, y, s=points**2, color=color, edgecolors=edge, linewidths=self._edge_width(), animated=True
        )

    def _edge_width(self) -> float:
        """Return the width of the edge of a node in points."""
        return min(1.0, self._layout.node_radius / 4)

    def _make_name(self, node: int) -> Text:
        """Make the name of a node: outside the circle, into the node, or over it."""
        layout = self._layout
        name = short_name(self._topology.nodes[node])
        x, y = layout.position[node]
        if layout.names_inside:
            return self._text(x, y, name, fontsize=6.5)
        if not layout.beside:
            stroke = [withStroke(linewidth=2.5, foreground=PAPER)]
            return self._text(x, y, name, fontsize=layout.zoom * 9, path_effects=stroke)
        away = 1 + (layout.node_radius + 8) * layout.pixel
        side = "center" if abs(x) < 0.3 else "left" if x > 0 else "right"
        level = "center" if abs(y) < 0.3 else "bottom" if y > 0 else "top"
        return self._text(
            away * x,
            away * y,
            name,
            ha=side,
            va=level,
            fontsize=layout.zoom * max(12 * layout.scale, 7),
            fontweight="bold",
        )

    def _make_amounts(self) -> list[Text]:
        """Make the balances, each on its own end of a channel."""
        inward = _AMOUNT_AT * (self._stop - self._start)
        places = np.stack([self._start + inward, self._stop - inward], axis=1).reshape(-1, 2).tolist()
        texts = [self._text(x, y, fontsize=self._layout.zoom * 9) for x, y in places]
        for text in texts:
            text.set_bbox({"boxstyle": "round,pad=0.2", "facecolor": PAPER, "edgecolor": INK, "linewidth": 1.2})
        return texts

    def _text(self, x: float, y: float, what: str = "", **style: Any) -> Text:
        """Make a text that is drawn when told to."""
        return self._axes.text(
            x, y, what, **{"ha": "center", "va": "center", "color": INK, "animated": True, "parse_math": False, **style}
        )
