"""What the bridge answers to the messages of clients. Nothing a client sends ever raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Final, Protocol

import msgspec

from lnsim_gym.bridge.clock import now
from lnsim_gym.bridge.controls import Choose, Command, Controls, Reset, Step
from lnsim_gym.bridge.desk import Answer, Desk, Refusal
from lnsim_gym.bridge.frames import kinds_mask
from lnsim_gym.bridge.messages import (
    KINDS,
    KINDS_ON_REQUEST,
    Acknowledgement,
    ConnectionTestResponse,
    EchoData,
    ErrorData,
    ErrorReply,
    HeartbeatResponse,
    InboundSuggestion,
    InChooseAgent,
    InRegister,
    InReset,
    InSetSpeed,
    InStep,
    InSubscribe,
    Network,
    NetworkData,
    Pong,
    QueuedSuggestions,
    Registered,
    RegisteredData,
    Subscribed,
    SubscribedData,
    SuggestionAck,
    SuggestionFields,
)
from lnsim_gym.bridge.messages import Controls as ControlsMessage
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.bridge.session import Session
from lnsim_gym.bridge.suggestions import Refused, SuggestionQueue, check_suggestion
from lnsim_gym.bridge.token_bucket import TokenBucket
from lnsim_gym.errors import did_you_mean
from lnsim_gym.schema import hint

__all__ = ["Dialogue", "Host"]

MAX_SUGGESTIONS: Final = 100
"""Most suggestions in one message, of a client or of ours."""
RELAYS_PER_SECOND: Final = 2.0
"""Requests of clients that are passed on to the others, of all clients together, on average."""
RELAY_BURST: Final = 10
"""Requests passed on at once."""
MAX_QUOTE: Final = 60
"""How much of a client's text an error repeats, in characters."""
LENS: Final = "lightning_lens"
"""What Lightning Lens calls itself."""


_NOT_PLAYED: Final = "a program of its own steps these episodes: they are controlled there"
_NO_CONTROLS: Final = Controls("", (), 0.0)


class Host(Protocol):
    """What a dialogue needs to know of the server."""

    controls: Controls | None
    """How the episodes are played, when clients may have a say in it."""
    desk: Desk | None
    """The dashboard, when there is one."""

    def describe_network(self) -> Iterable[NetworkData]:
        """Describe the network, in parts."""

    def answerer(self, client: int) -> Answer:
        """Return what sends a client a message from any thread."""


class _Misfit(Exception):
    """A message cannot be understood; the text says why."""


