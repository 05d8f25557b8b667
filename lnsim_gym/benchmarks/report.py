"""What every benchmark says beside its figures: on what they were measured, and how to repeat the measurement."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import msgspec

from lnsim_gym.records.provenance import machine, versions

__all__ = ["Report", "circumstances", "system_load"]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Figures, and the circumstances they were measured in; each benchmark adds its own figures."""

    machine: str
    """Processor and system."""
    cores: int
    load_before: float
    """Processes that wanted to run, on average over the minute before the measurement."""
    load_after: float
    """The same in the end; the benchmark itself is one of them."""
    versions: dict[str, str]
    """Of this package, Python and what else the figures depend on."""
    command: str
    """What was typed."""


def system_load() -> float:
    """Return how many processes wanted to run, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def circumstances(load_before: float, *packages: str) -> dict[str, Any]:
    """Return the fields of a ``Report``, but for its figures.

    Args:
        load_before: What ``system_load`` returned before the measurement.
        packages: Packages whose versions matter.
    """
    return {
        "machine": machine(),
        "cores": os.cpu_count() or 1,
        "load_before": load_before,
        "load_after": system_load(),
        "versions": versions(*packages),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
