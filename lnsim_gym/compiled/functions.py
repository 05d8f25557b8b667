"""How functions are compiled here: machine code kept on disk, without Python objects and reference counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from lnsim_gym.compiled.cache import KernelCache

__all__ = ["fused", "inlined", "kernel", "outlined"]

F = TypeVar("F", bound=Callable[..., Any])

_KERNEL: Final[dict[str, Any]] = {"nogil": True, "_nrt": False}
"""No GIL, and no counting of references to arrays: it would cost more than the work itself."""


class _Nowhere:
    """Stands for the generator of machine code where none is generated."""

    @staticmethod
    def set_env(name: str, environment: Any) -> None:
        """Drop what machine code would find constants in."""


class _Part(JITCodeLibrary):
    """Code of a part of kernels. They optimise it and turn it into machine code, so by itself it stays as it is."""

    codegen = _Nowhere

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002
        """Return 0, numba's word for: there is no such machine code."""
        self._ensure_finalized()  # type: ignore[no-untyped-call]
        return 0


class _PartCompiler(Compiler):
    """numba's compiler for parts of kernels."""

    def __init__(self, typing_context: Any, target_context: Any, _library: Any, *rest: Any) -> None:
        part = _Part(target_context.codegen(), "part")  # type: ignore[no-untyped-call]
        super().__init__(typing_context, target_context, part, *rest)  # type: ignore[no-untyped-call]


_CALLEE: Final[dict[str, Any]] = {
    **_KERNEL,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": _PartCompiler,
}
"""Options of functions that only compiled code calls: what they need not have would take most of the compile time."""


def kernel(function: F) -> F:
    """Compile a function that works on given arrays: no allocation, no GIL, cached on disk where that is possible."""
    compiled = njit(**_KERNEL)(function)
    compiled._cache = KernelCache(function)
    return cast("F", compiled)


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
