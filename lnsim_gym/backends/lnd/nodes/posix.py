"""What running daemons of our own needs of the system, asked for when it is used: everything else runs anywhere."""

from __future__ import annotations

import os

from lnsim_gym.errors import MissingDependency

__all__ = ["require_posix", "user_id"]


def require_posix() -> None:
    """Refuse a system that cannot run and find daemons of our own.

    Raises:
        MissingDependency: This is no POSIX system.
    """
    if not hasattr(os, "getuid"):
        raise MissingDependency(
            f"expected a POSIX system (Linux, macOS) to run lnd on, got {os.name!r}: use the simulator, or the "
            "attach launcher with nodes that run elsewhere"
        )


def user_id() -> int:
    """Return the number of the user whom this process belongs to.

    Raises:
        MissingDependency: This is no POSIX system.
    """
    require_posix()
    return os.getuid()
