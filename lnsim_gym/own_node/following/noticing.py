"""Advice that was followed by hand is noticed: what was advised last and is so at the next import, was done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lnsim_gym.own_node.advice.board import Board
from lnsim_gym.own_node.advice.changes import Change, Closing, Refill, Repricing
from lnsim_gym.own_node.advice.told import Advice
from lnsim_gym.own_node.following.record import Entry, Given, Taken
from lnsim_gym.own_node.reading.folder import OwnNode

__all__ = ["found_done"]


def found_done(node: OwnNode, board: Board, entries: Sequence[Entry]) -> list[Taken]:
    """Return what of the last advice was done by other hands since it was given.

    Args:
        node: The node, as it was imported since.
        board: Its channels, as they are now.
        entries: All of its record.
    """
    given = [one.advice for one in entries if isinstance(one, Given)]
    if not given or given[-1].time_ns >= node.imported_ns:
        return []
    advice = given[-1]
    known = [one.change for one in entries if isinstance(one, Taken) and one.advice_ns == advice.time_ns]
    return [_taken(node, advice, change) for change in _open(advice, known) if _is_so(node, board, advice, change)]


def _open(advice: Advice, known: Sequence[Change]) -> Iterator[Change]:
    """Yield what was advised and is not in the record as tried."""
    for one in advice.advised:
        if one.change not in known and not isinstance(one.change, Closing):
            yield one.change


def _is_so(node: OwnNode, board: Board, advice: Advice, change: Change) -> bool:
    """Whether what a change would do is so by now."""
    if isinstance(change, Repricing):
        policies = {held.chan_id: held.policy for held in board.channels}
        return all(
            chan_id in policies and getattr(policies[chan_id], name) == value
            for chan_id in change.chan_ids
            for name, value in change.to.items()
        )
    return isinstance(change, Refill) and _was_paid(node, advice, change)


def _was_paid(node: OwnNode, advice: Advice, change: Refill) -> bool:
    """Whether a refill is among those that were made since."""
    refills = node.refills
    same = (refills.chan_out == np.uint64(change.leave_chan_id)) & (refills.chan_in == np.uint64(change.chan_id))
    return bool((same & (refills.time_ns > advice.time_ns) & (refills.amount_msat == 1000 * change.amount_sat)).any())


def _taken(node: OwnNode, advice: Advice, change: Change) -> Taken:
    """Return the entry that says so."""
    return Taken(time_ns=node.imported_ns, advice_ns=advice.time_ns, change=change, result="noticed")
