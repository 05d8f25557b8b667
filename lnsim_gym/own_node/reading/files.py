"""Files that programs of a node write, as far as all of them are read alike: texts, tables of JSON, lists in these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lnsim_gym.errors import ConfigError, TopologyError
from lnsim_gym.network.importers.documents import Document, entries_of, parse_json
from lnsim_gym.network.importers.reading import as_utf8, unpacked

__all__ = ["ALL_MSAT", "counting", "documents_in", "entries_in", "lists_in", "read_documents", "texts_in"]

ALL_MSAT: Final = 21_000_000 * 10**8 * 1000
"""All bitcoin that will ever be."""


def texts_in(path: Path) -> list[bytes]:
    """Return the texts in a file in UTF-8, whatever compressed it and whatever encoding it had.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return [as_utf8(text) for text in unpacked(path.expanduser().read_bytes(), path.name).values()]
    except OSError as problem:
        raise ConfigError(f"cannot read {path}: {problem.strerror}") from None
    except TopologyError as problem:
        raise ConfigError(f"{path}: {problem}") from None


def read_documents(path: Path) -> list[Document]:
    """Return the tables of JSON in a file, whatever compressed it and whatever encoding it has.

    Raises:
        ConfigError: It cannot be read, or is no whole JSON.
    """
    return documents_in(texts_in(path), path)


def documents_in(texts: Iterable[bytes], path: Path) -> list[Document]:
    """Return the tables of JSON in some texts of a file."""
    try:
        found = [one for text in texts for one in parse_json(text)]
    except TopologyError as problem:
        raise ConfigError(f"{path}: {problem}") from None
    except ValueError as problem:
        raise ConfigError(f"{path} is no whole JSON ({problem}): if it was cut off, export it again") from None
    tables: list[Document] = [one for one in found if isinstance(one, dict)]
    if not tables:
        raise ConfigError(f"{path}: expected what lncli prints, a JSON object, got {'a list' if found else 'nothing'}")
    return tables


def entries_in(path: Path, keys: Sequence[str], command: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of a file under those of the keys that it has, one of which it must have."""
    for document in read_documents(path):
        yield from lists_in(document, path, keys, command)


def lists_in(document: Document, path: Path, keys: Sequence[str], command: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of a table under those of the keys that it has, one of which it must have."""
    present = [key for key in keys if key in document]
    if not present:
        held = ", ".join(list(document)[:5]) or "nothing"
        raise ConfigError(f"{path}: expected the output of {command}, with {' or '.join(keys)}; it holds {held}")
    for key in present:
        try:
            yield key, entries_of(document, key, command)
        except TopologyError as problem:
            raise ConfigError(f"{path}: {problem}") from None


def counting(left_out: Counter[str], cause: str) -> Any:
    """Return what counts entries that cannot be read."""

    def count(_: str) -> None:
        left_out[cause] += 1

    return count
