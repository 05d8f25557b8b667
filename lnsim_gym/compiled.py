"""How functions are compiled here: machine code kept on disk, without Python objects and reference counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["inlined", "kernel"]

F = TypeVar("F", bound=Callable[..., Any])


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
