"""What a new client is told: the balances now and the last transactions. Shared by two threads.

The thread that steps the environment notes every step, whether anybody listens or not; the server's thread reads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from lnsim_gym.backends.base import PaymentBatch, PaymentOutcomes
from lnsim_gym.bridge.channels import ChannelBook
from lnsim_gym.bridge.encoder import describe_payments
from lnsim_gym.bridge.messages import Payment, StateData
from lnsim_gym.bridge.names import WireNames

__all__ = ["EpisodeState", "Moment", "StepNote"]

Int64 = npt.NDArray[np.int64]


class StepNote(NamedTuple):
    """A step that was made."""

    episode: int
    step: int
    seed: int
    unpack: Callable[[], tuple[PaymentBatch, PaymentOutcomes, Int64]]
    """Gives its payments, what became of them, and the balances after it."""


class Moment(NamedTuple):
    """Where the episode stands."""

    seq: int
    """Number of the last message that was made before."""
    episode: int
    steps: int
    """Steps done; -1 before the first reset."""
    balances_msat: Callable[[], Int64]
    """Gives the balances, shape (channels, 2)."""
    timestamp: str | None
    """When it was last told of."""


class EpisodeState:
    """Keeps the moment and the last steps.

    Args:
        names: The names of the network.
        steps: How many steps to keep.
    """

    def __init__(self, names: WireNames, steps: int) -> None:
        self.lock = threading.Lock()
        """Held while a client joins, and while the stepping thread finds out whether anybody listens."""
        self.moment = Moment(0, -1, -1, lambda: np.zeros((len(names.topology.channels), 2), np.int64), None)
        self.notes: deque[StepNote] = deque(maxlen=steps)
        self._names = names

    def describe(self, moment: Moment, notes: list[StepNote], history: int, takes_suggestions: bool) -> StateData:
        """Describe a moment and the transactions before it, at most ``history`` of them."""
        payments: list[Payment] = []
        for note in notes:
            payments += describe_payments(self._names, *note.unpack()[:2], note.episode, note.step, note.seed)
        book = ChannelBook(self._names)
        book.set_balances(moment.balances_msat())
        begun = moment.steps >= 0
        return StateData(
            channels=book.channels_json(*range(len(self._names.nodes))) if begun else msgspec.Raw(b"{}"),  # type: ignore[arg-type]
            transactions=payments[-history:],
            last_update=moment.timestamp,
            episode=moment.episode,
            step=moment.steps,
            takes_suggestions=takes_suggestions,
        )
