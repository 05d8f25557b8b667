"""Handing hundreds of arrays to compiled code through one address.

A call of a compiled function costs about 0.1 microseconds for each array it is given, more than a whole step of a
small network. So the arrays of a state (nested named tuples) are described once in a table, address and shape of
each, and compiled code rebuilds what it needs from the table's address (``reader``). ``BoundState`` owns a state and
its table: compiled code believes an address, so nothing but this class hands one out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Generic, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt
from numba import typeof

from lnsim_gym.compiled import private
from lnsim_gym.compiled.readers import ROW, fast_reader, public_reader

__all__ = ["BoundState", "describe", "reader"]

State = TypeVar("State")


class BoundState(Generic[State]):
    """A state and the table through which compiled code reaches it, kept alive together.

    Args:
        state: Nested named tuples of C-contiguous arrays of up to four dimensions, integers and floats. Its arrays are
            changed in place, never replaced.
        like: The state that kernels learned their types from; shapes may differ.

    Raises:
        TypeError: A field is of another type than kernels were compiled for.
    """

    def __init__(self, state: State, like: State) -> None:
        _require_type(state, like, "state")
        self.state: Final = state
        self._table = describe(state)
        self.address: Final[int] = self._table.ctypes.data
        """What kernels take; means nothing once this object is gone, nor in another process."""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse to be copied or pickled.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "expected the owner of a state to make a BoundState anew, got a request to copy or pickle it: its address "
            "holds for its own arrays in its own process; copy `.state` and bind the copy"
        )


def _require_type(value: Any, like: Any, name: str) -> None:
    """Refuse what compiled code would misread.

    Raises:
        TypeError: It says which field is not like the other, and how.
    """
    if type(value) is not type(like):
        raise TypeError(f"{name}: expected {type(like).__name__}, got {type(value).__name__}")
    if isinstance(value, tuple):
        if len(value) != len(like):
            raise TypeError(f"{name}: expected {len(like)} fields, got {len(value)}")
        names = getattr(value, "_fields", range(len(value)))
        for field, inner, inner_like in zip(names, value, like, strict=True):
            _require_type(inner, inner_like, f"{name}.{field}")
    elif isinstance(value, np.ndarray):
        _require_array(value, like, name)
    elif not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected an array, an integer or a float, got {type(value).__name__}")


def _require_array(array: npt.NDArray[Any], like: npt.NDArray[Any], name: str) -> None:
    """Refuse an array of another layout than the other.

    Raises:
        TypeError: It is one.
    """
    wanted, got = _layout(like), _layout(array)
    wanted["C-contiguous"] = wanted["aligned"] = True
    if array.ndim >= ROW:
        raise TypeError(f"{name}: expected at most {ROW - 1} dimensions, got the shape {array.shape}")
    for what, value in wanted.items():
        if got[what] != value:
            raise TypeError(
                f"{name}: expected an array with {what} = {value}, as kernels were compiled for, got {got[what]}"
            )


def _layout(array: npt.NDArray[Any]) -> dict[str, Any]:
    """Return what machine code depends on in an array."""
    return {
        "dtype": array.dtype,
        "ndim": array.ndim,
        "C-contiguous": array.flags.c_contiguous,
        "aligned": array.flags.aligned,
        "writeable": array.flags.writeable,
    }


def describe(state: Any) -> npt.NDArray[np.int64]:
    """Return the table of a state; it holds no references, so keep both (``BoundState`` does).

    Args:
        state: Nested named tuples of C-contiguous arrays of up to four dimensions, integers and floats.

    Returns:
        Table of shape (leaves, 5): for an array its address and dimensions, else the number's own 64 bits.
    """
    table = np.zeros((sum(1 for _ in _leaves(state)), ROW), np.int64)
    for row, leaf in zip(table, _leaves(state), strict=True):
        if isinstance(leaf, np.ndarray):
            if not leaf.flags.c_contiguous or leaf.ndim >= ROW:
                raise TypeError(f"expected C-contiguous arrays of at most {ROW - 1} dimensions, got {leaf.shape}")
            row[0] = leaf.ctypes.data
            row[1 : 1 + leaf.ndim] = leaf.shape
        elif isinstance(leaf, float):
            row.view(np.float64)[0] = leaf
        else:
            row[0] = leaf
    return table


def _leaves(state: Any) -> Iterator[Any]:
    """Yield the arrays and numbers of nested tuples in order."""
    if isinstance(state, tuple):
        for field in state:
            yield from _leaves(field)
    else:
        yield state


def reader(example: Any) -> Any:
    """Return a compiled function ``(address of a table, path) -> part`` for states typed like the example.

    The path is a literal such as ``"columns.reward"`` and names a leaf or a tuple of them; only what it names is read,
    and only that costs compile time.
    """
    make = fast_reader if private.IS_WHOLE else public_reader
    return make(typeof(example))  # type: ignore[no-untyped-call]
