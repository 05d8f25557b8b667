"""What may become of a deed by the simulator, whatever is drawn, and whether real nodes did one of these things.

LND itself leaves some things open, and so does the simulator:

- Which of several parallel channels a forwarder takes: each that passes the checks, with equal chances. The simulator
  draws it from a seeded stream, so other streams give the other outcomes.
- Which of two equally good ways a search takes: the one that LND's maps list first. The simulator takes the first in
  document order, so the same network written down in another order gives the other outcomes.
- How the parts of one payment meet: HTLCs take their time. The simulator draws these times where it is told to.

Parts whose forwarders choose among parallel channels have too many outcomes to meet each. There it counts as given if
the simulator gives the same but for the channels between the same nodes, and each part as it was, in whatever company.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec
import numpy as np

from lnsim_gym.backends.simulator.engine import (
    compile_network,
    make_memory,
    make_outcomes,
    make_scratch,
    make_settings,
    pay_batch,
    payment_outcomes,
    send_pinned,
)
from lnsim_gym.benchmarks.parity.deeds import Deed, Outcome, balance_pairs
from lnsim_gym.network import Topology
from lnsim_gym.payments import FailureReason, PaymentOptions, RebalanceReason

__all__ = ["Judgement", "judge"]

FEW: Final = 32
"""Streams after which an outcome that was always the same counts as the only one."""
MANY: Final = 512
"""Streams from which the chances of several outcomes are taken."""
MOST: Final = 20_000
"""Streams after which an outcome that was not among them is none that the simulator gives."""
ORDERS: Final = 60
"""Orders of the channels that are tried for equally good ways."""
MOST_TIMES: Final = 60_000
"""As ``MOST``, of payments in several parts, whose times are drawn, too."""


class Simulated:
    """The simulator on the network of a deed, its channels written down in some order.

    Args:
        topology: The network.
        options: How payments are sent.
        order: Channels in the order in which they are written down; as they are by default.
    """

    def __init__(self, topology: Topology, options: PaymentOptions, order: list[int] | None = None) -> None:
        self._order = order or list(range(len(topology.channels)))
        channels = tuple(topology.channels[channel] for channel in self._order)
        topology = topology if order is None else msgspec.structs.replace(topology, channels=channels)
        self._options = options
        self._network = compile_network(topology)
        self._scratch = make_scratch(self._network, options)
        self._memory = make_memory(self._network, options)
        self._settings = make_settings(options)._replace(drawn_times=1)
        self._outcomes = make_outcomes(1, options.max_parts, linked=self._network.links is not None)

    def outcome(self, deed: Deed, stream: int) -> Outcome:
        """Do a deed, drawing from a stream of its own, and return what becomes of it."""
        self._memory.draws[0] = self._scratch.work.knowledge.draws[0] = stream
        flat = deed.before_msat[self._order].ravel().copy()
        if deed.route:
            reason, attempts, fee_msat, parts = self._rebalance(deed, flat)
        else:
            reason, attempts, fee_msat, parts = self._pay(deed, flat)
        after_msat = np.empty_like(deed.before_msat)
        after_msat[self._order] = flat.reshape(-1, 2)
        return Outcome(reason, attempts, fee_msat, tuple(sorted(parts)), balance_pairs(after_msat))

    def _rebalance(self, deed: Deed, flat: np.ndarray) -> tuple[str, int, int, list[tuple[int, tuple[int, ...]]]]:
        places = {channel: place for place, channel in enumerate(self._order)}
        route = np.array([2 * places[direction // 2] + direction % 2 for direction in deed.route], np.int64)
        number, fee_msat, position = send_pinned(
            self._network, flat, self._scratch, self._memory, route, deed.amount_msat, 0, np.zeros(0, np.int64)
        )
        reason = RebalanceReason(number)
        taken = self._directions(self._scratch.work.route[: len(route)].tolist())
        parts = [] if reason else [(deed.amount_msat, taken)]
        return reason.name, int(position), int(fee_msat), parts

    def _pay(self, deed: Deed, flat: np.ndarray) -> tuple[str, int, int, list[tuple[int, tuple[int, ...]]]]:
        amount_msat = np.array([deed.amount_msat], np.int64)
        ends = (np.array([deed.source], np.int64), np.array([deed.destination], np.int64))
        payments = (*ends, amount_msat, self._options.fee_limit_msat(amount_msat), np.zeros(1, np.int64))
        pay_batch(self._network, flat, self._scratch, self._memory, self._settings, payments, self._outcomes)
        outcomes = payment_outcomes(self._outcomes)
        parts = [(amount_msat, self._directions(route)) for route, amount_msat in outcomes.settled_routes()]
        reason = FailureReason(int(outcomes.failure_reason[0]))
        return reason.name, int(outcomes.attempts[0]), int(outcomes.fee_msat[0]), parts

    def _directions(self, route: tuple[int, ...] | list[int]) -> tuple[int, ...]:
        """Return directions in document order for those of the order here."""
        return tuple(2 * self._order[direction // 2] + direction % 2 for direction in route)


@dataclass(frozen=True)
class Judgement:
    """Whether real nodes did what the simulator says they may."""

    possible: bool
    """Whether what they did is among what the simulator gives."""
    outcomes: Counter[Outcome]
    """What the simulator gave, and how often."""
    tie: bool = False
    """Whether it took another order of the channels to give it: nodes met equally good ways."""

    @property
    def only(self) -> bool:
        """Whether the simulator gives one outcome only, whatever is drawn."""
        return len(self.outcomes) == 1 and not self.tie

    def place(self, seen: Outcome) -> tuple[float, float]:
        """Return the chance of the outcomes sorted before one, and its own."""
        total = self.outcomes.total()
        before = sum(often for outcome, often in self.outcomes.items() if outcome < seen)
        return before / total, self.outcomes[seen] / total


def judge(deed: Deed, options: PaymentOptions, given_up: Callable[[], bool] = lambda: False) -> Judgement | None:
    """Hold what real nodes did to what the simulator gives for the same deed.

    Args:
        deed: With what was seen.
        options: How payments are sent.
        given_up: Asked now and then: what is not found takes a minute to be sure of.

    Returns:
        The judgement, None when given up.
    """
    seen = deed.done
    found = Counter[Outcome]()
    most, streams_each = (MOST, FEW) if options.max_parts == 1 else (MOST_TIMES, MANY)
    given = _Given(deed)
    for number, outcome in enumerate(_in_order(deed, options, most), 1):
        found[outcome] += 1
        given.add(outcome)
        settled = number >= FEW and (len(found) == 1 or number >= MANY)
        if settled and given.contains(seen):
            return Judgement(True, found)
        if number == MANY and len(found) == 1:
            break
        if number % MANY == 0 and given_up():
            return None
    for outcome in _in_other_orders(deed, options, streams_each):
        found[outcome] += 1
        given.add(outcome)
        if given.contains(seen):
            return Judgement(True, found, tie=True)
        if given_up():
            return None
    return Judgement(False, found)


class _Given:
    """What the simulator gave for a deed."""

    def __init__(self, deed: Deed) -> None:
        self._deed = deed
        self._whole: set[Outcome] = set()
        self._between_nodes: set[tuple[object, ...]] = set()
        self._parts: set[tuple[int, tuple[int, ...]]] = set()

    def add(self, outcome: Outcome) -> None:
        """Remember an outcome that the simulator gave."""
        if outcome not in self._whole:
            self._whole.add(outcome)
            self._between_nodes.add(self._told_by_nodes(outcome))
            self._parts.update(outcome.parts)

    def contains(self, seen: Outcome) -> bool:
        """Return whether the simulator gives what was seen."""
        if seen in self._whole:
            return True
        return (
            len(seen.parts) > 1
            and self._told_by_nodes(seen) in self._between_nodes
            and self._parts.issuperset(seen.parts)
            and self._moved_msat() == seen.after_msat
        )

    def _told_by_nodes(self, outcome: Outcome) -> tuple[object, ...]:
        """Return what does not depend on which of the channels between two nodes was taken."""
        nodes_of = self._deed.topology.nodes_of
        parts = sorted((amount_msat, nodes_of(route)) for amount_msat, route in outcome.parts)
        return (outcome.reason, outcome.attempts, outcome.fee_msat, *((amount, *nodes) for amount, nodes in parts))

    def _moved_msat(self) -> tuple[tuple[int, int], ...]:
        """Return the balances that the HTLCs seen lead to."""
        after_msat = self._deed.before_msat.copy().reshape(-1)
        for route, sent_msat in self._deed.carried:
            for direction, amount_msat in zip(route, sent_msat, strict=True):
                after_msat[direction] -= amount_msat
                after_msat[direction ^ 1] += amount_msat
        return balance_pairs(after_msat.reshape(-1, 2))


def _in_order(deed: Deed, options: PaymentOptions, most: int) -> Iterator[Outcome]:
    """Yield what becomes of a deed with one stream after another."""
    streams = Random(0)
    simulated = Simulated(deed.topology, options)
    for _ in range(most):
        yield simulated.outcome(deed, streams.getrandbits(64))


def _in_other_orders(deed: Deed, options: PaymentOptions, streams_each: int) -> Iterator[Outcome]:
    """Yield what becomes of a deed with the channels in one order after another, and a few streams of each."""
    draws = Random(1)
    channels = range(len(deed.topology.channels))
    for _ in range(ORDERS):
        simulated = Simulated(deed.topology, options, draws.sample(channels, len(channels)))
        for _ in range(streams_each):
            yield simulated.outcome(deed, draws.getrandbits(64))
