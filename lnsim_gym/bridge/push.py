"""Posting flat records to Lightning Lens over HTTP, from a thread of its own.

Nothing here ever holds up an episode: records wait in a bounded queue, the oldest are dropped and counted.
"""

from __future__ import annotations

import http.client
import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from lnsim_gym.bridge.frames import encode
from lnsim_gym.errors import ConfigError

__all__ = ["LensPusher", "PushCounts"]

MAX_WAITING: Final = 10_000
"""Records that wait at most."""
BATCH: Final = 256
"""Records sent one after the other over one connection, before the queue is looked at once more."""
MAX_TRIES: Final = 4
"""Times a record is sent while the other side answers that something behind it is at fault (status 500 and above)."""
TIMEOUT_S: Final = 5.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0

_log = logging.getLogger(__name__)


class PushCounts(NamedTuple):
    """What a pusher did so far, in records."""

    sent: int
    """Accepted by the other side."""
    refused: int
    """Answered with an error."""
    dropped: int
    """Dropped, because the other side was down or slow until too many waited or the stream ended."""


class LensPusher:
    """Posts each record to ``/api/update`` of an address, one JSON object a request, as its reader expects.

    Args:
        address: Base address, as in ``http://127.0.0.1:5050``.

    Raises:
        ConfigError: The address is no HTTP address.
    """

    def __init__(self, address: str) -> None:
        self._address, self._path = _parse(address)
        self._waiting: deque[dict[str, Any]] = deque()
        self._sent = self._refused = self._dropped = self._tries = 0
        self._work = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lnsim-lens", daemon=True)

    def start(self) -> None:
        """Start to send."""
        self._thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """Stop, giving what waits a moment to be sent; harmless when stopped already."""
        self._end.set()
        self._work.set()
        self._thread.join(patience_s)

    def offer(self, records: Iterable[dict[str, Any]]) -> None:
        """Let records wait to be sent."""
        self._waiting.extend(records)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._work.set()

    def counts(self) -> PushCounts:
        """Return what was done so far."""
        left = len(self._waiting) if self._end.is_set() else 0
        return PushCounts(self._sent, self._refused, self._dropped + left)

    def _run(self) -> None:
        """Send batches until the end; pause longer and longer while the other side is down."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._work.wait()
            self._work.clear()
            while self._waiting:
                try:
                    self._send_batch()
                    pause_s = FIRST_PAUSE_S
                except (OSError, http.client.HTTPException) as problem:
                    _log.debug("no answer from %s:%d (%s), next try in %g s", *self._address, problem, pause_s)
                    if self._end.wait(pause_s):
                        return
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            if self._end.is_set():
                return

    def _send_batch(self) -> None:
        """Send the oldest records over one connection."""
        connection = http.client.HTTPConnection(*self._address, timeout=TIMEOUT_S)
        try:
            for _ in range(min(BATCH, len(self._waiting))):
                record = self._waiting.popleft()
                try:
                    accepted = self._post(connection, record)
                except (OSError, http.client.HTTPException):
                    self._waiting.appendleft(record)
                    raise
                self._sent += accepted
                self._refused += not accepted
        finally:
            connection.close()

    def _post(self, connection: http.client.HTTPConnection, record: dict[str, Any]) -> bool:
        """Post a record and return whether it was accepted; a fault behind the other side is as good as no answer."""
        connection.request("POST", self._path, encode(record), {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            response.read()
            self._tries += 1
            if response.status >= 500 and self._tries < MAX_TRIES:
                raise http.client.HTTPException(f"status {response.status}")
            self._tries = 0
            return 200 <= response.status < 300


def _parse(address: str) -> tuple[tuple[str, int], str]:
    """Return host and port of a base address, and the path to post to."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
        port = parts.port or 80
        (host or "").encode("idna")
        parts.path.encode("ascii")
    except ValueError:
        host = None
        port = 0
    if host is None or parts.scheme != "http":
        raise ConfigError(f"expected an address like http://127.0.0.1:5050, got {address!r}")
    return (host, port), parts.path.rstrip("/") + "/api/update"