class Dialogue:
    """Answers clients.

    Args:
        names: The names of the network.
        suggestions: Where suggestions go.
        echo: Informs everyone of a suggestion that was queued.
        relay: Passes a client's request for suggestions on to the others.
        host: Who knows the network, and plays the episodes.
    """

    def __init__(
        self,
        names: WireNames,
        suggestions: SuggestionQueue,
        echo: Callable[[SuggestionFields], None],
        relay: Callable[[Session], None],
        host: Host,
    ) -> None:
        self._names = names
        self._suggestions = suggestions
        self._echo = echo
        self._relay = relay
        self._host = host
        self._numbers = count(1)
        self._relays = TokenBucket(RELAYS_PER_SECOND, RELAY_BURST)
        self._answers: dict[str, Callable[[Session, dict[str, Any]], None]] = {
            "rebalance_suggestion": self._one_suggestion,
            "rebalance_suggestions": self._some_suggestions,
            "suggestions": self._some_suggestions,
            "request_suggestions": self._request,
            "request_network": self._network,
            "request_controls": self._controls,
            "reset": self._reset,
            "step": self._step,
            "pause": self._pause,
            "resume": self._pause,
            "set_speed": self._set_speed,
            "choose_agent": self._choose_agent,
            "register": self._register,
            "subscribe": self._subscribe,
            "heartbeat": self._heartbeat,
            "ping": self._ping,
            "connection_test": self._connection_test,
        }

    def answer(self, session: Session, raw: bytes) -> None:
        """Answer a message."""
        try:
            message = self._parse(raw)
            answer = self._answers.get(message["type"], self._ask_desk)
            answer(session, message)
        except (_Misfit, Refusal) as misfit:
            session.reply(ErrorReply, data=ErrorData(reason=str(misfit)))
        except (ValueError, OverflowError, RecursionError):
            # Numbers beyond 64 bits and the like: JSON that can be read but not be written.
            session.reply(ErrorReply, data=ErrorData(reason="expected values of ordinary size"))

    def _parse(self, raw: bytes) -> dict[str, Any]:
        """Decode a message and find its type, which may stand under either discriminator."""
        try:
            message = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as problem:
            raise _Misfit(f"expected JSON in UTF-8: {problem}") from None
        if not isinstance(message, dict):
            raise _Misfit(f"expected a JSON object, got {_kind_of(message)}")
        kind = message.get("type", message.get("event_type"))
        if not isinstance(kind, str):
            raise _Misfit("expected a 'type' (or 'event_type') that is a string")
        desk = self._host.desk
        if kind not in self._answers and not (desk and kind in desk.asks):
            quote = kind[:MAX_QUOTE]
            if kind in KINDS:
                raise _Misfit(f"only the environment publishes {kind!r}")
            raise _Misfit(f"unknown type {quote!r}.{did_you_mean(quote, self._answers)}")
        return {**message, "type": kind}

    def _one_suggestion(self, session: Session, message: dict[str, Any]) -> None:
        """Take a suggestion, under ``suggestion`` or ``data``."""
        given = _body(message, "suggestion")
        if not isinstance(given, dict):
            raise _Misfit("expected an object under 'suggestion' or 'data'")
        self._take(session, given)
        self._suggestions.answered()

    def _some_suggestions(self, session: Session, message: dict[str, Any]) -> None:
        """Take a list of suggestions, under ``suggestions`` or ``data``."""
        given = _body(message, "suggestions")
        if not isinstance(given, list) or len(given) > MAX_SUGGESTIONS:
            raise _Misfit(f"expected a list of at most {MAX_SUGGESTIONS} under 'suggestions' or 'data'")
        for index, one in enumerate(given):
            if index and not session.may_talk():
                rest = f"the last {len(given) - index} suggestions came too fast: ignored"
                session.reply(ErrorReply, data=ErrorData(reason=rest))
                break
            self._take(session, one)
        self._suggestions.answered()
        if not given:
            self._send_waiting(session)

    def _take(self, session: Session, given: Any) -> None:
        """Queue a suggestion or refuse it, and say so."""
        try:
            fitted = _fit(given, InboundSuggestion)
            suggestion = check_suggestion(
                self._names, self._suggestions.offer, fitted, session.number, next(self._numbers)
            )
            self._suggestions.put(suggestion)
        except (_Misfit, Refused) as problem:
            session.reply(SuggestionAck, data=_refusal(given, str(problem)))
        else:
            session.reply(SuggestionAck, data=suggestion.answer("queued"))
            self._echo(suggestion.fields)

    def _request(self, session: Session, message: dict[str, Any]) -> None:
        """Say what waits, and ask the others."""
        self._send_waiting(session)
        if self._relays.take():
            self._relay(session)

    def _send_waiting(self, session: Session) -> None:
        """Say what waits, the best of it where that is much."""
        session.reply(QueuedSuggestions, suggestions=self._suggestions.waiting()[:MAX_SUGGESTIONS])

    def _network(self, session: Session, message: dict[str, Any]) -> None:
        """Describe the network."""
        for part in self._host.describe_network():
            session.reply(Network, data=part)

    def _controls(self, session: Session, message: dict[str, Any]) -> None:
        """Say how the episodes are played, and whether this client may change it."""
        controls = self._host.controls
        why = session.control_refusal if controls else _NOT_PLAYED
        described = (controls or _NO_CONTROLS).describe(allowed=not why, why=why)
        session.reply(ControlsMessage, data=described)

    def _allowed(self, session: Session) -> Controls:
        """Return the controls, for a client that may use them."""
        if self._host.controls is None:
            raise Refusal(_NOT_PLAYED)
        if session.control_refusal:
            raise Refusal(session.control_refusal)
        return self._host.controls

    def _command(self, session: Session, what: Step | Reset | Choose) -> None:
        """Have something done next."""
        if not self._allowed(session).ask(Command(what, session.number)):
            raise Refusal("too many commands wait: send the next when the last was answered")

    def _reset(self, session: Session, message: dict[str, Any]) -> None:
        """Begin an episode."""
        self._command(session, Reset(_fit(message, InReset).seed))

    def _step(self, session: Session, message: dict[str, Any]) -> None:
        """Make a step."""
        self._command(session, Step(_fit(message, InStep).action))

    def _pause(self, session: Session, message: dict[str, Any]) -> None:
        """Pause, or go on."""
        self._allowed(session).pause(message["type"] == "pause")

    def _set_speed(self, session: Session, message: dict[str, Any]) -> None:
        """Set the pace."""
        self._allowed(session).set_speed(_fit(message, InSetSpeed).steps_per_second)

    def _choose_agent(self, session: Session, message: dict[str, Any]) -> None:
        """Let another agent play on."""
        controls = self._allowed(session)
        agent = _fit(message, InChooseAgent).agent
        if not controls.knows(agent):
            known = controls.agents
            quote = agent[:MAX_QUOTE]
            raise Refusal(f"unknown agent {quote!r}.{did_you_mean(quote, known)} Known: {', '.join(known)}")
        self._command(session, Choose(agent))

    def _ask_desk(self, session: Session, message: dict[str, Any]) -> None:
        """Have the dashboard answer."""
        desk = self._host.desk
        if desk is not None:
            fitted = _fit(message, desk.asks[message["type"]])
            desk.answer(fitted, not session.control_refusal, self._host.answerer(session.number))

    def _register(self, session: Session, message: dict[str, Any]) -> None:
        """Greet a client that says who it is."""
        client = _fit(message, InRegister).client[:MAX_QUOTE]
        if client == LENS and not session.subscribed:
            # Unmodified, it fails on every request; our launcher mends that, and subscribes.
            session.mask &= ~kinds_mask(["request_suggestions"])
        session.reply(Registered, data=RegisteredData(client=client, client_id=session.number))

    def _subscribe(self, session: Session, message: dict[str, Any]) -> None:
        """Choose the kinds of published messages that a client receives."""
        kinds = list(_fit(message, InSubscribe).kinds)
        session.mask = kinds_mask(kinds)
        session.subscribed = True
        session.reply(
            Subscribed, data=SubscribedData(kinds=[kind for kind in (*KINDS, *KINDS_ON_REQUEST) if kind in kinds])
        )

    def _heartbeat(self, session: Session, message: dict[str, Any]) -> None:
        """Answer a heartbeat."""
        session.reply(HeartbeatResponse)

    def _ping(self, session: Session, message: dict[str, Any]) -> None:
        """Answer a ping."""
        session.reply(Pong)

    def _connection_test(self, session: Session, message: dict[str, Any]) -> None:
        """Send back what came."""
        session.reply(ConnectionTestResponse, data=EchoData(received_at=now(), echo_data=message.get("data", {})))


def _body(message: dict[str, Any], key: str) -> Any:
    """Return what stands under a key, or failing that under ``data``."""
    given = message.get(key)
    return message.get("data") if given is None else given


def _fit(given: Any, kind: type[Any]) -> Any:
    """Convert plain data to a structure."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as problem:
        raise _Misfit(f"{problem}{hint(str(problem), kind)}") from None


def _refusal(given: Any, why: str) -> Acknowledgement:
    """Return the acknowledgement of a suggestion that may have any shape."""
    given = given if isinstance(given, dict) else {}

    def text(name: str) -> str:
        value = given.get(name, "")
        return str(value)[:MAX_QUOTE] if isinstance(value, (str, int)) else ""

    amount = given.get("amount")
    in_range = isinstance(amount, int) and not isinstance(amount, bool) and abs(amount) < 2**63
    return Acknowledgement(
        id=text("id"),
        status="refused",
        from_node=text("from_node"),
        to_node=text("to_node"),
        amount=amount if in_range else 0,
        fee_msat=0,
        why=why,
    )


def _kind_of(value: Any) -> str:
    """Name a JSON type."""
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
