"""What waits for clients, counted once whoever it waits for, and connections that are no client's yet."""

from __future__ import annotations

from websockets.asyncio.server import ServerConnection

__all__ = ["Door", "Shelf"]


class Shelf:
    """Counts the bytes that wait for all clients together.

    Args:
        most: Bytes from which on it is full.
    """

    def __init__(self, most: int) -> None:
        self.bytes = 0
        """Bytes that wait now."""
        self._most = most
        self._waits: dict[int, int] = {}
        """For how many clients published messages wait, by the identity of their bytes."""

    @property
    def full(self) -> bool:
        """Whether more waits than may."""
        return self.bytes > self._most

    def put(self, frames: bytes) -> None:
        """Count published messages for one more client."""
        waits = self._waits.get(id(frames), 0)
        if not waits:
            self.bytes += len(frames)
        self._waits[id(frames)] = waits + 1

    def take(self, frames: bytes) -> None:
        """Count them for one client less."""
        waits = self._waits.pop(id(frames)) - 1
        if waits:
            self._waits[id(frames)] = waits
        else:
            self.bytes -= len(frames)


class Door:
    """Connections whose opening handshake, or refusal, is not over. The one that came first makes room for others.

    Args:
        most: How many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._opening: dict[ServerConnection, None] = {}

    def enter(self, connection: ServerConnection) -> None:
        """Take a connection in."""
        if len(self._opening) >= self._most:
            first = next(iter(self._opening))
            self.leave(first)
            first.transport.abort()
        self._opening[connection] = None

    def leave(self, connection: ServerConnection) -> None:
        """Let go of a connection that is a client's now, or lost."""
        self._opening.pop(connection, None)
