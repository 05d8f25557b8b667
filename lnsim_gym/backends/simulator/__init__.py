"""The embedded simulator: LND's own outcomes, compiled; one network at a time or thousands at once."""

from lnsim_gym.backends.simulator.backend import SimulatorBackend

__all__ = ["SimulatorBackend"]
