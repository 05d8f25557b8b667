"""What became of advice, in words."""

from __future__ import annotations

from lnsim_gym.own_node.advice.changes import what
from lnsim_gym.own_node.advice.text import LONGEST_NAME
from lnsim_gym.own_node.following.record import Taken
from lnsim_gym.own_node.naming import peer_called

__all__ = ["taken_sentence"]


def taken_sentence(taken: Taken) -> str:
    """Return what became of a change, in words."""
    cost = f", paid {taken.fee_msat / 1000:,.3f} sat" if taken.fee_msat else ""
    said = ": " + "".join(mark if mark.isprintable() else " " for mark in taken.said) if taken.said else ""
    return f"{taken.result}: {peer_called(taken.change.peer, LONGEST_NAME)}, {what(taken.change)}{cost}{said}"
