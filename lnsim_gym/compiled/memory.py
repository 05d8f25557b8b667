"""Where the arrays come from that compiled code works on.

Compiled code checks no index, so a wrong one reads or overwrites whatever lies beside an array. All arrays that it
works on are made here, by one allocator, which can be replaced by one that sees such an access (``allocate``).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["CACHE_LINE_BYTES", "allocate", "copied", "filled", "zeros"]

CACHE_LINE_BYTES: Final = 64
"""What processors read and write at once."""


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a C-contiguous array of zeros that shares no cache line with any other.

    So threads that write to different arrays never wait for each other. The system provides the memory of large
    arrays only as it is written to. Every other function of this module gets its arrays here, by this name in this
    module: assign to it to allocate in another way.

    Args:
        shape: Any shape; may be empty.
        dtype: Type of the elements.
    """
    raw = np.zeros(math.prod(shape) * dtype.itemsize + 2 * CACHE_LINE_BYTES, np.uint8)
    return np.ndarray(shape, dtype, raw, -raw.ctypes.data % CACHE_LINE_BYTES)


def zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of zeros for compiled code, as ``numpy.zeros`` does."""
    return allocate(shape if isinstance(shape, tuple) else (shape,), np.dtype(dtype))


def filled(shape: int | tuple[int, ...], value: float, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of one value for compiled code, as ``numpy.full`` does."""
    array = zeros(shape, dtype)
    array[...] = value
    return array


def copied(values: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return a copy of an array, or of nested lists of numbers, for compiled code; of another type if one is given."""
    source = np.asarray(values, dtype)
    array = zeros(source.shape, source.dtype)
    array[...] = source
    return array
