"""The WebSocket server: an asyncio loop in a thread of its own, so that no client can hold up an episode.

The thread that steps the environment hands chunks over and goes on; it never waits for a client. It waits, for a
moment, only when this server itself falls behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import http
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from lnsim_gym.bridge.clock import now
from lnsim_gym.bridge.controls import Controls
from lnsim_gym.bridge.description import Place, describe_network
from lnsim_gym.bridge.desk import Answer, Desk, Page
from lnsim_gym.bridge.dialogue import Dialogue
from lnsim_gym.bridge.frames import Chunk, encode, kinds_mask
from lnsim_gym.bridge.messages import (
    Acknowledgement,
    ConnectionData,
    ConnectionStatus,
    ErrorData,
    ErrorReply,
    NetworkData,
    RequestData,
    RequestSuggestions,
    StateUpdate,
    SuggestionAck,
    SuggestionEcho,
    SuggestionFields,
)
from lnsim_gym.bridge.messages import Controls as ControlsMessage
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.bridge.schema import schema_json
from lnsim_gym.bridge.session import Session
from lnsim_gym.bridge.settings import BridgeSettings, Gate
from lnsim_gym.bridge.shelf import Door, Shelf
from lnsim_gym.bridge.state import Moment, RecentSteps
from lnsim_gym.bridge.suggestions import Suggestion, SuggestionQueue
from lnsim_gym.bridge.token_bucket import TokenBucket
from lnsim_gym.errors import ConfigError

__all__ = ["BridgeServer", "ServerCounts"]

MAX_HANDED_OVER: Final = 64
"""Chunks that wait for the server's thread at most."""
PATIENCE_S: Final = 1.0
"""Longest wait for a server that fell behind, before a chunk is dropped for everyone."""
OPEN_TIMEOUT_S: Final = 5.0
"""Time for a client to finish its opening handshake."""
REQUESTS_PER_SECOND: Final = 50.0
"""Connections and HTTP requests looked at per second, on average; twice ``max_clients`` in a burst."""
JOINS_PER_SECOND: Final = 5.0
"""Clients let in per second, on average; ``max_clients`` in a burst. Telling one where the episode is takes long."""
OPENING: Final = 128
"""Connections at once that are no client's yet, beyond ``max_clients`` of them; so descriptors are bounded."""
WRITE_LIMIT: Final = 2**18
"""Bytes buffered by a connection before its writer waits."""

_UNCLEAR: Final = "expected a path, and Host, Origin and Authorization once at most\n"
_WAIT: Final = "too many requests: wait a moment\n"

_log = logging.getLogger(__name__)
# The library reports every broken handshake with a traceback; hostile peers would fill the log.
_library_log = logging.getLogger(f"{__name__}.connections")
_library_log.setLevel(logging.CRITICAL)


class ServerCounts(NamedTuple):
    """What a server did so far."""

    clients: int
    """Connected now."""
    sent: int
    """Published messages handed to connections."""
    dropped: int
    """Published messages dropped because a client was slow."""
    lost: int
    """Published messages dropped for everyone, because the server fell behind or was gone."""


