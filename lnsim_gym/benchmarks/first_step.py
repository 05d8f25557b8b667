"""What the first step of an environment costs: CPU time of a fresh process, from its start to the end of that step."""

from __future__ import annotations

import statistics
import tempfile
from typing import Final

import msgspec

from lnsim_gym.benchmarks.checkout import Checkout

__all__ = ["FirstStep", "first_step"]

PROGRAM: Final = """
import os
os.environ.pop("NUMBA_CACHE_DIR", None)
import time
import gymnasium as gym
import lnsim_gym
env = gym.make("LightningNet-v0", backend="simulator")
env.reset(seed=0)
env.step(0)
print(time.process_time())
"""


class FirstStep(msgspec.Struct, frozen=True, kw_only=True):
    """CPU seconds to the end of the first step, imports included."""

    cold_s: float
    """With an empty cache of machine code: compiled, or loaded if the installation brings it."""
    warm_s: float
    """With a full one, the median of several processes."""


def first_step(checkout: Checkout, warm_runs: int = 3) -> FirstStep:
    """Measure the first step of the default environment on the simulator.

    Args:
        checkout: Whose code is measured.
        warm_runs: Processes that find the functions compiled.

    Raises:
        LnsimError: The code failed.
    """
    with tempfile.TemporaryDirectory(prefix="lnsim-bench-") as cache:
        cold, *warm = (float(checkout.python(PROGRAM, LNSIM_CACHE_DIR=cache)) for _ in range(1 + warm_runs))
    return FirstStep(cold_s=cold, warm_s=statistics.median(warm))
