"""Timestamps of messages: UTC, and never the same twice."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["Clock", "now"]


def now() -> str:
    """Return the time as messages write it: ISO 8601 with six decimals, UTC, ending with ``Z``."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


class Clock:
    """Hands out strictly increasing timestamps.

    Readers divide by the time between two records of a channel, so it must never be zero.
    """

    def __init__(self) -> None:
        self._last_us = 0
        self._second_ends_us = 0
        self._prefix = b""

    def tick(self) -> bytes:
        """Return the time, or a microsecond after the last timestamp, whichever is later."""
        us = self._last_us = max(time.time_ns() // 1000, self._last_us + 1)
        if us >= self._second_ends_us:
            second = us // 1_000_000
            self._second_ends_us = 1_000_000 * (second + 1)
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()
        return b"%b%06dZ" % (self._prefix, us % 1_000_000)
