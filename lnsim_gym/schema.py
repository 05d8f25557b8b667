"""Turning plain data (TOML, JSON, keyword arguments) into typed, immutable structs, with errors a user can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

import msgspec

from lnsim_gym.errors import ConfigError, LnsimError, did_you_mean

__all__ = ["convert"]

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
        strict: Refuse numbers written as text; foreign formats write 64-bit integers that way.

    Raises:
        ConfigError: A key is unknown, missing or of the wrong type; the text names it and its place. An error
            of this package raised by the struct's own validation passes through unchanged.
    """
    try:
        return msgspec.convert(data, kind, strict=strict)
    except msgspec.ValidationError as problem:
        if isinstance(problem.__cause__, LnsimError):
            raise problem.__cause__ from None
        raise error(f"{what} does not fit its schema: {problem}{_hint(str(problem), kind)}") from None


def _hint(problem: str, kind: type[msgspec.Struct]) -> str:
    """Name the closest known key when the problem is an unknown one."""
    unknown = re.search(r"unknown field `([^`]*)`", problem)
    return did_you_mean(unknown[1], _field_names(kind)) if unknown else ""


def _field_names(kind: Any) -> Iterator[str]:
    """Yield the keys of a struct and of every struct inside it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield field.encode_name
            yield from _field_names(field.type)
    for argument in get_args(kind):
        yield from _field_names(argument)
