"""What is used of numba beyond what it promises to keep, each with what it is worth, and whether it is still there.

Everything else in the package is written for numba's documented parts alone. When an import or attribute named here
is gone, all of it is given up together, with one warning: what is compiled then computes the same bits, later and
somewhat slower.

- ``part_options``: parts of kernels stay LLVM code, as kernels optimise and translate them anyway. Worth 2 to 3 of
  about 11 seconds of compile time.
- ``uncounted_options``: no counting of references to arrays. Worth 0.7 of 3.2 microseconds of a single step and 2 to
  5 % of a batch of them.
- ``reader`` in ``binding``, by ``populate_array``: reading a state by its address without reference counts.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

__all__ = ["IS_WHOLE", "cgutils", "part_options", "populate_array", "uncounted_options"]

cgutils: Any = None
populate_array: Any = None
_PartCompiler: Any = None

try:
    from numba.core import cgutils
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler
    from numba.core.cpu import CPUTargetOptions
    from numba.np.arrayobj import populate_array

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

    class _PartCompiler(Compiler):  # type: ignore[no-redef]
        """numba's compiler for parts of kernels."""

        def __init__(self, typing_context: Any, target_context: Any, _library: Any, *rest: Any) -> None:
            part = _Part(target_context.codegen(), "part")  # type: ignore[no-untyped-call]
            super().__init__(typing_context, target_context, part, *rest)  # type: ignore[no-untyped-call]

    for _owner, _name in (
        (JITCodeLibrary, "_optimize_functions"),
        (JITCodeLibrary, "_optimize_final_module"),
        (JITCodeLibrary, "_finalize_final_module"),
        (JITCodeLibrary, "_ensure_finalized"),
        (JITCodeLibrary, "get_pointer_to_function"),
        (CPUTargetOptions, "_nrt"),
        (cgutils, "gep_inbounds"),
    ):
        getattr(_owner, _name)
    IS_WHOLE: Final = True
    """Whether everything named here is there."""
except (ImportError, AttributeError) as _problem:
    IS_WHOLE = False  # type: ignore[misc]
    warnings.warn(
        f"this version of numba lacks a part that makes the simulator faster ({_problem}); it computes the same, "
        "more slowly: install a version of numba that lnsim_gym names in its dependencies",
        RuntimeWarning,
        stacklevel=2,
    )


def part_options() -> dict[str, Any]:
    """Return the options of ``njit`` that leave a part of kernels as LLVM code."""
    return {"pipeline_class": _PartCompiler} if IS_WHOLE else {}


def uncounted_options() -> dict[str, Any]:
    """Return the options of ``njit`` that count no references to arrays."""
    return {"_nrt": False} if IS_WHOLE else {}
