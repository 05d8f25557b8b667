"""Files that grow by whole pieces: what is on disk can be read, also once there is no more room."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

from lnsim_gym.errors import RecordError

__all__ = ["WholeFile"]


class WholeFile:
    """A file that each piece is appended to as a whole, or not at all.

    Args:
        path: The file.
        mode: ``"w"`` to replace one that exists, ``"x"`` to refuse it.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, mode: Literal["w", "x"] = "w") -> None:
        self.path = path
        self._file = io.FileIO(path, mode)
        self._size = 0

    def append(self, piece: bytes) -> None:
        """Append a piece.

        Raises:
            RecordError: There is no room for it.
        """
        left = memoryview(piece)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as problem:
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise RecordError(
                f"cannot write {self.path}: {problem.strerror}; make room, what was recorded before is whole"
            ) from None
        self._size += len(piece)

    def close(self) -> None:
        """Close the file; harmless when closed already."""
        self._file.close()
