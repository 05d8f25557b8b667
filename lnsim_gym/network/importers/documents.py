"""JSON of other programs, decoded as late as possible: entry by entry, each into the struct that is needed of it.

So a graph of a hundred megabytes never becomes a gigabyte of tables, and one odd entry spoils nothing but itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec

from lnsim_gym.errors import TopologyError
from lnsim_gym.schema import convert

__all__ = ["Document", "decode_entries", "decoded", "entries_of", "parse_json"]

Document = Mapping[str, Any]
"""A JSON object, whose values, or the entries of whose lists, may be ``msgspec.Raw``: not decoded yet."""

S = TypeVar("S", bound=msgspec.Struct)

_TOO_DEEP: Final = "the JSON is nested too deeply: a network is a table of lists of channels, no deeper than that"
_ESCAPE: Final = re.compile(
    rb"(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(?P<half>\\ud[89a-f][0-9a-f]{2})|\\.", re.DOTALL
)


def parse_json(data: bytes) -> list[Any]:
    """Return the JSON documents that a file holds one after the other, usually one; tables are not decoded further.

    Args:
        data: UTF-8 text.

    Raises:
        ValueError: It is no JSON; the text names line and column.
        TopologyError: It is nested too deeply.
    """
    documents: list[Any] = []
    while True:
        document, rest = _first_document(data)
        documents.append(document)
        if not rest.strip():
            return documents
        data = rest


def _first_document(data: bytes) -> tuple[Any, bytes]:
    """Return the first document and what follows it."""
    is_table = re.match(rb"\s*{", data)
    kind: Any = dict[str, msgspec.Raw] if is_table else list[msgspec.Raw]
    try:
        if is_table:
            with suppress(msgspec.ValidationError):  # most networks are a table of lists: opened in one go
                return msgspec.json.decode(data, type=dict[str, list[msgspec.Raw]]), b""
        return msgspec.json.decode(data, type=kind), b""
    except RecursionError:
        raise TopologyError(_TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        if end := re.search(r"trailing characters \(byte (\d+)\)", str(problem)):
            begin = int(end[1]) - 1
            return msgspec.json.decode(data[:begin], type=kind), data[begin:]
    whole = _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], data)
    if whole != data:
        return _first_document(whole)
    try:
        return json.loads(data), b""  # takes numbers that are none, and else says in which line the fault is
    except RecursionError:
        raise TopologyError(_TOO_DEEP) from None


def decoded(value: Any) -> Any:
    """Return a value of a document, or a list of such, in full."""
    if isinstance(value, list):
        return [decoded(entry) for entry in value]
    try:
        return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value
    except RecursionError:
        raise TopologyError(_TOO_DEEP) from None


def entries_of(document: Document, key: str, what: str) -> list[Any]:
    """Return a list of a document, its entries not decoded yet.

    Raises:
        TopologyError: There is none; the text calls the document ``what``.
    """
    value = document.get(key)
    if isinstance(value, msgspec.Raw):
        try:
            entries: list[Any] = msgspec.json.decode(value, type=list[msgspec.Raw])
            return entries
        except msgspec.ValidationError:
            value = decoded(value)
    if not isinstance(value, list):
        raise TopologyError(f"{what} needs a list under {key!r}, got {type(value).__name__}")
    return value


def decode_entries(entries: list[Any], kind: type[S], where: str, malformed: Callable[[str], object]) -> Iterator[S]:
    """Yield the entries of a list as structs, numbers written as text included.

    Args:
        entries: What ``entries_of`` returned.
        kind: What each must fit.
        where: Name of the list, for messages.
        malformed: Called with what is wrong with each entry that does not fit.
    """
    decoder = msgspec.json.Decoder(kind, strict=False)
    for index, entry in enumerate(entries):
        try:
            if isinstance(entry, msgspec.Raw):
                yield decoder.decode(entry)
            else:
                yield convert(entry, kind, f"{where}[{index}]", TopologyError, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            malformed(f"{where}[{index}] does not fit its schema: {problem}")
        except TopologyError as problem:
            malformed(str(problem))
