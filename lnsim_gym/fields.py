"""What settings mean, read from the classes that hold them: the docstring, type, range and default of each field.

``help`` of such a class, ``lnsim describe`` and the documentation show what is read here, so that it is written once.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
import types
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    SupportsIndex,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from lnsim_gym.errors import ConfigError

__all__ = ["Field", "Range", "as_toml", "check_ranges", "described", "fields_of"]

S = TypeVar("S", bound=type[msgspec.Struct])

_UNITS: Final = {
    "sat": "sat",
    "msat": "msat",
    "ppm": "ppm",
    "s": "s",
    "seconds": "s",
    "bytes": "bytes",
    "hops": "channels",
    "steps": "steps",
}
"""Units by the last word of a name."""
_NAMES: Final[dict[Any, str]] = {int: "int", float: "float", str: "text", bool: "true or false", types.NoneType: "none"}


class Range(NamedTuple):
    """The values that a number, or each number of a list, may have; a type has it as ``Annotated[int, Range(1)]``."""

    low: float
    """Least one."""
    high: float = math.inf
    """Greatest one."""
    above: bool = False
    """Whether ``low`` itself is too little."""

    def __str__(self) -> str:
        """Return the range as text."""
        if math.isinf(self.high):
            return f"{'above' if self.above else 'at least'} {self.low:,}"
        return f"{self.low:,}..{self.high:,}{f', above {self.low:,}' if self.above else ''}"

    @property
    def verb(self) -> str:
        """What a number in it does, in a sentence that goes on with the range."""
        return "be" if math.isinf(self.high) else "lie in"

    def holds(self, number: float) -> bool:
        """Return whether a number lies in it."""
        return self.low <= number <= self.high and not (self.above and number == self.low)


class Field(NamedTuple):
    """One setting."""

    name: str
    kind: str
    """What it may be, in words."""
    unit: str
    """Unit of its numbers; empty where they have none."""
    default: str
    """What it is unless set, as TOML writes it."""
    range: str
    """Which numbers are taken; empty where all of the type are, or where other settings decide."""
    meaning: str
    """What it is for."""
    inside: tuple[type[msgspec.Struct], ...]
    """The tables that it may be, each with fields of its own."""


def check_ranges(settings: msgspec.Struct, where: str = "") -> None:
    """Refuse numbers out of the range of their field.

    Args:
        settings: What holds them.
        where: What errors put before the field's name.

    Raises:
        ConfigError: A number is out of range.
    """
    for name, allowed in _ranges(type(settings)).items():
        value = getattr(settings, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not allowed.holds(number):
                raise ConfigError(f"{where}{name} must {allowed.verb} {allowed}, got {number:,}")


def fields_of(kind: type[msgspec.Struct]) -> tuple[Field, ...]:
    """Return the settings that a class holds, those of its bases first."""
    hints = get_type_hints(kind)
    ranges = _ranges(kind)
    meanings = _meanings(kind)
    return tuple(
        Field(
            name=field.name,
            kind=_in_words(hints[field.name]),
            unit=_unit(field.name),
            default=_default(field),
            range=str(ranges.get(field.name, "")),
            meaning=meanings.get(field.name, ""),
            inside=tuple(_structs(hints[field.name])),
        )
        for field in msgspec.structs.fields(kind)
    )


def described(kind: S) -> S:
    """Let ``help`` of a class show its settings; a class decorator."""
    if not isinstance(vars(kind).get("__doc__"), _Help):
        text = _Help(kind.__doc__ or "")
        text.kind = kind
        kind.__doc__ = text
    return kind


class _Help(str):
    """The docstring of a class: its own text, and its fields, which are read when somebody asks.

    Asked for as an attribute it is a descriptor; ``help`` takes it out of the class as it is, and expands its tabs.
    """

    __slots__ = ("kind",)

    kind: type[msgspec.Struct]

    def __get__(self, settings: object, kind: type[msgspec.Struct]) -> str:
        """Return the text as an attribute of the class or of an object."""
        return self.expandtabs()

    def expandtabs(self, tabsize: SupportsIndex = 8) -> str:  # noqa: ARG002
        """Return the text; there are no tabs in it."""
        lines = [inspect.cleandoc(str(self)), "", "Settings:"]
        for field in fields_of(self.kind):
            known = filter(None, [field.kind, field.unit, field.range, field.default and f"default {field.default}"])
            lines.append(f"    {field.name} ({'; '.join(known)})")
            lines += textwrap.wrap(field.meaning, 100, initial_indent=" " * 8, subsequent_indent=" " * 8)
        return "\n".join(lines)


@cache
def _ranges(kind: type[msgspec.Struct]) -> dict[str, Range]:
    """Return the range of each field that has one."""
    return {
        name: found
        for name, hint in get_type_hints(kind, include_extras=True).items()
        for found in _annotations(hint)
        if isinstance(found, Range)
    }


def _annotations(hint: Any) -> Iterator[Any]:
    """Yield what is annotated to a type, and to those that it is made of."""
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
        yield from _annotations(hint.__origin__)
    elif _is_union(hint):
        for one in get_args(hint):
            yield from _annotations(one)


@cache
def _meanings(kind: type) -> dict[str, str]:
    """Return the docstring of each field, in one line, of a class and its bases."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if issubclass(each, msgspec.Struct) and each is not msgspec.Struct:
            found |= _own_meanings(each)
    return found


def _own_meanings(kind: type) -> dict[str, str]:
    """Return the docstring of each field that a class itself declares: the text that follows it in the source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):  # installed without sources
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _unit(name: str) -> str:
    """Return the unit that a name says."""
    words = name.split("_")
    return "s" if words[0] == "seconds" else _UNITS.get(words[-1], "")


def _is_union(hint: Any) -> bool:
    """Return whether a type is one of several."""
    return get_origin(hint) in (Union, types.UnionType)


def _structs(hint: Any) -> Iterator[type[msgspec.Struct]]:
    """Yield the classes of tables that a type allows, also as items of lists and tables."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    elif get_origin(hint) is not Literal:
        for one in get_args(hint):
            yield from _structs(one)


def _in_words(hint: Any) -> str:
    """Return a type in words."""
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return " | ".join(f'"{value}"' for value in arguments)
    if _is_union(hint):
        return " | ".join(dict.fromkeys(map(_in_words, arguments)))
    if get_origin(hint) in (tuple, list):
        several = len(arguments) == 2 and arguments[1] is not Ellipsis
        return f"{'two' if several else 'list'} of {_in_words(arguments[0])}"
    if get_origin(hint) is dict:
        return "table" if arguments[1] is Any else f"table of {_in_words(arguments[1])}"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        tag = hint.__struct_config__.tag
        return f'table of kind "{tag}"' if tag else "table"
    return _NAMES.get(hint, "text, table or object")


def _default(field: msgspec.structs.FieldInfo) -> str:
    """Return the default of a field as TOML writes it; empty where there is none."""
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    return "" if value is msgspec.NODEFAULT else as_toml(value)


def as_toml(value: Any) -> str:
    """Return a value as TOML writes it, or in words."""
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        return f'"{tag}"' if tag else "as below"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value:_}" if isinstance(value, int) else str(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(as_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else "as below" if value else "{}"
