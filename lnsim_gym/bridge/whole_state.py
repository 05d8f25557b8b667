"""The state of a network as clients are told it: all channels, in messages of a bounded size."""

from __future__ import annotations

from typing import Final

import msgspec

from lnsim_gym.bridge.channels import ChannelBook
from lnsim_gym.bridge.messages import Payment, StateData

__all__ = ["STATE_ENDS", "state_parts"]

STATE_ENDS: Final = 2_500
"""Channel ends in one message of the state at most: half of the 1 MiB that WebSocket clients take by default."""


def state_parts(
    book: ChannelBook, place: tuple[str | None, int, int], payments: list[Payment], takes_suggestions: bool
) -> list[StateData]:
    """Return the state in parts of a bounded size.

    Args:
        book: The channels.
        place: When the state was last reported, the episode, and the steps done in it; -1 before the first reset.
        payments: The last transactions.
        takes_suggestions: Whether suggestions are taken.
    """
    timestamp, episode, steps = place
    parts = list(book.parts_json(STATE_ENDS))
    return [
        StateData(
            channels=msgspec.Raw(channels),  # type: ignore[arg-type]
            transactions=[] if number else payments,
            last_update=timestamp,
            episode=episode,
            step=steps,
            takes_suggestions=takes_suggestions,
            part=number + 1,
            parts=len(parts),
        )
        for number, channels in enumerate(parts)
    ]
