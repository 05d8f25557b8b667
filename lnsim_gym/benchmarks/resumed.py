"""Files of lines of JSON that a run of a seed goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from lnsim_gym.errors import ConfigError

__all__ = ["append_line", "resumed"]

Line = TypeVar("Line", bound=msgspec.Struct)


def resumed(out: Path | None, seed: int, kind: type[Line]) -> list[Line]:
    """Return the lines of a file, whose first has the seed; a new one gets that, and what was cut off goes.

    Args:
        out: The file; None for none.
        seed: Seed of the run.
        kind: What its lines hold.

    Raises:
        ConfigError: The file is of another seed, or of something else.
    """
    if out is None:
        return []
    if not out.exists():
        out.write_bytes(msgspec.json.encode({"seed": seed}) + b"\n")
    whole, _, _ = out.read_bytes().rpartition(b"\n")
    try:
        first, *rest = whole.splitlines()
        begun = msgspec.json.decode(first, type=dict[str, int])
        lines = [msgspec.json.decode(line, type=kind) for line in rest]
    except (ValueError, msgspec.MsgspecError) as problem:
        raise ConfigError(f"expected {out} to be of an earlier run, got {problem}: name another file") from None
    if begun != {"seed": seed}:
        raise ConfigError(f"expected {out} to be of seed {seed}, got {begun}: name another file, or that seed")
    out.write_bytes(whole + b"\n")
    return lines


def append_line(out: Path | None, line: msgspec.Struct) -> None:
    """Append a line to a file, if there is one."""
    if out is not None:
        with out.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
