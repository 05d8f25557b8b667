"""A scene as a picture, drawn by Matplotlib without a display and without its global state."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lnsim_gym.network import Topology
from lnsim_gym.rendering.network_view import NetworkView
from lnsim_gym.rendering.panel import Caption, Panel, SuccessChart
from lnsim_gym.rendering.scene import Scene
from lnsim_gym.rendering.style import DPI, PAPER, own_style

__all__ = ["Picture"]

_WIDTH: Final = 960
_HEIGHT: Final = 640
_TILE: Final = 400
"""Sizes in pixels, even numbers as video codecs want them."""


class _View(Protocol):
    """A part of a picture."""

    def artists(self) -> list[Artist]:
        """Return what is redrawn for every scene, in drawing order."""

    def update(self, scene: Scene) -> bool:
        """Show a scene; return whether what stands still must be redrawn too."""


class Picture:
    """Draws scenes of one topology; what never changes is drawn once.

    Args:
        topology: What to draw.
        tile: A small square picture, one of many, with a caption instead of texts and chart.
    """

    def __init__(self, topology: Topology, tile: bool = False) -> None:
        self._topology = topology
        self._width, self._height = (_TILE, _TILE) if tile else (_WIDTH, _HEIGHT)
        with own_style():
            self._make(topology, tile)

    def _make(self, topology: Topology, tile: bool) -> None:
        """Make all that is drawn."""
        size = (self._width / DPI, self._height / DPI)
        self._figure = Figure(figsize=size, dpi=DPI, facecolor=PAPER)
        self._canvas: Any = FigureCanvasAgg(self._figure)
        self._still: Any = None
        side = self._height
        self._over: tuple[Any, ...] | None = None
        network = self._network = NetworkView(self._axes(0, 0, side, side), topology, side)
        self._views: list[_View] = [network]
        if tile:
            self._views.append(Caption(self._axes(0, 0, side, side, ruled=True)))
        else:
            self._views.append(Panel(self._axes(side, 0, self._width - side, side, ruled=True)))
            self._views.append(SuccessChart(self._axes(side + 40, 200, 260, 155)))

    def shows(self, topology: Topology) -> bool:
        """Return whether a topology has the same nodes and channels, whatever its policies."""
        return topology is self._topology or topology.has_channels_of(self._topology)

    def draw(self, scene: Scene) -> npt.NDArray[np.uint8]:
        """Return a picture of a scene, uint8 of shape (height, width, 3)."""
        with own_style():
            return self._drawn(scene)

    def _drawn(self, scene: Scene) -> npt.NDArray[np.uint8]:
        """Return a picture of a scene; what stands still is drawn where it changed."""
        changed = [view.update(scene) for view in self._views]
        if self._over is None:
            self._over = self._layer(self._network.names())
        if self._still is None or any(changed):
            self._canvas.draw()
            self._still = self._canvas.copy_from_bbox(self._figure.bbox)
        self._canvas.restore_region(self._still)
        for view in self._views:
            for artist in view.artists():
                self._figure.draw_artist(artist)
        picture = np.asarray(self._canvas.buffer_rgba())[:, :, :3].copy()
        where, added, kept = self._over
        picture[where] = added + kept * picture[where] + 0.5  # cut to whole numbers, that is rounded
        return picture

    def _layer(self, artists: list[Artist]) -> tuple[Any, ...]:
        """Draw by themselves what lies over every picture: texts cost most of one, and these are always the same.

        Returns:
            The pixels where there is anything, what it adds to each, and the share of what is below that each keeps.
        """
        self._canvas.get_renderer().clear()
        for artist in artists:
            self._figure.draw_artist(artist)
        drawn = np.asarray(self._canvas.buffer_rgba())
        where = np.nonzero(drawn[:, :, 3])
        opacity = drawn[where][:, 3:] / 255
        return where, drawn[where][:, :3] * opacity, 1 - opacity

    def _axes(self, left: int, top: int, width: int, height: int, ruled: bool = False) -> Axes:
        """Make axes from pixels; ``ruled`` lets their coordinates be pixels from the top left too."""
        bottom = self._height - top - height
        place = (left / self._width, bottom / self._height, width / self._width, height / self._height)
        axes = self._figure.add_axes(place)
        if ruled:
            axes.set(xlim=(0, width), ylim=(height, 0))
            axes.axis("off")
        return axes
