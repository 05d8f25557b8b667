"""Waiting for what depends on several nodes without waiting for one that is gone, hangs, or gave a channel up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.backends.lnd.network.settings import NetworkSettings

__all__ = ["patiently"]

T = TypeVar("T")


async def patiently(network: LiveNetwork, settings: NetworkSettings, work: Coroutine[Any, Any, T]) -> T:
    """Wait for something that depends on several nodes; whenever it takes long, ask all of them for a sign of life.

    Raises:
        BackendLost: The work raised it, a node gives no sign of life, or a channel is inactive.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=settings.idle_timeout_s))[0]:
            await network.probe(settings.probe_timeout_s)
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
