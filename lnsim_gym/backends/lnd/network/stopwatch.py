"""Where the time of payments goes, added up by what it was spent on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch"]


class Stopwatch:
    """Adds up times, also those of work that is done side by side."""

    def __init__(self) -> None:
        self._spent_s: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def spent_on(self, part: str) -> Iterator[None]:
        """Count what is done meanwhile as a part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._spent_s[part] += time.perf_counter() - started

    def take(self) -> dict[str, float]:
        """Return the seconds spent on each part since this was called last, and begin anew."""
        spent_s, self._spent_s = self._spent_s, defaultdict(float)
        return dict(spent_s)
