"""Short names for the types of numpy arrays. Shapes stand in comments and docstrings where the arrays do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "Bool",
    "Float32",
    "Float64",
    "Int8",
    "Int32",
    "Int64",
    "Records",
    "UInt8",
    "UInt32",
    "UInt64",
]

Bool = npt.NDArray[np.bool_]
Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]
UInt64 = npt.NDArray[np.uint64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Records = npt.NDArray[np.void]
