"""The right side of a picture: where the episode stands, the success rate as a chart, and the rebalance in words."""

from __future__ import annotations

import textwrap
from typing import Any, Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from lnsim_gym.rendering.scene import DRY, Rebalance, Scene
from lnsim_gym.rendering.style import APPLIED, DRY_END, EMPTIER, FAINT, FULLER, INK, REFUSED

__all__ = ["Caption", "Panel", "SuccessChart"]

_COLUMNS: Final = 40
"""Characters of a line of text."""


class Panel:
    """Texts beside the network.

    Args:
        axes: Where to draw; one unit is one pixel, y grows downward.
    """

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        self._place = self._text(36, fontsize=15, fontweight="bold")
        self._seed = self._text(60, fontsize=9, color=FAINT)
        self._still(96, "payments that succeed", fontsize=10, color=FAINT)
        self._rate = self._text(132, fontsize=26, fontweight="bold")
        self._last = self._text(160, fontsize=10)
        self._still(412, "rebalance", fontsize=10, color=FAINT)
        self._amount = self._text(434, fontsize=13, fontweight="bold")
        self._route = self._text(456, fontsize=10, va="top", linespacing=1.35)
        self._dry = self._text(536, fontsize=10)
        self._legend()

    def artists(self) -> list[Artist]:
        """Return what is redrawn for every scene."""
        return [self._place, self._seed, self._rate, self._last, self._amount, self._route, self._dry]

    def update(self, scene: Scene) -> bool:
        """Show a scene; what stands still never changes."""
        self._place.set_text(f"step {scene.step}")
        self._seed.set_text(f"seed {scene.seed}, episode {scene.episode}")
        if scene.succeeded:
            self._rate.set_text(f"{scene.rates_so_far[-1]:.1%}")
            self._last.set_text(f"{scene.succeeded[-1]} of {scene.sent[-1]} in the last step")
        else:
            self._rate.set_text("-")
            self._last.set_text("no payments yet")
        ends = scene.balances_sat.size
        self._dry.set_text(f"{scene.dry_ends:,} of {ends:,} channel ends below {DRY:.0%}")
        self._show(scene.rebalance)
        return False

    def _show(self, rebalance: Rebalance | None) -> None:
        """Show the rebalance in words."""
        if rebalance is None:
            self._amount.set(text="none", color=FAINT)
            self._route.set_text("")
            return
        color = REFUSED if rebalance.refused else APPLIED
        state = "refused" if rebalance.refused else "sent"
        self._amount.set(text=f"{rebalance.amount_sat:,} sat {state}", color=color)
        lines = textwrap.wrap(" → ".join(rebalance.nodes), _COLUMNS)
        if rebalance.refused:
            lines += textwrap.wrap(rebalance.why, _COLUMNS)
        elif rebalance.fee_msat:
            lines.append(f"fee {rebalance.fee_msat / 1000:,.3f} sat")
        self._route.set_text("\n".join(lines[:4]))

    def _legend(self) -> None:
        """Say once what the colours mean."""
        dry = f"dry end: below {DRY:.0%} of its channel"
        colors = {FULLER: "held by the end with more", EMPTIER: "held by the end with less", DRY_END: dry}
        for y, (color, what) in zip((562, 582, 602), colors.items(), strict=True):
            self._axes.add_patch(Rectangle((0, y - 6), 22, 12, color=color))
            self._still(y, what, x=30, fontsize=9)
        self._still(623, "wider bar: larger capacity; amounts in sat", fontsize=9, color=FAINT)

    def _text(self, y: float, **style: Any) -> Text:
        """Make a text that changes."""
        return self._axes.text(
            0, y, "", **{"va": "center", "color": INK, "animated": True, "parse_math": False, **style}
        )

    def _still(self, y: float, what: str, x: float = 0, **style: Any) -> None:
        """Make a text that never changes."""
        self._axes.text(x, y, what, **{"va": "center", "color": INK, "parse_math": False, **style})


class Caption:
    """The texts of a small picture, in one line.

    Args:
        axes: Where to draw; one unit is one pixel, y grows downward.
    """

    def __init__(self, axes: Axes) -> None:
        self._text = axes.text(10, 14, "", fontsize=9, color=INK, va="center", animated=True)

    def artists(self) -> list[Artist]:
        """Return what is redrawn for every scene."""
        return [self._text]

    def update(self, scene: Scene) -> bool:
        """Show a scene; nothing here stands still."""
        rate = f", {scene.rates_so_far[-1]:.0%} succeed" if scene.succeeded else ""
        self._text.set_text(f"seed {scene.seed}, episode {scene.episode}, step {scene.step}{rate}")
        return False


class SuccessChart:
    """The success rate over the steps of an episode; its axis is as long as the episode, or grows if that is unknown.

    Args:
        axes: Where to draw.
    """

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        axes.set(xlim=(0, 25), ylim=(-0.03, 1.03), yticks=[0, 0.5, 1], yticklabels=["0", "50%", "100%"])
        axes.set_xlabel("step", fontsize=9, color=INK, labelpad=1)
        axes.tick_params(labelsize=8, colors=INK, length=3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#E4E4E4", linewidth=0.8)
        (self._each,) = axes.plot([], [], color=FAINT, linewidth=0.9, marker=".", markersize=3, animated=True)
        (self._so_far,) = axes.plot([], [], color=INK, linewidth=2.2, animated=True)
        axes.set_title("grey: each step, black: so far", fontsize=9, color=FAINT, loc="left", pad=6)

    def artists(self) -> list[Artist]:
        """Return what is redrawn for every scene."""
        return [self._each, self._so_far]

    def update(self, scene: Scene) -> bool:
        """Show a scene; return whether the axis had to grow."""
        steps = np.arange(1, len(scene.succeeded) + 1)
        self._each.set_data(steps, scene.rates)
        self._so_far.set_data(steps, scene.rates_so_far)
        longest = scene.length or 25
        while longest < len(scene.succeeded):
            longest *= 2
        changed = self._axes.get_xlim()[1] != longest
        if changed:
            self._axes.set_xlim(0, longest)
        return bool(changed)
