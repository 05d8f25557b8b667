"""How functions are compiled, made ready and given their data: all that touches numba more closely than ``njit``."""

from lnsim_gym.compiled.functions import fused, inlined, kernel, outlined
from lnsim_gym.compiled.kernels import ready

__all__ = ["fused", "inlined", "kernel", "outlined", "ready"]
