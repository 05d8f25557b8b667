"""Kernels, and the one place where their machine code is made ready: loaded, or compiled and kept.

Compiling takes seconds. So of many processes that start together one compiles and the others wait for what it keeps;
a damaged file on disk costs that time and nothing else; and where nothing can be kept, the user learns why.
"""

from __future__ import annotations

import functools
import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import numba
from filelock import FileLock
from numba import njit, typeof
from numba.core import event

from lnsim_gym.compiled import progress
from lnsim_gym.compiled.cache import (
    cache_folder,
    drop_old_folders,
    forget,
    is_sound,
    numba_keeps_in,
    seal,
    take_shipped,
)
from lnsim_gym.compiled.private import IS_WHOLE, keep_in
from lnsim_gym.errors import ConfigError

__all__ = ["Kernel", "ready"]

_preparing = threading.RLock()


class Kernel:
    """A compiled function for Python to call.

    Args:
        function: What to compile; it stands at the top of a module.
        options: Options of ``numba.njit``.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.py_func: Final = function
        self._options = options
        self._run: Callable[..., Any] = self._first_run

    def __call__(self, *arguments: Any) -> Any:
        """Run it; compiles for new types of arguments."""
        return self._run(*arguments)

    def _first_run(self, *arguments: Any) -> Any:
        """Make it ready for these types of arguments, and run it."""
        ready((self, arguments))
        return self.dispatcher(*arguments)

    @functools.cached_property
    def folder(self) -> Path | None:
        """Folder that its machine code is kept in, or None."""
        return cache_folder()

    @functools.cached_property
    def dispatcher(self) -> Any:
        """The object that numba makes; call this where 0.1 microseconds matter, once the kernel is ready.

        Raises:
            ConfigError: numba is told not to compile.
        """
        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise ConfigError(
                "expected NUMBA_DISABLE_JIT unset or 0, got 1: the simulator exists only compiled; unset it"
            )
        if self.folder is not None:
            with suppress(RuntimeError), numba_keeps_in(self.folder):  # numba's word for: no folder can be written
                kept = njit(cache=not IS_WHOLE, **self._options)(self.py_func)
                keep_in(kept, self.folder)
                if self.folder in Path(kept.stats.cache_path).parents:
                    return kept
            self.folder = None
        return njit(**self._options)(self.py_func)

    def is_ready(self, types: tuple[Any, ...]) -> bool:
        """Return whether there is machine code for types of arguments in this process."""
        return types in self.dispatcher.signatures

    def load(self, types: tuple[Any, ...]) -> bool:
        """Take machine code from disk; return whether there was any that can be used."""
        try:
            with _listening(_OnlyLoading(self.dispatcher)):
                self.dispatcher.compile(types)
        except _NotKept:
            return False
        except Exception:  # a damaged file may raise anything; compiling again is the remedy
            if self.folder is not None:
                forget(self.folder)
            return False
        self._run = self.dispatcher
        return True

    def compile(self, types: tuple[Any, ...]) -> None:
        """Make machine code, and keep it if the disk allows."""
        try:
            self.dispatcher.compile(types)
        except Exception:
            if not self.is_ready(types):  # else it could not be kept, no more
                raise
        self._run = self.dispatcher


def ready(*calls: tuple[Callable[..., Any], tuple[Any, ...]]) -> None:
    """Make kernels ready for calls, without running them: load their machine code, or compile it and keep it.

    Kernels do so by themselves when first called; this does it for several at a time of the caller's choice.

    Args:
        calls: Kernels, each with arguments of the types that it will be called with.

    Raises:
        ConfigError: numba is told not to compile.
    """
    with _preparing:
        wanted: list[tuple[Any, tuple[Any, ...]]] = [(kernel, _types(arguments)) for kernel, arguments in calls]
        missing = [(kernel, types) for kernel, types in wanted if not kernel.is_ready(types)]
        if not missing:
            return  # without a look at the disk, as every environment comes here
        folder = missing[0][0].folder
        if folder is not None and is_sound(folder):
            missing = [(kernel, types) for kernel, types in missing if not kernel.load(types)]
        if not missing:
            return
        with _alone(folder):
            if folder is not None:
                if not is_sound(folder):
                    forget(folder)
                take_shipped(folder)
            missing = [(kernel, types) for kernel, types in missing if not kernel.load(types)]
            if missing:
                _compile(missing, folder)
            if folder is not None:
                drop_old_folders(folder)


def _types(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return numba's types of arguments."""
    return tuple(typeof(value) for value in arguments)  # type: ignore[no-untyped-call]


def _compile(missing: list[tuple[Any, tuple[Any, ...]]], folder: Path | None) -> None:
    """Compile kernels, show that they are compiled, and keep them in a folder where that is possible."""
    if folder is None or not os.access(folder, os.W_OK):
        progress.say_once(
            "lnsim: compiled code cannot be kept, so that every process compiles anew: "
            "set NUMBA_CACHE_DIR to a folder that can be written"
        )
    with progress.shown() as advance, _listening(_Counting(advance)), _without_garbage_collection():
        for kernel, types in missing:
            kernel.compile(types)
    if folder is not None:
        seal(folder)


@contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """Keep other processes from compiling the same, where there is a folder to meet in."""
    lock = nullcontext() if folder is None else FileLock(folder / "compiling.lock")
    try:
        lock.__enter__()
    except OSError:  # a file system without locks
        lock = nullcontext()
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Spare the search for cycles among the millions of objects of a compiler, a tenth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _NotKept(Exception):
    """Ends an attempt to load what would have to be compiled."""


class _OnlyLoading(event.Listener):
    """Ends the compilation of a dispatcher before it begins."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher
        self._thread = threading.get_ident()

    def on_start(self, event: Any) -> None:
        """See ``numba.core.event.Listener``."""
        if event.data["dispatcher"] is self._dispatcher and threading.get_ident() == self._thread:
            raise _NotKept

    def on_end(self, event: Any) -> None:
        """See ``numba.core.event.Listener``."""


class _Counting(event.Listener):
    """Reports each function that was compiled."""

    def __init__(self, advance: Callable[[], None]) -> None:
        self._advance = advance

    def on_start(self, event: Any) -> None:
        """See ``numba.core.event.Listener``."""

    def on_end(self, event: Any) -> None:  # noqa: ARG002
        """See ``numba.core.event.Listener``."""
        self._advance()


@contextmanager
def _listening(listener: event.Listener) -> Iterator[None]:
    """Have a listener hear of compilations."""
    event.register("numba:compile", listener)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)  # type: ignore[no-untyped-call]
