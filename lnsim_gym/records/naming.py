"""Names of the files and folders that runs are recorded in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

__all__ = ["make_new"]

T = TypeVar("T")


def make_new(folder: Path, started: datetime | None, ending: str, make: Callable[[Path], T]) -> T:
    """Make a file or folder ``lightning_simulation_YYYY-MM-DD_HH-MM-SS`` that does not exist yet.

    Args:
        folder: Where it goes; made when missing.
        started: Time in the name; now by default. While that name is taken, a second is added.
        ending: End of the name.
        make: Makes it; raises FileExistsError when the name is taken, also by a process that was a moment quicker.

    Returns:
        What ``make`` returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moment = started or datetime.now()
    while True:
        try:
            return make(folder / f"lightning_simulation_{moment:%Y-%m-%d_%H-%M-%S}{ending}")
        except FileExistsError:
            moment += timedelta(seconds=1)
