"""Turning plain data (TOML, JSON, keyword arguments) into typed, immutable structs, with errors a user can act on."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from lnsim_gym.errors import ConfigError, LnsimError, did_you_mean

__all__ = ["convert", "hint", "plain", "read_toml", "whole_number"]

S = TypeVar("S", bound=msgspec.Struct)


def convert(
    data: Mapping[str, Any], kind: type[S], what: str, error: type[ConfigError] = ConfigError, strict: bool = True
) -> S:
    """Convert plain data to a struct.

    Args:
        data: What the user wrote.
        kind: The struct it must fit.
        what: How to call the data in an error, for example ``"the topology"``.
        error: Class of the error to raise.
        strict: Refuse numbers written as text; foreign formats write 64-bit integers so.

    Raises:
        ConfigError: A key is unknown, missing or of the wrong type; the text names it and its place, and what is
            known there. An error of this package raised by the struct's own validation passes through unchanged.
    """
    try:
        return msgspec.convert(data, kind, strict=strict)
    except msgspec.ValidationError as problem:
        if isinstance(problem.__cause__, LnsimError):
            raise problem.__cause__ from None
        raise error(f"{what} does not fit its schema: {problem}{hint(str(problem), kind)}") from None


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return what a TOML file holds.

    Args:
        path: The file.
        what: How an error begins, for example with the name of the file.

    Raises:
        ConfigError: It cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(f"{what}: {problem.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{what}: nested too deeply") from None
    except ValueError as problem:  # no TOML, no text, or a number of thousands of digits
        raise ConfigError(f"{what}: {problem}") from None


def plain(data: Any) -> Any:
    """Turn what settings are written with elsewhere into what JSON has.

    Takes arrays and scalars of NumPy and the like, paths, and mappings and sequences of any class, at any depth.

    Raises:
        ConfigError: Something is no data.
    """
    return msgspec.to_builtins(data, enc_hook=_plain, str_keys=True)


def whole_number(name: str, value: Any, at_least: int) -> int:
    """Return a whole number, whatever its integer type, as one of Python.

    Raises:
        ConfigError: It is none, or too small.
    """
    try:
        number = None if isinstance(value, bool) else index(value)
    except TypeError:
        number = None
    if number is None or number < at_least:
        raise ConfigError(f"{name} must be an integer >= {at_least}, got {value!r}")
    return number


def hint(problem: str, kind: type[msgspec.Struct]) -> str:
    """Say which keys or values are known where msgspec found a problem, and where an unknown key would be known.

    Args:
        problem: Text of msgspec's ``ValidationError``.
        kind: The struct that the data did not fit.

    Returns:
        What to append to the text; nothing when there is nothing to say.
    """
    place = re.search(r"at `\$([^`]*)`", problem)
    whole = inspect.type_info(kind)
    here = list(_flat(whole))
    for step in re.findall(r"\.([^.\[]+)", place[1] if place else ""):
        here = [found for around in here for found in _inside(around, step)]
    if unknown := re.search(r"unknown field `([^`]*)`", problem):
        return _about_key(unknown[1], [key for around in here for key, _ in _fields(around)], whole)
    if wrong := re.search(r"Invalid (?:enum )?value '([^']*)'", problem):
        values = [value for around in here if isinstance(around, inspect.LiteralType) for value in around.values]
        return f".{did_you_mean(wrong[1], map(str, values))} Known: {', '.join(map(str, values))}" if values else ""
    return ""


def _plain(value: Any) -> Any:
    """Return a value of a class that msgspec does not know as one that it knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise ConfigError(
        f"expected settings of numbers, texts, lists and tables, got {value!r} of type {type(value).__name__}"
    )


def _about_key(key: str, known: list[str], whole: inspect.Type) -> str:
    """Say what may have been meant by an unknown key: one that is known there, or the same one elsewhere."""
    places = [repr(".".join(path)) for path in _paths(whole) if path[-1] == key]
    meant = f" There is {' and '.join(places)}." if places else did_you_mean(key, known)
    return f".{meant} Known here: {', '.join(dict.fromkeys(known))}"


def _flat(info: inspect.Type) -> Iterator[inspect.Type]:
    """Yield the alternatives of a type, with the items of lists and the values of tables in their place."""
    if isinstance(info, inspect.UnionType):
        inner = info.types
    elif isinstance(info, inspect.ListType | inspect.VarTupleType):
        inner = (info.item_type,)
    elif isinstance(info, inspect.DictType):
        inner = (info.value_type,)
    else:
        yield info
        return
    for alternative in inner:
        yield from _flat(alternative)


def _fields(info: inspect.Type) -> Iterator[tuple[str, inspect.Type]]:
    """Yield the keys of a struct, the one that tells its kind among them, and their types."""
    if isinstance(info, inspect.StructType):
        if info.tag_field is not None:
            yield info.tag_field, inspect.LiteralType((info.tag,))
        yield from ((field.encode_name, field.type) for field in info.fields)


def _inside(info: inspect.Type, key: str) -> Iterator[inspect.Type]:
    """Yield the alternatives of what a key of a struct may be."""
    for name, inner in _fields(info):
        if name == key:
            yield from _flat(inner)


def _paths(info: inspect.Type, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key of a struct and of every struct inside it."""
    for around in _flat(info):
        for key, inner in _fields(around):
            yield (*above, key)
            yield from _paths(inner, (*above, key))
