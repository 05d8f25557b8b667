"""Handing hundreds of arrays to compiled code through one address.

A call of a compiled function costs about 0.1 microseconds for each array it is given, more than a whole step of a
small network. So the arrays of a state (nested named tuples) are described once in a table, address and shape of
each, and compiled code rebuilds what it needs from the table's address. The state must outlive every call.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import typeof, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

__all__ = ["describe", "reader"]

_ROW: Final = 5
"""Words that describe one leaf of a state: the address and up to four dimensions of an array, or a number."""


def describe(state: Any) -> npt.NDArray[np.int64]:
    """Return the table of a state.

    Args:
        state: Nested named tuples of C-contiguous arrays of up to four dimensions, integers and floats.

    Returns:
        Table of shape (leaves, 5); keep it, and the state, as long as compiled code uses its address.
    """
    table = np.zeros((sum(1 for _ in _leaves(state)), _ROW), np.int64)
    for row, leaf in zip(table, _leaves(state), strict=True):
        if isinstance(leaf, np.ndarray):
            if not leaf.flags.c_contiguous or leaf.ndim > _ROW - 1:
                raise TypeError(f"expected C-contiguous arrays of at most {_ROW - 1} dimensions, got {leaf.shape}")
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
    state_type: Any = typeof(example)  # type: ignore[no-untyped-call]

    @intrinsic(prefer_literal=True)
    def read(typing_context: Any, address: Any, path: Any) -> Any:  # noqa: ARG001
        kind, first = _find(state_type, path.literal_value.split("."))

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            words = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
            return _build(context, builder, kind, words, itertools.count(first))

        return kind(types.int64, path), generate

    compiled: Any = read
    compiled.kernel_stamp = str(state_type)  # what a kernel that reads the state depends on
    return compiled


def _find(kind: Any, path: list[str]) -> tuple[Any, int]:
    """Return the type of a part of a state and the row of the table at which it begins."""
    row = 0
    for name in path:
        place = kind.fields.index(name)
        row += sum(_rows(field) for field in kind.types[:place])
        kind = kind.types[place]
    return kind, row


def _rows(kind: Any) -> int:
    """Return the number of leaves of a type."""
    fields = getattr(kind, "types", None)
    return 1 if fields is None else sum(_rows(field) for field in fields)


def _build(context: Any, builder: Any, kind: Any, words: Any, rows: Iterator[int]) -> Any:
    """Emit the code that builds a value of a type from the next rows of the table."""
    if hasattr(kind, "types"):
        fields = [_build(context, builder, field, words, rows) for field in kind.types]
        return context.make_tuple(builder, kind, fields)
    first = _ROW * next(rows)

    def word(offset: int) -> Any:
        return builder.load(cgutils.gep_inbounds(builder, words, first + offset))  # type: ignore[no-untyped-call]

    if not isinstance(kind, types.Array):
        value_type = context.get_value_type(kind)
        return builder.bitcast(word(0), value_type) if isinstance(kind, types.Float) else word(0)
    return _build_array(context, builder, kind, word)


def _build_array(context: Any, builder: Any, kind: Any, word: Any) -> Any:
    """Emit the code that builds an array without an owner from its address and dimensions."""
    array = context.make_array(kind)(context, builder)
    item_bytes = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    shape = [word(1 + axis) for axis in range(kind.ndim)]
    strides = [context.get_constant(types.intp, item_bytes)]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    populate_array(  # type: ignore[no-untyped-call]
        array,
        data=builder.inttoptr(word(0), array.data.type),
        shape=shape,
        strides=strides,
        itemsize=context.get_constant(types.intp, item_bytes),
        meminfo=None,
    )
    return array._getvalue()
