"""Machine code kept on disk between processes, so that a kernel is compiled once for each version of its source.

numba's own cache looks at the time stamp of the one file that holds a kernel; ours knows the source of everything
the kernel is made of, in whatever file. A folder that cannot be written, or a file in it that cannot be read, costs
nothing but the time to compile. How functions are compiled is the business of ``compiled``.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import CodeType
from typing import Any, Final, Self

import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator
from numba.core.dispatcher import Dispatcher

from lnsim_gym.errors import LnsimError
from lnsim_gym.paths import cache_dir

__all__ = ["KernelCache", "fingerprint"]

KEEP_S: Final = 30 * 86_400
"""Age in seconds at which machine code of other versions of the source is dropped."""

_announced = False


def fingerprint(function: Callable[..., Any]) -> str:
    """Return a hash of the byte code and constants of a function and of all compiled functions it is made of."""
    digest = hashlib.sha256()
    for part in sorted(_parts(function, set())):
        digest.update(part.encode())
    return digest.hexdigest()[:20]


def _parts(function: Any, seen: set[str]) -> Iterator[str]:
    """Yield a description of a function and, once each, of what it refers to."""
    name = f"{function.__module__}.{function.__qualname__}"
    if name in seen:
        return
    seen.add(name)
    yield f"{name} {_code(function.__code__)}"
    for word in sorted(_names(function.__code__)):
        value = function.__globals__.get(word)
        if isinstance(value, Dispatcher):
            yield f"{name} {word} {sorted(value.targetoptions.items())}"
            yield from _parts(value.py_func, seen)
        elif isinstance(value, (bool, int, float, str, tuple, np.generic)):
            yield f"{name} {word} {value!r}"
        elif isinstance(value, np.ndarray):
            yield f"{name} {word} {hashlib.sha256(value.tobytes()).hexdigest()}"
        elif hasattr(value, "_fields"):
            yield f"{name} {word} {value._fields}"
        elif hasattr(value, "kernel_stamp"):
            yield f"{name} {word} {value.kernel_stamp}"


def _code(code: CodeType) -> str:
    """Return byte code and constants, nested functions included, without line numbers."""
    constants = [_code(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"


def _names(code: CodeType) -> set[str]:
    """Return the global names that code may look up."""
    nested = [_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*nested)


class _Locator(_CacheLocator):
    """Names the files of one version of a kernel's source."""

    def __init__(self, function: Any, source_file: str) -> None:
        root = os.environ.get("NUMBA_CACHE_DIR")
        self._folder = Path(root) / "lnsim" if root else cache_dir() / "kernels"
        self._stamp = fingerprint(function)
        self._py_file = source_file

    @classmethod
    def from_function(cls, function: Any, source_file: str) -> Self | None:
        """Return the locator, or None when its folder cannot be used."""
        with suppress(OSError, LnsimError):
            self = cls(function, source_file)
            self.ensure_cache_path()  # type: ignore[no-untyped-call]
            return self
        return None

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """Return what must be equal for a file to be used."""
        return self._stamp

    def get_disambiguator(self) -> str:
        """Return a part of the file names: versions never share a file."""
        return self._stamp


class _Files(CompileResultCacheImpl):
    """numba's way of storing machine code, in our folder."""

    def __init__(self, function: Any) -> None:
        self._locator_classes = [_Locator]
        super().__init__(function)  # type: ignore[no-untyped-call]


class _Stored(FunctionCache):
    """numba's cache over our files."""

    _impl_class = _Files


class KernelCache(NullCache):
    """The cache of one kernel; says so on stderr, once per process, when something must be compiled."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _stored(self) -> Any:
        """The cache on disk, or None. Made at the first call, when all functions of the kernel exist."""
        with suppress(RuntimeError):  # numba's word for: no folder can be written
            return _Stored(self._function)  # type: ignore[no-untyped-call]
        return None

    @property
    def cache_path(self) -> str | None:
        """Folder of the machine code, or None when nothing is kept."""
        return self._stored.cache_path if self._stored else None

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the machine code for argument types, or None when it must be compiled."""
        found = None
        if self._stored:
            try:
                found = self._stored.load_overload(signature, target_context)
            except Exception:  # a damaged file may raise anything; compiling again is the remedy
                self._forget()
        if found is None:
            _announce()
        return found

    def save_overload(self, signature: Any, code: Any) -> None:
        """Keep machine code for the next process, if the disk allows."""
        if self._stored:
            with suppress(OSError):
                self._stored.save_overload(signature, code)
                _drop_old(Path(self._stored.cache_path))

    def _forget(self) -> None:
        """Empty the list of kept machine code, so that it is written anew."""
        with suppress(OSError):
            self._stored.flush()


def _announce() -> None:
    """Tell the user once per process why the first step takes long."""
    global _announced  # noqa: PLW0603
    if not _announced:
        _announced = True
        print("lnsim: compiling the simulator for this machine, once; this takes some seconds ...", file=sys.stderr)


def _drop_old(folder: Path) -> None:
    """Remove machine code that has not been written for a month."""
    for file in folder.glob("*.nb[ci]"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > KEEP_S:
                file.unlink()
