"""How peers and channels are called where a person sees them."""

from __future__ import annotations

from lnsim_gym.network.names import printable

__all__ = ["peer_called", "short_channel_id"]


def peer_called(peer: str, longest: int) -> str:
    """Return what a peer calls itself in characters that can be shown, cut with an ellipsis to a number of them."""
    name = printable(peer)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def short_channel_id(chan_id: int) -> str:
    """Return a short channel id as block, transaction and output (BOLT 7)."""
    return f"{chan_id >> 40}x{chan_id >> 16 & 0xFFFFFF}x{chan_id & 0xFFFF}"
