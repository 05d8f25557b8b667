"""Whose forwards a history tells of, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from lnsim_gym.arrays import UInt64
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.own_node.reading.channels import Channel
from lnsim_gym.own_node.reading.history import DAY_NS, Forwards, Refills, as_chan_id

__all__ = ["foreign_forwards", "require_own", "told_until_ns"]

_OLD_DAYS: Final = 7.0
"""Age of the newest forward from which on files may be an old export."""
_MOST: Final = 0.5
"""Share of forwards over no known channel of the node from which on that is said."""
_NEARLY_ALL: Final = 0.9
"""Share from which on the history is refused."""


def foreign_forwards(
    forwards: Forwards, held: Sequence[Channel], refills: Refills, topology: Topology, own: str
) -> int:
    """Return how many forwards seem to be another node's; 0 where a few went over channels that may be closed since.

    Own are channels that are listed, that the graph knows as the node's, or through which it paid itself. Of a forward
    over a channel between others there is no doubt; one over no own channel may be of a time before channels were
    closed, so that such are counted only where they are most of all.

    Args:
        forwards: The history.
        held: Channels of the node.
        refills: What it paid to itself.
        topology: The graph, not cut.
        own: The node, by name.
    """
    listed = [as_chan_id(number) for one in held for number in (one.number, one.chan_id, one.scid, *one.alias_scids)]
    edges = [(one.chan_id or 0, own in (one.initiator, one.peer)) for one in topology.channels]
    known = _numbers([*listed, *(number for number, is_own in edges if is_own)])
    mine = np.concatenate([known, refills.chan_in, refills.chan_out])
    others = np.setdiff1d(_numbers([number for number, is_own in edges if not is_own]), mine)
    legs = (forwards.chan_in, forwards.chan_out)
    is_others = np.isin(legs, others).any(axis=0)
    is_foreign = is_others | ~np.isin(legs, mine).any(axis=0)
    return int(is_foreign.sum()) if is_others.any() or is_foreign.sum() > _MOST * len(forwards) else 0


def _numbers(chan_ids: list[int]) -> UInt64:
    """Return short channel ids without those that are none."""
    return np.array([number for number in chan_ids if number], np.uint64)


def require_own(foreign: int, forwards: Forwards, history: Sequence[Path]) -> None:
    """Refuse a history nearly all of which is another node's.

    Raises:
        ConfigError: More than 0.9 of its forwards are.
    """
    if foreign > _NEARLY_ALL * len(forwards):
        files = ", ".join(map(str, history))
        raise ConfigError(
            f"{foreign:,} of {len(forwards):,} forwards of {files} are over no channel of this node: is it another's "
            "history? If its channels were closed since, give the forwards of the last weeks only"
        )


def told_until_ns(forwards: Forwards, now_ns: int) -> int:
    """Return until when files surely tell of forwards: now, or the newest one where that is older than a week.

    Args:
        forwards: The history.
        now_ns: When it was imported, in nanoseconds since 1970.
    """
    newest_ns = int(forwards.time_ns[-1]) if len(forwards) else now_ns
    return newest_ns if now_ns - newest_ns > _OLD_DAYS * DAY_NS else now_ns
