"""How compiled code reads a part of a state from the address of its table; see ``binding``.

``fast_reader`` builds arrays that nobody owns, without reference counts, from parts of numba that it does not promise
to keep (see ``private``). ``public_reader`` does the same with ``numba.carray`` alone, where those are gone: a vector
of environments then takes about 5 % longer for a step, a single one 20 %, and compiling twice the time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic, overload

from lnsim_gym.compiled.private import cgutils, populate_array

__all__ = ["ROW", "fast_reader", "public_reader"]

ROW: Final = 5
"""Words that describe one leaf of a state: the address and up to four dimensions of an array, or a number."""


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


def fast_reader(state_type: Any) -> Any:
    """Return the reader of states of a type that emits LLVM code."""

    @intrinsic(prefer_literal=True)
    def read(typing_context: Any, address: Any, path: Any) -> Any:  # noqa: ARG001
        kind, first = _find(state_type, path.literal_value.split("."))

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            words = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
            return _build(context, builder, kind, words, itertools.count(first))

        return kind(types.int64, path), generate

    return read


def _build(context: Any, builder: Any, kind: Any, words: Any, rows: Iterator[int]) -> Any:
    """Emit the code that builds a value of a type from the next rows of the table."""
    if hasattr(kind, "types"):
        fields = [_build(context, builder, field, words, rows) for field in kind.types]
        return context.make_tuple(builder, kind, fields)
    first = ROW * next(rows)

    def word(offset: int) -> Any:
        return builder.load(cgutils.gep_inbounds(builder, words, first + offset))

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
    populate_array(
        array,
        data=builder.inttoptr(word(0), array.data.type),
        shape=shape,
        strides=strides,
        itemsize=context.get_constant(types.intp, item_bytes),
        meminfo=None,
    )
    return array._getvalue()


def public_reader(state_type: Any) -> Any:
    """Return the reader of states of a type that is made of Python source."""

    def read(address: int, path: str) -> Any:
        """Stand for what is compiled."""
        raise NotImplementedError("only compiled code reads a state by its address")

    @overload(read, prefer_literal=True)
    def compile_read(address: Any, path: Any) -> Any:  # noqa: ARG001
        if not isinstance(path, types.StringLiteral):
            return None
        kind, first = _find(state_type, path.literal_value.split("."))
        names: dict[str, Any] = {"carray": carray, "word": _pointer_to(types.int64), "real": _pointer_to(types.float64)}
        text = _expression(kind, itertools.count(first), names)
        exec(f"def read(address: Any, path: Any) -> Any:\n    return {text}", names)  # numba compares the annotations
        return names["read"]

    return read


def _expression(kind: Any, rows: Iterator[int], names: dict[str, Any]) -> str:
    """Return Python source for a value of a type from the next rows of the table; adds the names that it uses."""
    name = f"name_{len(names)}"
    if hasattr(kind, "types"):
        names[name] = kind.instance_class
        return f"{name}({', '.join(_expression(field, rows, names) for field in kind.types)})"
    first = ROW * next(rows)

    def word(offset: int, pointer: str = "word") -> str:
        return f"carray({pointer}(address + {8 * (first + offset)}), 1)[0]"

    if not isinstance(kind, types.Array):
        return word(0, "real") if isinstance(kind, types.Float) else word(0)
    names[name] = _pointer_to(kind.dtype)
    shape = ", ".join(word(1 + axis) for axis in range(kind.ndim))
    return f"carray({name}({word(0)}), ({shape},))"


def _pointer_to(item_type: Any) -> Any:
    """Return a compiled function from an address to a pointer to values of a type."""

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
        kind = types.CPointer(item_type)  # type: ignore[no-untyped-call]

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(kind))

        return kind(types.int64), generate

    return pointer
