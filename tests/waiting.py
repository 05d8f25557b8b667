"""The one way in which tests wait for something that happens elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object], deadline_s: float = 30.0, meanwhile: Callable[[], object] | None = None
) -> None:
    """Wait until a condition holds, and fail when it still does not after a deadline.

    Args:
        condition: Asked over and over.
        deadline_s: Seconds after which the test fails.
        meanwhile: Called between two questions; a short rest by default.
    """
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s in vain"
        if meanwhile is None:
            time.sleep(0.01)
        else:
            meanwhile()
