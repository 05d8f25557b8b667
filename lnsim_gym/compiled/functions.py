"""How functions are compiled here: kernels for Python to call, and the parts that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from numba import njit

from lnsim_gym.compiled.kernels import Kernel
from lnsim_gym.compiled.private import part_options, uncounted_options

__all__ = ["fused", "inlined", "kernel", "outlined"]

F = TypeVar("F", bound=Callable[..., Any])

_KERNEL: Final[dict[str, Any]] = {"nogil": True, **uncounted_options()}
"""No GIL, and no counting of references to arrays: it would cost more than the work itself."""
_CALLEE: Final[dict[str, Any]] = {
    **_KERNEL,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    **part_options(),
}
"""Options of functions that only compiled code calls: what they need not have would take most of the compile time."""


def kernel(function: F) -> F:
    """Compile a function that works on given arrays: no allocation, no GIL, kept on disk where that is possible.

    The function must stand at the top of a module: numba cannot find one made inside another again. Only Python calls
    kernels; what kernels call are parts (``fused``, ``outlined``, ``inlined``).
    """
    return cast("F", Kernel(function, _KERNEL))


def inlined(function: F) -> F:
    """Compile a function into each of its callers."""
    return cast("F", njit(inline="always")(function))


def fused(function: F) -> F:
    """Compile a function once and let LLVM paste its machine code into each of its callers.

    For functions too large for ``inlined``: the same speed, a fraction of the compile time.
    """
    return cast("F", njit(forceinline=True, **_CALLEE)(function))


def outlined(function: F) -> F:
    """Compile a function on its own, called by its callers: for what is rare or large."""
    return cast("F", njit(**_CALLEE)(function))
