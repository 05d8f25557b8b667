"""The thread of a process that all its RPCs run on: asyncio inside, a plain blocking call outside.

gRPC's asyncio layer wants a single event loop per process. What runs on it is not known here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["gather", "run"]

T = TypeVar("T")


async def gather(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines side by side and return their results; when one fails, cancel the others and raise its error."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the process's RPC thread and wait for its result; Ctrl-C cancels it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _RpcThread.current().loop)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            concurrent.futures.wait([future], timeout=2)
        raise


class _RpcThread:
    """A daemon thread with an event loop: one per process, because gRPC's asyncio layer wants a single loop.

    It also starts child processes: they are tied to the life of the thread that starts them, and this one lives
    as long as the process.
    """

    _instance: _RpcThread | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._ready = threading.Event()
        threading.Thread(target=self._serve, name="lnsim-rpc", daemon=True).start()
        self._ready.wait()

    def _serve(self) -> None:
        """Make the loop and run it; on the thread itself, where no Ctrl-C can leave the loop half made."""
        self.loop = asyncio.new_event_loop()
        self._ready.set()
        self.loop.run_forever()

    @classmethod
    def current(cls) -> _RpcThread:
        """Return this process's thread; a forked child gets one of its own."""
        with cls._lock:
            if cls._instance is None or cls._instance.pid != os.getpid():
                cls._instance = cls()
            return cls._instance


if hasattr(os, "register_at_fork"):  # not on Windows, which never forks
    # A child forked while another thread holds the lock would wait for it for ever.
    os.register_at_fork(after_in_child=lambda: setattr(_RpcThread, "_lock", threading.Lock()))
