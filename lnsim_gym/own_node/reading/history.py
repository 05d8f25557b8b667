"""What a node forwarded, paid and failed to forward, as columns over the events in order of time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np

from lnsim_gym.arrays import Bool, UInt64
from lnsim_gym.network.importers.channels import channel_number

__all__ = ["DAY_NS", "SECOND_NS", "Failures", "Forwards", "Refills", "as_chan_id"]

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * SECOND_NS
_CHAN_IDS: Final = 2**64
"""Short channel ids are below; those of aliases begin beyond half of it."""


def as_chan_id(text: str | int) -> int:
    """Return a short channel id, of a number or as in ``"700000x1x0"``; 0 where there is none."""
    number = channel_number(text) or 0
    return number if 0 < number < _CHAN_IDS else 0


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of one length, the first one ``time_ns``; short channel ids of aliases take all 64 bits."""

    time_ns: UInt64
    """Nanoseconds since 1970, UTC."""

    @classmethod
    def of(cls, rows: list[tuple[int, ...]]) -> Self:
        """Return rows as columns, in order of time."""
        names = fields(cls)
        table = np.array(rows, np.uint64).reshape(len(rows), len(names))
        return cls(*table[np.lexsort(table.T[::-1])].T.copy())

    def rows(self) -> UInt64:
        """Return the events as rows, uint64 of shape (n, columns)."""
        return np.stack([getattr(self, each.name) for each in fields(self)], axis=1)

    def keep(self, which: Bool) -> Self:
        """Return some of the events, by a mask of shape (n,)."""
        return type(self)(*(getattr(self, each.name)[which] for each in fields(self)))

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, slots=True)
class Forwards(_Columns):
    """Payments of others that were settled through the node."""

    chan_in: UInt64
    """Short channel id of the channel over which each came."""
    chan_out: UInt64
    """The same of the channel over which it went on."""
    in_msat: UInt64
    """What came, fee included."""
    out_msat: UInt64
    """What went on."""


@dataclass(frozen=True, slots=True)
class Refills(_Columns):
    """Payments of the node to itself: what left over one channel came back over another."""

    chan_out: UInt64
    """Channel that was emptied."""
    chan_in: UInt64
    """Channel that was filled."""
    amount_msat: UInt64
    """What arrived."""
    fee_msat: UInt64
    """What it cost."""


@dataclass(frozen=True, slots=True)
class Failures(_Columns):
    """Payments of others that failed at the node or beyond it."""

    chan_in: UInt64
    """Channel over which each came."""
    chan_out: UInt64
    """Channel over which it was to go on."""
    amount_msat: UInt64
    """What was to go on."""
    is_dry: UInt64
    """1 where the node's own balance was too small, else 0."""
