"""A bound on how often something may happen, by a token bucket."""

from __future__ import annotations

import time

__all__ = ["TokenBucket"]


class TokenBucket:
    """Allows a number of things per second on average, and a burst at once.

    Args:
        per_second: How many are allowed per second.
        burst: How many are allowed at once after a while of none; at least one.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, burst)
        self._left = self._burst
        self._counted_s = time.monotonic()

    @property
    def full(self) -> bool:
        """Whether nothing was taken out of late."""
        self._refill()
        return self._left >= self._burst

    def take(self) -> bool:
        """Take a token out, and return whether there was one."""
        self._refill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def _refill(self) -> None:
        """Put in the tokens of the time since the last count."""
        now_s = time.monotonic()
        self._left = min(self._burst, self._left + self._per_second * (now_s - self._counted_s))
        self._counted_s = now_s
