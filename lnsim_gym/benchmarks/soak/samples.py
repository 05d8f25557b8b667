"""Samples of a run of any length, as many as fit on a plot."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Final

import psutil

__all__ = ["Samples", "usage"]

MOST_SAMPLES: Final = 1_200
"""Samples that are kept; then every second one goes, and half as many are taken from there on."""
FIRST_INTERVAL_S: Final = 0.5
"""Time from one sample to the next in the beginning."""


class Samples:
    """Columns of figures over time, in bounded memory however long the run is."""

    def __init__(self) -> None:
        self.elapsed_s: list[float] = []
        self.columns: dict[str, list[float]] = {}
        self.interval_s = FIRST_INTERVAL_S

    def is_due(self, elapsed_s: float) -> bool:
        """Return whether it is time for another sample."""
        return not self.elapsed_s or elapsed_s >= self.elapsed_s[-1] + self.interval_s

    def add(self, elapsed_s: float, figures: Mapping[str, float]) -> None:
        """Keep a sample; each one has the same figures."""
        self.elapsed_s.append(elapsed_s)
        for name, value in figures.items():
            self.columns.setdefault(name, []).append(value)
        if len(self.elapsed_s) >= MOST_SAMPLES:
            self.interval_s *= 2
            for column in (self.elapsed_s, *self.columns.values()):
                del column[1::2]


def usage(who: str, processes: Iterable[psutil.Process]) -> dict[str, float]:
    """Return what processes take together: their own memory in MiB, descriptors (on Windows, handles) and threads.

    Args:
        who: Whose they are; begins the names.
        processes: The processes; those that are gone take nothing.
    """
    memory = descriptors = threads = 0
    for process in processes:
        try:
            memory += process.memory_full_info().uss
            descriptors += _descriptors(process)
            threads += process.num_threads()
        except psutil.NoSuchProcess:
            continue
    return {
        f"{who}_memory_mib": memory / 2**20,
        f"{who}_descriptors": float(descriptors),
        f"{who}_threads": float(threads),
    }


def _descriptors(process: psutil.Process) -> int:
    """Return how many files, sockets and the like a process has open."""
    if sys.platform == "win32":
        return process.num_handles()
    return process.num_fds()
