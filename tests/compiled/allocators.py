"""Allocators that see accesses outside an array, to replace ``lnsim_gym.compiled.memory.allocate``."""

import ctypes
import math
import mmap

import numpy as np

ZONE_BYTES = 4096
PATTERN = 0xA5


class Guards:
    """Puts a zone of a pattern before and after every array; a write into one stays visible.

    What is read from a zone is a large negative number, so that results show a read too.
    """

    def __init__(self):
        self._blocks = []

    def __call__(self, shape, dtype):
        size = math.prod(shape) * dtype.itemsize
        block = np.full(size + 2 * ZONE_BYTES + 64, PATTERN, np.uint8)
        start = ZONE_BYTES + -block.ctypes.data % 64
        block[start : start + size] = 0
        self._blocks.append((block, start, start + size, (shape, dtype)))
        return np.ndarray(shape, dtype, block, start)

    def __len__(self):
        return len(self._blocks)

    def broken(self):
        """Return shape and type of the arrays that something was written beside."""
        return [
            array
            for block, start, end, array in self._blocks
            if (block[:start] != PATTERN).any() or (block[end:] != PATTERN).any()
        ]


class Fences:
    """Puts every array against a page that cannot be touched: an access beyond that end kills the process.

    A block lives as long as its array, so that the system does not run out of mappings.

    Args:
        side: Where the page lies, ``"after"`` or ``"before"`` the array.
    """

    def __init__(self, side):
        self._side = side
        self._protect = ctypes.CDLL(None, use_errno=True).mprotect
        self._protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def __call__(self, shape, dtype):
        size = math.prod(shape) * dtype.itemsize
        pages = -(-size // mmap.PAGESIZE)
        block = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(block))
        fence, start = (0, mmap.PAGESIZE) if self._side == "before" else (pages, pages * mmap.PAGESIZE - size)
        if self._protect(address + fence * mmap.PAGESIZE, mmap.PAGESIZE, 0):
            raise OSError(ctypes.get_errno(), "mprotect failed")
        return np.ndarray(shape, dtype, block, start)
