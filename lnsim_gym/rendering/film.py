"""Pictures one after the other as one moving picture, in a file that browsers show."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.errors import ConfigError, MissingDependency

__all__ = ["Film"]

_ENDINGS: Final = (".gif", ".webp")
_COLORS: Final = 128
_STAYS: Final = 8
"""Pictures' worth of time that the last one stays."""


class Film:
    """Takes pictures, and writes them when it is done.

    Args:
        path: File to write, ``.gif`` or ``.webp``.
        fps: Pictures per second.

    Raises:
        ConfigError: The file has another ending.
        MissingDependency: Pillow or Matplotlib is not installed.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in _ENDINGS:
            raise ConfigError(f"expected a film that ends in {' or '.join(_ENDINGS)}, got {path}")
        if find_spec("PIL") is None or find_spec("matplotlib") is None:
            raise MissingDependency("a film needs matplotlib and pillow: run pip install 'lnsim_gym[render]'")
        self._path = path
        self._duration_ms = round(1000 / fps)
        self._pictures: list[npt.NDArray[np.uint8]] = []

    def add(self, picture: npt.NDArray[np.uint8]) -> None:
        """Take in a picture, uint8 of shape (height, width, 3); all are of one size."""
        self._pictures.append(picture)

    def write(self) -> None:
        """Write the file.

        Raises:
            OSError: It cannot be written.
        """
        from PIL import Image  # noqa: PLC0415 - an extra

        pictures: list[Any] = [Image.fromarray(picture) for picture in self._pictures]
        if self._path.suffix.lower() == ".gif":
            some = np.concatenate(self._pictures[:: max(1, len(pictures) // 8)])
            palette = Image.fromarray(some).quantize(_COLORS, dither=Image.Dither.NONE)
            pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
        durations = [self._duration_ms] * (len(pictures) - 1) + [_STAYS * self._duration_ms]
        pictures[0].save(
            self._path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, lossless=True
        )
