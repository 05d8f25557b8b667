"""How functions are compiled here: machine code kept on disk, without Python objects and reference counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["fused", "inlined", "kernel", "outlined"]

F = TypeVar("F", bound=Callable[..., Any])

_CALLEE: dict[str, Any] = {"nogil": True, "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of functions that only compiled code calls: the wrapper for Python would take most of the compile time."""


def kernel(function: F) -> F:
    """Compile a function that works on given arrays: no allocation, no GIL, cached on disk where that is possible.

    Counting references to arrays would cost more than the work itself, so it is off (``_nrt``).
    """
    options: dict[str, Any] = {"nogil": True, "_nrt": False}
    try:
        return cast("F", njit(cache=True, **options)(function))
    except RuntimeError:  # no folder for the cache can be written: compile in every process instead
        return cast("F", njit(**options)(function))


def inlined(function: F) -> F:
    """Compile a function into each of its callers."""
    return cast("F", njit(inline="always")(function))


def fused(function: F) -> F:
    """Compile a function once and let LLVM paste its machine code into each of its callers.

    For functions too large for ``inlined``: the same speed, a fraction of the compile time.
    """
    options: dict[str, Any] = {"forceinline": True, **_CALLEE}
    return cast("F", njit(**options)(function))


def outlined(function: F) -> F:
    """Compile a function on its own, called by its callers: for what is rare or large."""
    return cast("F", njit(**_CALLEE)(function))
