"""One connected client: what waits for it, how fast it may talk, and what it asked to receive."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from lnsim_gym.bridge.frames import EVERY_KIND, Chunk, encode, text_frame
from lnsim_gym.bridge.messages import Dropped, DroppedData
from lnsim_gym.bridge.settings import BridgeSettings
from lnsim_gym.bridge.shelf import Shelf
from lnsim_gym.bridge.token_bucket import TokenBucket

__all__ = ["Session"]

MAX_REPLIES: Final = 2000
"""Replies that wait for a client at most; one that asks on without reading is cut off."""
MAX_REPLY_BYTES: Final = 2**22
"""Bytes of replies that wait for a client at most, beyond a single one of any size."""
SILENT_INTERVALS: Final = 3
"""Intervals between pings for which a client may give no sign of life; a slow one reads in lumps that last long."""
MAX_EXCESS: Final = 10_000
"""Messages beyond its rate, without a rest, after which a client is cut off."""
BATCH_BYTES: Final = 2**19
"""Bytes written at once; a write for every step would cost more than the writing itself."""

MakeReply = Callable[..., msgspec.Struct]


class Session:
    """A client as the server sees it. Used in the server's thread alone.

    Args:
        number: Number of the client.
        connection: Its connection.
        settings: Settings of the bridge.
        make_reply: Makes a message of a class, envelope included, from its own fields.
        tell_state: Tells a session where the episode stands, by its ``begin_at``.
        shelf: Counts what waits for all clients.
        control_refusal: Why the client may not control the episodes; empty when it may.
    """

    def __init__(
        self,
        number: int,
        connection: ServerConnection,
        settings: BridgeSettings,
        make_reply: MakeReply,
        tell_state: Callable[[Session], None],
        shelf: Shelf,
        control_refusal: str = "",
    ) -> None:
        self.number = number
        self.control_refusal = control_refusal
        """Why the client may not control the episodes; empty when it may."""
        self.mask = EVERY_KIND
        self.subscribed = False
        """Whether the client chose its kinds of messages itself."""
        self.dropped = 0
        """Published messages dropped since the client connected."""
        self.sent = 0
        """Published messages handed to the connection."""
        self.excess = 0
        """Messages of the client beyond its rate since it last rested."""
        self._connection = connection
        self._settings = settings
        self._make_reply = make_reply
        self._tell_state = tell_state
        self._shelf = shelf
        self._told_seq = 0
        """Number of the last message that the client knows from the state."""
        self._state = b""
        """The state, while it waits; it goes before everything else."""
        self._replies: deque[bytes] = deque()
        self._chunks: deque[tuple[bytes, int]] = deque()
        self._reply_bytes = self._bytes = self._messages = self._unreported = self._written = self._heard = 0
        self._ready = asyncio.Event()
        self._rate = TokenBucket(settings.messages_per_second, 2 * settings.messages_per_second)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of published messages that wait."""
        return self._bytes

    @property
    def waits(self) -> bool:
        """Whether anything waits to be written."""
        return (
            bool(self._state or self._replies or self._chunks) or self._connection.transport.get_write_buffer_size() > 0
        )

    def reply(self, kind: type[msgspec.Struct], **fields: Any) -> None:
        """Send this client a message of its own."""
        too_many = len(self._replies) >= MAX_REPLIES or self._reply_bytes > MAX_REPLY_BYTES
        if too_many or (self._replies and self._shelf.full):
            self._connection.transport.abort()
            return
        frame = text_frame(encode(self._make_reply(kind, **fields)))
        self._replies.append(frame)
        self._reply_bytes += len(frame)
        self._shelf.bytes += len(frame)
        self._ready.set()

    def begin_at(self, seq: int, state: list[msgspec.Struct]) -> None:
        """Tell the client the state after a message, and from now on the messages after that one.

        Args:
            seq: Number of the message.
            state: The messages that tell the state.
        """
        self._told_seq = seq
        self._put_state(b"".join([text_frame(encode(message)) for message in state]))
        self._ready.set()

    def offer(self, chunk: Chunk) -> None:
        """Let published messages wait for the client; when too many do, it will be told the state instead."""
        if chunk.last_seq <= self._told_seq and not chunk.timeless:
            return
        frames, count = chunk.select(self.mask)
        if not count:
            return
        self._chunks.append((frames, count))
        self._shelf.put(frames)
        self._bytes += len(frames)
        self._messages += count
        settings = self._settings
        while len(self._chunks) > 1 and (
            self._messages > settings.queue_messages or self._bytes > settings.queue_bytes
        ):
            self._lose_oldest()
        self._ready.set()

    def lose_oldest(self) -> bool:
        """Drop the oldest published messages that wait; False when none do."""
        if not self._chunks:
            return False
        self._lose_oldest()
        return True

    def forget(self) -> None:
        """Drop all that waits: the client is gone."""
        self._take_state()
        while self._replies:
            self._pop_reply()
        while self._chunks:
            self._pop_chunk()

    async def write_forever(self) -> None:
        """Write what waits whenever the connection takes it; ends when the connection closes."""
        connection = self._connection
        while connection.state is State.OPEN:
            if self._unreported and not self._replies:
                self._catch_up()
            batch = self._pop_next()
            if not batch:
                self._ready.clear()
                await self._ready.wait()
                continue
            self._written += sum(map(len, batch))
            connection.transport.writelines(batch)
            await connection.drain()

    async def watch(self) -> None:
        """Cut the client off once it gives no sign of life for some intervals; ends when the connection closes.

        The library's own keepalive would cut off a slow client, whose pong waits behind all that it has yet to read,
        and would wait forever for one that stopped reading.
        """
        interval_s = self._settings.ping_interval_s
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(interval_s)
                heard = self._heard
                taken = self._taken()
                try:
                    async with asyncio.timeout(SILENT_INTERVALS * interval_s):
                        await (await self._connection.ping())
                except TimeoutError:
                    if self._heard == heard and self._taken() <= taken:
                        self._connection.transport.abort()

    def may_talk(self) -> bool:
        """Count a message or a suggestion of the client, and return whether it keeps to its rate."""
        self._heard += 1
        if self._rate.full:
            self.excess = 0
        if self._rate.take():
            return True
        self.excess += 1
        if self.excess > MAX_EXCESS:
            self._connection.transport.abort()
        return False

    def _taken(self) -> int:
        """Return how many bytes the client's side has taken."""
        transport = self._connection.transport
        return self._written - transport.get_write_buffer_size() - _unacknowledged(transport)

    def _pop_next(self) -> list[bytes]:
        """Take out what is to be written next; nothing when nothing waits."""
        if self._state:
            return [self._take_state()]
        return [self._pop_reply()] if self._replies else self._pop_batch()

    def _pop_reply(self) -> bytes:
        """Take out the oldest reply that waits."""
        frame = self._replies.popleft()
        self._reply_bytes -= len(frame)
        self._shelf.bytes -= len(frame)
        return frame

    def _put_state(self, state: bytes) -> None:
        """Let a state wait, in place of another that does."""
        self._take_state()
        self._state = state
        self._shelf.bytes += len(state)

    def _take_state(self) -> bytes:
        """Take out the state that waits."""
        state, self._state = self._state, b""
        self._shelf.bytes -= len(state)
        return state

    def _lose_oldest(self) -> None:
        """Drop the oldest published messages that wait, and count them."""
        lost = self._pop_chunk()[1]
        self.dropped += lost
        self._unreported += lost

    def _pop_chunk(self) -> tuple[bytes, int]:
        """Take out the oldest chunk that waits."""
        frames, count = self._chunks.popleft()
        self._shelf.take(frames)
        self._bytes -= len(frames)
        self._messages -= count
        return frames, count

    def _pop_batch(self) -> list[bytes]:
        """Take out the oldest chunks that wait, as many as are worth one write, and count them as sent."""
        batch: list[bytes] = []
        size = 0
        while self._chunks and size < BATCH_BYTES:
            frames, count = self._pop_chunk()
            batch.append(frames)
            size += len(frames)
            self.sent += count
        return batch

    def _catch_up(self) -> None:
        """Tell the client how much it lost, and the state in place of what still waits."""
        waiting = [self._pop_chunk()[1] for _ in range(len(self._chunks))]
        self.dropped += sum(waiting)
        lost = self._unreported + sum(waiting)
        self._unreported = 0
        self._tell_state(self)
        notice = self._make_reply(Dropped, data=DroppedData(messages=lost, total=self.dropped))
        self._put_state(text_frame(encode(notice)) + self._state)


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Return the bytes that the system keeps because the other side has not taken them; 0 where it does not say."""
    # Windows has neither module, and no such question.
    with contextlib.suppress(OSError, ImportError):
        import fcntl  # noqa: PLC0415
        import termios  # noqa: PLC0415

        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, sys.byteorder)
    return 0
