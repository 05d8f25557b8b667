"""Timestamps of messages: UTC, and never the same twice."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["Clock", "now"]


def now() -> str:
    """Return the time as messages write it: UTC, ISO 8601 with six decimals, no offset."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


class Clock:
    """Hands out strictly increasing timestamps.

    Readers divide by the time between two records of a channel, so it must never be zero.
    """

    def __init__(self) -> None:
        self._last_us = 0
        self._second = -1
        self._prefix = ""

    def tick(self) -> str:
        """Return the time, or a microsecond after the last timestamp, whichever is later."""
        self._last_us = max(time.time_ns() // 1000, self._last_us + 1)
        second, micros = divmod(self._last_us, 1_000_000)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._prefix}{micros:06d}"
