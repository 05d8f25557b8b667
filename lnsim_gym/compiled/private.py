"""What is used of numba beyond what it promises to keep, each with what it is worth, and whether it is still there.

Everything else in the package is written for numba's documented parts alone. When an import or attribute named here
is gone, all of it is given up together, with one warning: what is compiled then computes the same bits, later and
somewhat slower.

- ``part_options``: parts of kernels stay LLVM code, as kernels optimise and translate them anyway. Worth 2 to 3 of
  about 11 seconds of compile time.
- ``uncounted_options``: no counting of references to arrays. Worth 0.7 of 3.2 microseconds of a single step and 2 to
  5 % of a batch of them.
- ``reader`` in ``binding``, by ``populate_array``: reading a state by its address without reference counts.
- ``keep_in``: kept machine code is found again wherever the package lies, so that a wheel can bring it. numba's own
  cache names it by the absolute path and the time of change of a source file. Worth all of the compile time.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from pathlib import Path
from typing import Any, Final

__all__ = ["IS_WHOLE", "cgutils", "keep_in", "part_options", "populate_array", "uncounted_options"]

_INSTALLED: Final = Path(__file__).resolve().parents[2]
"""The folder that the package lies in."""

cgutils: Any = None
populate_array: Any = None
_PartCompiler: Any = None
_cache_at: Any = None

try:
    from numba.core import cgutils
    from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
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

    class _Place(_CacheLocator):
        """Where in a folder the machine code of a function is kept, and which source it was made of.

        Args:
            folder: The folder.
            function: The function.
        """

        def __init__(self, folder: Path, function: Any) -> None:
            self._source = Path(inspect.getfile(function)).resolve()
            self._line = function.__code__.co_firstlineno
            inside = self._source.is_relative_to(_INSTALLED)
            self._path = folder / (
                self._source.parent.relative_to(_INSTALLED)
                if inside
                else self.get_suitable_cache_subpath(str(self._source))  # type: ignore[no-untyped-call]
            )

        def from_function(self, py_func: Any, py_file: str) -> _Place:  # type: ignore[override]  # noqa: ARG002
            """Return this place: numba looks for one among classes."""
            return self

        def get_cache_path(self) -> str:
            """Return the folder of the function's files."""
            return str(self._path)

        def get_source_stamp(self) -> str:
            """Return a hash of the source file."""
            return hashlib.blake2b(self._source.read_bytes()).hexdigest()

        def get_disambiguator(self) -> str:
            """Return what tells functions of one name in one file apart."""
            return str(self._line)

    def _cache_at(place: _Place, function: Any) -> Any:
        """Return numba's cache of a function at a place."""
        layout = type("_Layout", (CompileResultCacheImpl,), {"_locator_classes": [place]})
        return type("_Cache", (FunctionCache,), {"_impl_class": layout})(function)

    for _owner, _name in (
        (JITCodeLibrary, "_optimize_functions"),
        (JITCodeLibrary, "_optimize_final_module"),
        (JITCodeLibrary, "_finalize_final_module"),
        (JITCodeLibrary, "_ensure_finalized"),
        (JITCodeLibrary, "get_pointer_to_function"),
        (CPUTargetOptions, "_nrt"),
        (cgutils, "gep_inbounds"),
        (CompileResultCacheImpl, "_locator_classes"),
        (FunctionCache, "_impl_class"),
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


def keep_in(dispatcher: Any, folder: Path) -> None:
    """Let numba keep a function's machine code in a folder, found again wherever the package lies.

    Args:
        dispatcher: What ``njit`` made of the function.
        folder: The folder.
    """
    if IS_WHOLE:
        function = dispatcher.py_func
        dispatcher._cache = _cache_at(_Place(folder, function), function)
