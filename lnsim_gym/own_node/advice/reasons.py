"""Why something is changed or left of a node, in words, by what simulated days say and what forwards have paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from lnsim_gym.arrays import Int64, UInt64
from lnsim_gym.own_node.advice.board import Board, Held
from lnsim_gym.own_node.advice.changes import Change, Refill, Repricing, what
from lnsim_gym.own_node.advice.measured import Measured
from lnsim_gym.own_node.advice.told import Gain

__all__ = ["Reasons", "held_in"]

_FAR: Final = 1.5
"""How many times a fee rate that forwards have paid another one is far from it."""


def held_in(gain: Gain, draws: int) -> str:
    """Say in how many of the draws a gain is one, nothing where that is not known."""
    return f"more in {gain.ahead}, less in {gain.behind} of {draws} draws" if gain.ahead + gain.behind else ""


class Reasons:
    """Reasons for changes of a node.

    Args:
        board: Its channels.
        paid: By short channel id, when forwards left over a channel, in ns, and which fee rates they paid, in ppm.
        sold_ppm: By short channel id, fees per million of what left over a channel.
    """

    def __init__(
        self, board: Board, paid: Mapping[int, tuple[UInt64, Int64]], sold_ppm: Mapping[int, float | None]
    ) -> None:
        self._board, self._paid, self._sold_ppm = board, paid, sold_ppm

    def why(self, change: Change, single: Measured, place: int) -> str:
        """Return the reason for a change that is a scenario among others: what the simulated days say."""
        if isinstance(change, Refill):
            back = self._board.channels[self._board.places[change.chan_id]]
            return f"{back.local:.0%} is left, and it sells at {self._sold_ppm[change.chan_id] or 0:,.0f} ppm"
        where = self._board.places_of(change)
        earned, carried = (
            [column[:, which][:, where].sum(axis=1).mean() / single.days for which in (0, place)]
            for column in (single.channel_sat, single.out_sat)
        )
        words = f"{earned[1]:,.1f} sat a day, not {earned[0]:,.1f}"
        words += f"; carries {carried[1]:,.0f} sat, not {carried[0]:,.0f}"
        return "; ".join(filter(None, (words, self._unseen(change))))

    def last_paid(self, change: Change) -> tuple[int, int] | None:
        """Return time in ns and fee rate in ppm of the last forward that left over a change's channels, if any did."""
        told = [self._paid[chan_id] for chan_id in change.chan_ids]
        return max(((int(time_ns[-1]), int(ppm[-1])) for time_ns, ppm in told if len(ppm)), default=None)

    def _unseen(self, change: Change) -> str:
        """Say of a fee rate that it is far outside of what forwards over its channels ever paid."""
        ppm = change.to.get("fee_rate_ppm") if isinstance(change, Repricing) else None
        if ppm is None:
            return ""
        paid_ppm = np.concatenate([self._paid[chan_id][1] for chan_id in change.chan_ids])
        if not len(paid_ppm):
            return f"no forward over it tells a price, what comes at {ppm:,} ppm follows from the fees of the graph"
        low, high = int(paid_ppm.min()), int(paid_ppm.max())
        if low / _FAR <= ppm <= high * _FAR:
            return ""
        seen = f"{low:,}" if low == high else f"{low:,}..{high:,}"
        return (
            f"its forwards paid {seen} ppm, what comes at {ppm:,} is not in the data but follows from the graph's fees"
        )

    def idle(self, where: Int64, single: Measured) -> str:
        """Say what becomes of channels if nothing is done."""
        earned = single.channel_sat[:, 0][:, where].sum(axis=1).mean() / single.days
        held = [self._board.channels[place] for place in where.tolist()]
        capacity_sat = max(sum(one.capacity_sat for one in held), 1)
        now = sum(one.local_sat for one in held) / capacity_sat
        then = single.local_sat[:, 0][:, where].sum(axis=1).mean() / capacity_sat
        return f"{earned:,.1f} sat a day, local {now:.0%} to {then:.0%}"

    def why_left(
        self,
        group: Sequence[Held],
        tried: Sequence[tuple[Change, Gain]],
        refused: Mapping[int, str],
        draws: int,
        otherwise: str,
    ) -> str:
        """Say why nothing is changed of channels.

        Args:
            group: The channels, all of one peer.
            tried: Changes that were measured, and what they bring.
            refused: By short channel id, what stood against a change of it.
            draws: Draws that were measured on.
            otherwise: The reason where there is no other.
        """
        chan_ids = {held.chan_id for held in group}
        for change, gain in tried:
            if change.chan_ids[-1] in chan_ids:
                told = f"{what(change)} would bring {gain.sat_per_day:+,.1f} ({gain.low:+,.1f}..{gain.high:+,.1f})"
                return ", ".join(filter(None, (told, held_in(gain, draws))))
        if not all(held.is_active for held in group):
            return "the peer is offline"
        said = [refused[chan_id] for chan_id in chan_ids if chan_id in refused]
        return said[0] if said else otherwise
