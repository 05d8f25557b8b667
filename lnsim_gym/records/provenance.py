"""What a figure or a record was made on: the machine, and the versions of the programs."""

from __future__ import annotations

import platform
from importlib.metadata import version

from lnsim_gym.version import __version__

__all__ = ["machine", "versions"]


def machine() -> str:
    """Return the processor and the system."""
    return f"{platform.processor() or platform.machine()}, {platform.system()} {platform.release()}"


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of this package, of Python, and of installed packages."""
    own = {"lnsim_gym": __version__, "python": platform.python_version()}
    return own | {name: version(name) for name in packages}
