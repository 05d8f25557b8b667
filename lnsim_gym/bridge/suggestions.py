"""Suggestions of outside models: checked against the network, queued, taken by the agent, and answered.

The server's thread puts them in, the thread that steps the environment takes them out. A suggestion is an amount over
one of the routes of the environment's rebalances; a push may name the two nodes of its channel instead. Where one runs
a node of one's own, it is an action of that node.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from lnsim_gym.bridge.messages import Acknowledgement, InboundSuggestion, SuggestionFields
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.errors import InvalidAction, did_you_mean
from lnsim_gym.tasks.liquidity.routes import ChannelPairs, RebalanceRoutes
from lnsim_gym.tasks.operator import OperatorTask

__all__ = ["Offer", "Refused", "Suggestion", "SuggestionQueue", "check_suggestion", "is_action"]

MAX_QUEUED: Final = 1000
"""Most suggestions that wait; a further one is refused."""
MAX_QUEUED_EACH: Final = 100
"""Most suggestions of one client that wait."""
MAX_HINTED: Final = 200
"""Most nodes of a network in which the closest name to an unknown one is looked for."""
MAX_TEXT: Final = 200
"""Longest ``id`` or ``reason`` kept, in characters."""

MAX_ROUTE: Final = 20
"""Most directions of a route that an error repeats."""

MAX_WHY: Final = 500
"""Longest reason why an action cannot be, in characters."""

Routes = RebalanceRoutes | ChannelPairs
Offer = Routes | OperatorTask
"""What may be suggested: rebalances over routes, or actions of a task with a node of one's own."""
Status = Literal["queued", "applied", "refused", "failed"]


class Refused(Exception):
    """A suggestion cannot be applied; the text says why."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggestion that could be applied."""

    client: int
    """Number of the client that is told what became of it."""
    fields: SuggestionFields
    row: int
    """Its row of the environment's routes, -1 for an action of one's own node."""
    received_s: float
    """When it came, on the monotonic clock."""

    @property
    def amount_msat(self) -> int:
        """Amount to send in msat."""
        return 1000 * self.fields.amount

    def answer(self, status: Status, why: str = "", *, amount: int | None = None, fee_msat: int = 0) -> Acknowledgement:
        """Return an acknowledgement."""
        fields = self.fields
        return Acknowledgement(
            id=fields.id,
            status=status,
            from_node=fields.from_node,
            to_node=fields.to_node,
            amount=fields.amount if amount is None else amount,
            fee_msat=fee_msat,
            why=why,
        )


def check_suggestion(
    names: WireNames, offer: Offer | None, given: InboundSuggestion, client: int, number: int
) -> Suggestion:
    """Check a suggestion against the network.

    Args:
        names: The names of the network.
        offer: What may be suggested; None while no agent takes suggestions.
        given: What a model sent.
        client: Who sent it.
        number: Makes the id of a suggestion that has none.

    Raises:
        Refused: No agent takes suggestions, a node is unknown, the two share no channel, the environment does not
            offer the route, or the amount, confidence or action is impossible.
    """
    if offer is None:
        raise Refused("no agent takes suggestions here: stream with the agent 'bridge'")
    if not (math.isfinite(given.confidence) and 0 <= given.confidence <= 1):
        raise Refused(f"expected a confidence in 0..1, got {given.confidence}")
    if isinstance(offer, OperatorTask):
        source = destination = offer.own
        route, row, amount = _no_route(offer, given)
    else:
        arrays = names.topology.arrays
        route, row, amount = _push(names, offer, given)
        source, destination = arrays.source[route[0]], arrays.destination[route[-1]]
    fields = SuggestionFields(
        from_node=names.nodes[source],
        to_node=names.nodes[destination],
        route=route,
        amount=amount,
        confidence=given.confidence,
        reason=given.reason[:MAX_TEXT],
        id=str(number if given.id is None else given.id)[:MAX_TEXT],
        action=given.action,
    )
    return Suggestion(client, fields, row, time.monotonic())


def _no_route(task: OperatorTask, given: InboundSuggestion) -> tuple[list[int], int, int]:
    """Check what a node of one's own is to do, and return what stands for the route, its row and the amount."""
    known = ", ".join(task.actions.plain)
    if given.action is None or given.route or given.from_node or given.to_node:
        raise Refused(f"expected an action with some of {known} here, and nothing else")
    try:
        task.actions.decode([given.action])
    except InvalidAction as problem:
        raise Refused(str(problem)[:MAX_WHY]) from None
    return [], -1, 0


def _push(names: WireNames, routes: Routes, given: InboundSuggestion) -> tuple[list[int], int, int]:
    """Check an amount over a route, and return the route, its row and the amount."""
    if given.action is not None:
        raise Refused("expected from_node and to_node, or a route: an action is for who runs a node of one's own")
    route = _route(names, given)
    row = routes.row_of(route)
    if row is None:
        raise Refused(f"expected as the route of a rebalance here {routes.offered}, got {route[:MAX_ROUTE]}")
    capacity = int(routes.unit_sat(row))
    if not 1 <= given.amount <= capacity:
        raise Refused(f"expected an amount in 1..{capacity} sat, the capacity of the channel, got {given.amount}")
    return route, row, given.amount


