"""The embedded simulator: LND's own outcomes, compiled; one network at a time or thousands at once.

What the compiled engine does is written down in plain Python, and easier to read, in ``tests/oracle``; the tests hold
the two to each other to the msat.
"""

from lnsim_gym.backends.simulator.backend import SimulatorBackend

__all__ = ["SimulatorBackend"]
