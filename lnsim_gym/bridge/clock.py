"""Timestamps of messages: UTC, and never the same twice."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["Allowance", "Clock", "now"]


def now() -> str:
    """Return the time as messages write it: UTC, ISO 8601 with six decimals, no offset."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


class Allowance:
    """Allows so many things per second on average, and a burst at once (a token bucket).

    Args:
        per_second: How many are allowed per second.
        burst: How many are allowed at once after a while of none; at least one.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, max(1.0, burst)
        self._left = self._burst
        self._counted_s = time.monotonic()

    @property
    def full(self) -> bool:
        """Whether nothing was asked for of late."""
        self._refill()
        return self._left >= self._burst

    def take(self) -> bool:
        """Use one up, and return whether there was one left."""
        self._refill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def _refill(self) -> None:
        """Add what the time since the last count allows."""
        now_s = time.monotonic()
        self._left = min(self._burst, self._left + self._per_second * (now_s - self._counted_s))
        self._counted_s = now_s


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
        return b"%b%06d" % (self._prefix, us % 1_000_000)