def _route(names: WireNames, given: InboundSuggestion) -> list[int]:
    """Return the directions of a suggestion, those between its two nodes where it names these."""
    if given.route:
        if given.from_node or given.to_node:
            raise Refused("expected from_node and to_node, or a route, got both")
        return given.route
    source, destination = (_node(names, given, end) for end in ("from_node", "to_node"))
    direction = names.direction(source, destination)
    if direction is None:
        raise Refused(f"{given.from_node} and {given.to_node} share no channel: name the two ends of one")
    return [direction]


def _node(names: WireNames, given: InboundSuggestion, end: str) -> int:
    """Return the index of a node that a suggestion names."""
    name = getattr(given, end)
    if not name:
        raise Refused(f"expected from_node and to_node, or a route, got no {end}")
    index = names.node_index(name)
    if index is None:
        name = name[:MAX_TEXT]
        known = (*names.nodes, *names.topology.nodes) if len(names.nodes) <= MAX_HINTED else ()
        raise Refused(f"unknown {end} {name!r}.{did_you_mean(name, known)}")
    return index


def is_action(action: Any, suggested: Mapping[str, Any] | None) -> bool:
    """Return whether an action is what was suggested."""
    if suggested is None or not isinstance(action, Mapping) or action.keys() != suggested.keys():
        return False
    return all(np.array_equal(action[name], part) for name, part in suggested.items())


class SuggestionQueue:
    """Suggestions that wait to be applied; closed until an agent takes them.

    Args:
        expiry_s: Seconds after which a suggestion is refused instead of applied.
        on_answer: Called with every later answer to a suggestion, from the thread that takes them.
    """

    def __init__(self, expiry_s: float, on_answer: Callable[[Suggestion, Acknowledgement], None]) -> None:
        self._offer: Offer | None = None
        self._expiry_s = expiry_s
        self._expired = f"expired after {expiry_s:g} s"
        self._on_answer = on_answer
        self._waiting: list[Suggestion] = []  # oldest first
        self._answers = 0
        self._change = threading.Condition()

    @property
    def is_open(self) -> bool:
        """Whether an agent takes suggestions; until one does, all are refused."""
        return self._offer is not None

    @property
    def offer(self) -> Offer | None:
        """What may be suggested; None while the queue is closed."""
        return self._offer

    def open(self, offer: Offer) -> None:
        """Accept suggestions from now on, because an agent takes them.

        Args:
            offer: What may be suggested.
        """
        self._offer = offer

    def put(self, suggestion: Suggestion) -> None:
        """Queue a suggestion.

        Raises:
            Refused: Too many wait.
        """
        with self._change:
            expired = self._take_expired()
            own = sum(waiting.client == suggestion.client for waiting in self._waiting)
            full = own >= MAX_QUEUED_EACH or len(self._waiting) >= MAX_QUEUED
            if not full:
                self._waiting.append(suggestion)
        self._refuse(expired, self._expired)
        if full:
            raise Refused(f"{own} suggestions of yours and {len(self._waiting) - own} others wait already: send fewer")

    def answered(self) -> None:
        """Note that a model has said all it has to say, be it nothing: the agent that waits for models goes on."""
        with self._change:
            self._answers += 1
            self._change.notify_all()

    def look_again(self) -> None:
        """Let the agent that waits for models find out whether any are left."""
        with self._change:
            self._change.notify_all()

    def take(self) -> Suggestion | None:
        """Take the suggestion of highest confidence, the oldest among equals; expired ones are refused."""
        with self._change:
            expired = self._take_expired()
            best = max(self._waiting, key=lambda suggestion: suggestion.fields.confidence, default=None)
            self._waiting = [suggestion for suggestion in self._waiting if suggestion is not best]
        self._refuse(expired, self._expired)
        return best

    @property
    def answers(self) -> int:
        """How often models have said all they had to say."""
        return self._answers

    @property
    def any_fresh(self) -> bool:
        """Whether something waits that has not expired."""
        with self._change:
            return bool(self._fresh())

    def wait(self, answers: int, any_left: Callable[[], bool], patience_s: float) -> None:
        """Wait until a model answers, but not when some suggestions are waiting already.

        Args:
            answers: ``answers`` when the models were asked.
            any_left: Returns whether any client is left that could answer.
            patience_s: Seconds to wait at most.
        """
        with self._change:
            self._change.wait_for(
                lambda: self._answers > answers or bool(self._fresh()) or not any_left(), max(0.0, patience_s)
            )

    def waiting(self) -> list[SuggestionFields]:
        """Return what waits, best first."""
        with self._change:
            fresh = self._fresh()
        return sorted((suggestion.fields for suggestion in fresh), key=lambda fields: -fields.confidence)

    def clear(self, why: str) -> None:
        """Refuse everything that waits."""
        with self._change:
            waiting = self._waiting
            self._waiting = []
        self._refuse(waiting, why)

    def _fresh(self) -> list[Suggestion]:
        """Return what has not waited too long."""
        oldest_s = time.monotonic() - self._expiry_s
        return [suggestion for suggestion in self._waiting if suggestion.received_s >= oldest_s]

    def _take_expired(self) -> list[Suggestion]:
        """Take out what has waited too long."""
        fresh = self._fresh()
        expired = self._waiting[: len(self._waiting) - len(fresh)]
        self._waiting = fresh
        return expired

    def _refuse(self, suggestions: list[Suggestion], why: str) -> None:
        """Answer suggestions that were taken out."""
        for suggestion in suggestions:
            self._on_answer(suggestion, suggestion.answer("refused", why))
