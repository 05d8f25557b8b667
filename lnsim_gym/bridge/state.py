"""What a new client is told: the balances now and the last transactions. Shared by two threads.

The thread that steps the environment notes every step, whether a client listens or not; the server's thread reads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from lnsim_gym.arrays import Int64
from lnsim_gym.bridge.channels import ChannelBook
from lnsim_gym.bridge.encoder import describe_payments
from lnsim_gym.bridge.messages import Payment, StateData
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.bridge.whole_state import state_parts
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes

__all__ = ["KeptStep", "Moment", "RecentSteps"]

KeptStep = tuple[PaymentBatch | None, PaymentOutcomes | None, Int64]


class Moment(NamedTuple):
    """Where the episode stands: after its reset, or after a step."""

    seq: int
    """Number of the last message that was made before."""
    episode: int
    steps: int
    """Steps done; -1 before the first reset."""
    seed: int
    kept: Callable[[], KeptStep]
    """Gives the payments of the step, none after a reset, and the balances."""
    timestamp: str | None
    """When it was last reported."""
    topology: Topology
    """The network with the policies that it has."""

    @property
    def balances_msat(self) -> Int64:
        """Balances, shape (channels, 2)."""
        return self.kept()[2]


class RecentSteps:
    """Keeps the moment and the last steps.

    Args:
        names: The names of the network.
        steps: How many steps to keep.
    """

    def __init__(self, names: WireNames, steps: int) -> None:
        self.lock = threading.Lock()
        """Held while a client joins, and while the stepping thread finds out whether a client listens."""
        start_msat = names.topology.start_balances_msat()
        self.moment = Moment(0, -1, -1, 0, lambda: (None, None, start_msat), None, names.topology)
        self.made: deque[Moment] = deque(maxlen=steps)
        """The last steps, each as the moment after it."""
        self._names = names

    def remember(self, moment: Moment) -> None:
        """Take over a moment; the lock must be held."""
        if moment.steps > max(self.moment.steps, 0):
            self.made.append(moment)
        self.moment = moment

    def describe(self, moment: Moment, made: list[Moment], history: int, takes_suggestions: bool) -> list[StateData]:
        """Describe a moment and the transactions of the steps before it, at most ``history`` of them, in parts."""
        payments: list[Payment] = []
        for step in made:
            batch, outcomes, _ = step.kept()
            if batch is not None and outcomes is not None:
                payments += describe_payments(self._names, batch, outcomes, step.episode, step.steps - 1, step.seed)
        book = ChannelBook(self._names)
        book.set_balances(moment.balances_msat)
        place = (moment.timestamp, moment.episode, moment.steps)
        return state_parts(book, place, payments[-history:], takes_suggestions)
