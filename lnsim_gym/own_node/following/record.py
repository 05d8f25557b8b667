"""The record of a node's folder: what was advised, what was done and what came of it, a line of JSON for each.

Lines are only ever added, and the file is its owner's alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import msgspec

from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node.advice.changes import Change
from lnsim_gym.own_node.advice.told import Advice
from lnsim_gym.own_node.reading.folder import KEPT

__all__ = ["RECORD", "Entry", "Given", "Outcome", "Taken", "append", "changes_made", "read_record"]

(RECORD,) = KEPT
"""Its file in the folder of a node."""


class Given(msgspec.Struct, frozen=True, kw_only=True, tag="advice"):
    """Advice that was given."""

    advice: Advice


class Taken(msgspec.Struct, frozen=True, kw_only=True, tag="action"):
    """A change that was tried, or found to be made by other hands."""

    time_ns: int
    """When, in nanoseconds since 1970."""
    advice_ns: int
    """Time of the advice that it follows."""
    change: Change
    result: Literal["done", "refused", "surprise", "noticed"]
    """``"refused"``: the node said no, nothing happened. ``"surprise"``: something else happened than was expected.
    ``"noticed"``: it was there at a later import."""
    fee_msat: int = 0
    """What it cost."""
    said: str = ""
    """What is to be said of it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, tag="outcome"):
    """What forwards earned in the time of a forecast, and whether that was foreseen."""

    advice_ns: int
    """Time of the advice that the forecast came with."""
    was_done: bool
    """Whether all that was advised was done, or none of it."""
    levels: tuple[float, ...]
    """Quantiles that were forecast, at ``LEVELS``, in sat."""
    earned_sat: float
    channels: tuple[tuple[int, tuple[float, ...], float], ...]
    """By channel: its short channel id, what was forecast, and what it earned."""


Entry = Given | Taken | Outcome


def append(folder: Path, *entries: Entry) -> None:
    """Add entries to the record, on the disk before this returns.

    Raises:
        ConfigError: It cannot be written.
    """
    lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
    path = folder.expanduser() / RECORD
    try:
        with open(path, "ab+", opener=_private) as file:
            path.chmod(0o600)
            if file.tell() and not _ends_in_a_line(file):  # cut off before, as by a power failure
                lines = b"\n" + lines
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise ConfigError(f"cannot write {path}: {problem.strerror}") from None


def _private(path: str, flags: int) -> int:
    """Open a file, for its owner only where it is new."""
    return os.open(path, flags, 0o600)


def _ends_in_a_line(file: IO[bytes]) -> bool:
    """Whether the last line of a file is whole; the file is at its end again afterwards."""
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def read_record(folder: Path) -> list[Entry]:
    """Return all entries of a record, none where there is no record yet.

    Raises:
        ConfigError: It cannot be read, or a line is no entry.
    """
    path = folder.expanduser() / RECORD
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise ConfigError(f"cannot read {path}: {problem.strerror}") from None
    return list(_entries(lines, path))


def _entries(lines: list[bytes], path: Path) -> Iterator[Entry]:
    """Yield the entries of lines."""
    decoder = msgspec.json.Decoder(Entry)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise ConfigError(
                f"{path}, line {number}: expected an entry of the record, got {line[:60]!r}: {problem}; "
                "take the line out, or move the file away to begin a new one"
            ) from None


def changes_made(entries: list[Entry]) -> list[tuple[int, Change]]:
    """Return the changes that were made, with their times."""
    return [
        (one.time_ns, one.change)
        for one in entries
        if isinstance(one, Taken) and one.result in ("done", "noticed", "surprise")
    ]