class _Connection(ServerConnection):
    """A connection that goes through the door, and then is a client's.

    Args:
        door: The door.
        leave: Forgets the client.
        arguments: As the library makes connections.
        options: The same.
    """

    def __init__(self, door: Door, leave: Callable[[Session], None], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.session: Session | None = None
        """The client, once it is let in."""
        self._door = door
        self._leave = leave

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        super().connection_made(transport)
        self._door.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._door.leave(self)
        if self.session is not None:
            self._leave(self.session)
        super().connection_lost(exc)


class BridgeServer:
    """Serves WebSocket clients, and a little HTTP, on one port.

    Args:
        settings: Settings of the bridge.
        names: The names of the network.
        state: What new clients are told.
        suggestions: Where suggestions go.
        played: Where an episode that has not begun stands.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        names: WireNames,
        state: RecentSteps,
        suggestions: SuggestionQueue,
        played: Place,
    ) -> None:
        self.controls: Controls | None = None
        """How the episodes are played, when clients may have a say in it."""
        self.desk: Desk | None = None
        """The dashboard, when there is one."""
        self.audience = 0
        """Clients that have joined."""
        self.port = settings.port
        """Port listened on."""
        self._settings = settings
        self._state = state
        self._suggestions = suggestions
        self._gate = Gate(settings)
        self._requests = TokenBucket(REQUESTS_PER_SECOND, 2 * settings.max_clients)
        self._joins = TokenBucket(JOINS_PER_SECOND, settings.max_clients)
        self._dialogue = Dialogue(names, suggestions, self._echo, self._relay, self)
        self._names = names
        self._played = played
        self._sessions: dict[int, Session] = {}
        self._shelf = Shelf(settings.total_bytes)
        self._door = Door(settings.max_clients + OPENING)
        self._numbers = count(1)
        self._gone_sent = self._gone_dropped = self._lost = 0
        self._handed_over: deque[Chunk] = deque()
        self._scheduled = False
        self._room = threading.Event()
        self._started = threading.Event()
        self._problem: OSError | None = None
        self._loop = asyncio.new_event_loop()
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="lnsim-bridge", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the server's thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start to listen.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        self._thread.start()
        self._started.wait()
        if self._problem is not None:
            settings = self._settings
            problem = self._problem
            remedy = "choose another address"
            if problem.errno == errno.EADDRINUSE:
                remedy = "choose another port, or end the program that uses it"
            raise ConfigError(
                f"expected to listen on {settings.host} port {settings.port}, got {problem.strerror}: {remedy}"
            ) from None

    def stop(self) -> None:
        """Say goodbye to the clients and stop; harmless when stopped already."""
        if self._call(self._finish):
            self._thread.join(timeout=10)

    def publish(self, chunk: Chunk) -> None:
        """Hand a chunk over to the server's thread."""
        if len(self._handed_over) >= MAX_HANDED_OVER and not self._wait_for_room():
            self._lost += len(chunk.frames)
            return
        self._handed_over.append(chunk)
        if not self._scheduled:
            self._scheduled = True
            if not self._call(self._distribute):
                self._lost += len(chunk.frames)
                self._handed_over.clear()

    def drain(self, patience_s: float) -> bool:
        """Wait until nothing waits for any client; False when something still does after the patience."""
        until = time.monotonic() + patience_s
        while self._handed_over or any(session.waits for session in list(self._sessions.values())):
            if time.monotonic() > until or not self.alive:
                return False
            time.sleep(0.002)
        return True

    def send_answer(self, suggestion: Suggestion, answer: Acknowledgement) -> None:
        """Send a client the answer to its suggestion, when it is still there."""
        self._call(self._acknowledge, suggestion.client, answer)

    def send_error(self, client: int, reason: str) -> None:
        """Tell a client, when it is still there, that what it asked for cannot be done."""
        self.answerer(client)(ErrorReply, data=ErrorData(reason=reason))

    def answerer(self, client: int) -> Answer:
        """Return what sends a client a message from any thread, when it is still there."""

        def send(kind: type[Any], **fields: Any) -> None:
            session = self._sessions.get(client)
            if session is not None:
                session.reply(kind, **fields)

        def answer(kind: type[Any], **fields: Any) -> None:
            self._call(functools.partial(send, kind, **fields))

        return answer

    def tell_controls(self) -> None:
        """Publish how the episodes are played, from any thread."""
        self._call(self._spread_controls)

    def wants(self, kind: str) -> bool:
        """Whether any client subscribes to a kind of message that is published on request only."""
        mask = kinds_mask([kind])
        return any(session.mask & mask for session in list(self._sessions.values()))

    def describe_network(self) -> Iterator[NetworkData]:
        """Describe the network where it stands, in parts."""
        moment = self._state.moment
        place = self._played._replace(episode=moment.episode, steps=moment.steps, seed=moment.seed)
        return describe_network(self._names, moment.topology, moment.balances_msat, place)

    def counts(self) -> ServerCounts:
        """Return what was done so far."""
        sessions = list(self._sessions.values())
        return ServerCounts(
            clients=len(sessions),
            sent=self._gone_sent + sum(session.sent for session in sessions),
            dropped=self._gone_dropped + sum(session.dropped for session in sessions),
            lost=self._lost,
        )

    def _call(self, function: Callable[..., Any], *arguments: Any) -> bool:
        """Have the server's thread call a function; False when it is gone."""
        if not self.alive:
            return False
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True

    def _wait_for_room(self) -> bool:
        """Wait until the server's thread has taken what was handed over."""
        self._room.clear()
        return len(self._handed_over) < MAX_HANDED_OVER or (self.alive and self._room.wait(PATIENCE_S))

    # The rest runs in the server's thread.

    def _run(self) -> None:
        """Run the loop until the end."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as problem:
            self._problem = problem
        except asyncio.CancelledError:
            _log.warning("the bridge was cancelled; the episodes go on without it")
        finally:
            self._started.set()
            self._loop.close()
            with self._state.lock:
                self.audience = 0
            self._suggestions.look_again()

    async def _serve(self) -> None:
        """Listen until told to finish."""
        settings = self._settings
        self._end = asyncio.Event()
        async with serve(
            self._handle,
            settings.host,
            settings.port,
            process_request=self._admit,
            process_response=self._let_in,
            compression=None,
            max_size=settings.max_message_bytes,
            max_queue=16,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=2,
            ping_interval=None,
            write_limit=WRITE_LIMIT,
            server_header=None,
            logger=_library_log,
            create_connection=functools.partial(_Connection, self._door, self._leave),  # type: ignore[arg-type]
        ) as server:
            self.port = _port_of(server)
            self._started.set()
            await self._end.wait()

    def _finish(self) -> None:
        """Let ``_serve`` end."""
        if self._end is not None:
            self._end.set()

    def _distribute(self) -> None:
        """Offer what was handed over to every client."""
        self._scheduled = False
        while self._handed_over:
            chunk = self._handed_over.popleft()
            self._room.set()
            for session in self._sessions.values():
                session.offer(chunk)
        self._make_room()

    def _make_room(self) -> None:
        """Let those that most waits for lose messages until no more waits than may."""
        while self._shelf.full:
            slowest = max(self._sessions.values(), key=lambda session: session.waiting_bytes, default=None)
            if slowest is None or not slowest.lose_oldest():
                return

    def _acknowledge(self, client: int, answer: Acknowledgement) -> None:
        """Send an acknowledgement."""
        session = self._sessions.get(client)
        if session is not None:
            session.reply(SuggestionAck, data=answer)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide on a request: refuse it, or see what it is about."""
        try:
            return self._decide(connection, request)
        except (MultipleValuesError, ValueError):
            return connection.respond(http.HTTPStatus.BAD_REQUEST, _UNCLEAR)

    def _decide(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide on a request.

        Raises:
            MultipleValuesError: A header that decides is there more than once.
            ValueError: Its path is none.
        """
        path = urlsplit(request.path).path
        page = None if "Upgrade" in request.headers or self.desk is None else self.desk.page(path)
        refusal = self._gate.refusal(request.path, request.headers, public=page is not None)
        if refusal is not None:
            return connection.respond(*refusal)
        if not self._requests.take():
            return connection.respond(http.HTTPStatus.TOO_MANY_REQUESTS, _WAIT)
        return self._answer_http(connection, path) if page is None else _response(page)

    def _answer_http(self, connection: ServerConnection, path: str) -> Response | None:
        """Answer a request over HTTP, or let the handshake go on."""
        if path == "/api/suggestions":
            return _response(Page(encode(self._suggestions.waiting()), "application/json"))
        if path == "/api/schema":
            return _response(Page(schema_json(), "application/json"))
        if path not in ("/", "/ws"):
            return connection.respond(http.HTTPStatus.NOT_FOUND, "expected /, /api/suggestions or /api/schema\n")
        if len(self._sessions) >= self._settings.max_clients:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n")
        if not self._joins.take():
            return connection.respond(http.HTTPStatus.TOO_MANY_REQUESTS, _WAIT)
        return None

    def _let_in(self, connection: ServerConnection, request: Request, response: Response) -> None:
        """Take a client in before it hears that it is connected, so that it misses nothing from then on."""
        if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
            assert isinstance(connection, _Connection)
            connection.session = self._join(connection, request.headers)

    async def _handle(self, connection: ServerConnection) -> None:
        """Serve one client until it goes."""
        assert isinstance(connection, _Connection)
        session = connection.session
        assert session is not None
        tasks = [asyncio.create_task(session.write_forever()), asyncio.create_task(session.watch())]
        try:
            with contextlib.suppress(ConnectionClosed):
                await self._listen(connection, session)
        finally:
            for task in tasks:
                task.cancel()

    async def _listen(self, connection: ServerConnection, session: Session) -> None:
        """Answer a client's messages."""
        refused = False
        while True:
            raw = await connection.recv(decode=False)
            if session.may_talk():
                self._dialogue.answer(session, raw)
                refused = False
            elif not refused:
                refused = True
                rate = self._settings.messages_per_second
                session.reply(ErrorReply, data=ErrorData(reason=f"more than {rate:g} messages per second: ignored"))

    def _join(self, connection: ServerConnection, headers: Headers) -> Session:
        """Take a new client in and tell it where the episode stands."""
        with self._state.lock:
            self.audience += 1
            moment = self._state.moment
            made = list(self._state.made)
        self._door.leave(connection)
        address = str(connection.remote_address[0])
        refusal = self._gate.control_refusal(address, headers)
        session = Session(
            next(self._numbers), connection, self._settings, self._reply, self._tell_state, self._shelf, refusal
        )
        try:
            self._tell(session, moment, made)
        except BaseException:
            self._leave_audience()
            raise
        greeting = ConnectionData(client_id=session.number, server_time=now(), message="connected to lnsim")
        session.reply(ConnectionStatus, data=greeting)
        self._sessions[session.number] = session
        return session

    def _tell_state(self, session: Session) -> None:
        """Tell a client where the episode stands, in place of all that it was told before."""
        with self._state.lock:
            moment, made = self._state.moment, list(self._state.made)
        self._tell(session, moment, made)

    def _tell(self, session: Session, moment: Moment, made: list[Moment]) -> None:
        """Tell a client of a moment and the steps before it."""
        parts = self._state.describe(moment, made, self._settings.history, self._suggestions.is_open)
        session.begin_at(moment.seq, [self._reply(StateUpdate, data=part) for part in parts])

    def _leave(self, session: Session) -> None:
        """Forget a client."""
        del self._sessions[session.number]
        session.forget()
        self._gone_sent += session.sent
        self._gone_dropped += session.dropped
        self._leave_audience()

    def _leave_audience(self) -> None:
        """Count one listener less."""
        with self._state.lock:
            self.audience -= 1
        self._suggestions.look_again()

    def _reply(self, kind: type[Any], **fields: Any) -> msgspec.Struct:
        """Make a message that is not part of the episodes."""
        message: msgspec.Struct = kind(seq=self._state.moment.seq, timestamp=now(), **fields)
        return message

    def _echo(self, fields: SuggestionFields) -> None:
        """Tell everyone of a suggestion that was queued."""
        self._spread(self._reply(SuggestionEcho, data=fields, suggestion=fields))

    def _relay(self, asking: Session) -> None:
        """Ask all clients but one for suggestions."""
        moment = self._state.moment
        data = RequestData(episode=moment.episode, step=moment.steps, deadline_s=0.0)
        self._spread(self._reply(RequestSuggestions, data=data), besides=asking)

    def _spread_controls(self) -> None:
        """Tell everyone who subscribes to it how the episodes are played."""
        if self.controls is not None:
            self._spread(self._reply(ControlsMessage, data=self.controls.describe()))

    def _spread(self, message: Any, besides: Session | None = None) -> None:
        """Send a message that is not part of the episodes to everyone."""
        chunk = Chunk(first_seq=0, timeless=True)
        chunk.add(message.type, encode(message))
        for session in self._sessions.values():
            if session is not besides:
                session.offer(chunk)


def _response(page: Page) -> Response:
    """Return a page as a response."""
    headers = Headers(page.headers)
    headers["Content-Type"] = page.content_type
    headers["Content-Length"] = str(len(page.body))
    headers["Connection"] = "close"
    return Response(http.HTTPStatus.OK.value, http.HTTPStatus.OK.phrase, headers, page.body)


def _port_of(server: Server) -> int:
    """Return the port that a server listens on."""
    return int(next(iter(server.sockets)).getsockname()[1])
