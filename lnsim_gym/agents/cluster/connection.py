"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import ray

from lnsim_gym.errors import BackendError

__all__ = ["LOCAL", "RETRIES", "joined"]

LOCAL: Final = "local"
"""In place of an address: a cluster of this machine's processors, ended when it is left."""
RETRIES: Final = 5
"""How often a task starts anew whose worker has died."""
ATTEMPTS: Final = 3
"""How often a cluster of this machine is started that does not come up in time."""

_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray does by default from its next version on
}


@contextmanager
def joined(address: str, workers: int | None = None) -> Iterator[None]:
    """Join a cluster, and leave it in the end.

    Args:
        address: ``HOST:PORT`` of its head, ``auto`` for the one that this machine belongs to, or ``LOCAL``.
        workers: Workers of a cluster that is started; as many as there are processors by default.

    Raises:
        BackendError: No cluster answers there.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        _connect(address, workers)
    except (ConnectionError, ValueError, RuntimeError) as problem:
        raise BackendError(
            f"no Ray cluster answers at {address!r} ({problem}): start one with `ray start --head`, or use 'local'"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str, workers: int | None) -> None:
    """Join a cluster, or start one; on a busy machine that takes longer at first than Ray waits for."""
    own = {"include_dashboard": False, "num_cpus": workers} if address == LOCAL else {}
    for attempt in range(ATTEMPTS):
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except Exception as problem:  # Ray raises no narrower one
            if "timed out during startup" not in str(problem):
                raise
            ray.shutdown()
            if attempt == ATTEMPTS - 1:
                raise RuntimeError(problem) from None
        else:
            return
