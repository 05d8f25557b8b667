"""How functions are compiled and their machine code kept: everything that knows numba more closely than ``njit``."""

from lnsim_gym.compiled.functions import fused, inlined, kernel, outlined

__all__ = ["fused", "inlined", "kernel", "outlined"]
