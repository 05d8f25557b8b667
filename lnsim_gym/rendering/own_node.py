"""A node as its operator thinks of it: channels as bars sorted by what it holds of them, income and costs over time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lnsim_gym.network import Topology
from lnsim_gym.rendering.scene import DRY, Scene
from lnsim_gym.rendering.style import (
    APPLIED,
    DPI,
    DRY_END,
    EMPTIER,
    FAINT,
    FULLER,
    INK,
    PAPER,
    REFUSED,
    own_style,
    short_amount,
    short_name,
)

__all__ = ["OwnNodePicture"]

_WIDTH: Final = 960
_HEIGHT: Final = 640
_TILE: Final = 400
"""Sizes in pixels, as those of pictures of networks."""
_ROOMY: Final = 24
"""Most channels whose amounts and fees are written beside their bars."""


class OwnNodePicture:
    """Draws scenes of one own node.

    Args:
        topology: The network.
        tile: A small square picture, one of many, without the charts.
    """

    def __init__(self, topology: Topology, tile: bool = False) -> None:
        self._topology = topology
        self._tile = tile
        width, height = (_TILE, _TILE) if tile else (_WIDTH, _HEIGHT)
        with own_style():
            self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
            self._canvas: Any = FigureCanvasAgg(self._figure)

    def shows(self, topology: Topology) -> bool:
        """Return whether a topology has the same nodes and channels, whatever its policies."""
        return topology is self._topology or topology.has_channels_of(self._topology)

    def draw(self, scene: Scene) -> npt.NDArray[np.uint8]:
        """Return a picture of a scene, uint8 of shape (height, width, 3)."""
        with own_style():
            self._figure.clear()
            self._head(scene)
            self._draw_channels(self._figure.add_axes((0.14, 0.04, 0.8 if self._tile else 0.4, 0.84)), scene)
            if not self._tile:
                self._draw_money(self._figure.add_axes((0.72, 0.56, 0.25, 0.28)), scene)
                self._draw_profit(self._figure.add_axes((0.72, 0.12, 0.25, 0.28)), scene)
            self._canvas.draw()
            return np.asarray(self._canvas.buffer_rgba())[:, :, :3].copy()

    def _head(self, scene: Scene) -> None:
        """Write where the episode stands, and what it brought."""
        name = short_name(scene.topology.nodes[scene.own or 0])
        place = f"{name}, step {scene.step}"
        self._write(0.03, 0.955, place, fontsize=10 if self._tile else 15, fontweight="bold")
        profit_sat = float(scene.profit_sat.sum())
        color = REFUSED if profit_sat < 0 else APPLIED
        gained = f"{profit_sat:+,.0f} sat"
        self._write(0.97, 0.955, gained, ha="right", fontsize=10 if self._tile else 18, fontweight="bold", color=color)
        if not self._tile:
            self._write(0.03, 0.915, f"seed {scene.seed}, episode {scene.episode}", fontsize=9, color=FAINT)
            self._write(0.97, 0.915, "profit so far", ha="right", fontsize=9, color=FAINT)

    def _write(self, x: float, y: float, what: str, **style: Any) -> None:
        """Write a text at a share of the picture's width and height."""
        self._figure.text(x, y, what, **{"va": "center", "color": INK, "parse_math": False, **style})

    def _draw_channels(self, axes: Axes, scene: Scene) -> None:
        """Draw own channels as bars, the fullest on top."""
        out, local_sat, remote_sat = scene.own_channels()
        share = local_sat / np.maximum(local_sat + remote_sat, 1)
        order = np.argsort(share, kind="stable")
        out, share = out[order], share[order]
        rows = np.arange(len(order))
        own = np.where(share < DRY, DRY_END, FULLER).tolist()
        other = np.where(share > 1 - DRY, DRY_END, EMPTIER).tolist()
        axes.barh(rows, share, color=own, height=0.8)
        axes.barh(rows, 1 - share, left=share, color=other, height=0.8)
        axes.axvline(0.5, color=PAPER, linewidth=0.8)
        size = 8 if len(rows) <= _ROOMY else max(3.5, 190 / len(rows))
        arrays = scene.topology.arrays
        peers = [short_name(scene.topology.nodes[node]) for node in arrays.destination[out].tolist()]
        axes.set_yticks(rows, peers, fontsize=size, color=INK, parse_math=False)
        axes.set(xlim=(0, 1), ylim=(-0.6, len(rows) - 0.4), xticks=[])
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        if self._tile or len(rows) > _ROOMY:
            return
        for row, direction in zip(rows.tolist(), out.tolist(), strict=True):
            policy = scene.topology.policy(direction)
            inbound = f" {policy.inbound_fee_rate_ppm:+,}" if policy.inbound_fee_rate_ppm else ""
            kept = short_amount(int(local_sat[order[row]]))
            axes.text(0.01, row, kept, va="center", fontsize=7.5, color=PAPER if share[row] > 0.12 else INK)
            fees = f"{policy.fee_rate_ppm:,}{inbound} ppm"
            axes.text(1.02, row, fees, va="center", fontsize=7.5, color=INK)

    def _draw_money(self, axes: Axes, scene: Scene) -> None:
        """Draw what each step earned and cost."""
        steps = np.arange(1, len(scene.money) + 1)
        income = scene.money[:, 0] if len(steps) else np.zeros(0)
        cost = -scene.money[:, 1:].sum(axis=1) if len(steps) else np.zeros(0)
        axes.bar(steps, income, color=FULLER, width=0.9)
        axes.bar(steps, cost, color=REFUSED, width=0.9)
        axes.axhline(0, color=INK, linewidth=0.8)
        self._finish(axes, scene, "blue: income, red: costs, each step (sat)")

    def _draw_profit(self, axes: Axes, scene: Scene) -> None:
        """Draw how the profit grew."""
        profit_sat = np.concatenate([[0.0], np.cumsum(scene.profit_sat)])
        axes.plot(np.arange(len(profit_sat)), profit_sat, color=INK, linewidth=2.2)
        axes.axhline(0, color=FAINT, linewidth=0.8)
        self._finish(axes, scene, "profit so far (sat)")

    @staticmethod
    def _finish(axes: Axes, scene: Scene, title: str) -> None:
        """Give a chart over the episode its axes."""
        axes.set_xlim(0, max(scene.length or 0, len(scene.money), 10) + 0.5)
        axes.set_title(title, fontsize=9, color=FAINT, loc="left")
        axes.tick_params(labelsize=8, colors=INK, length=3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("step", fontsize=9, color=INK, labelpad=1)
