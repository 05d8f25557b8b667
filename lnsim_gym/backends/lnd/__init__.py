"""A Lightning network of real lnd nodes on one machine, behind the same interface as the simulator."""

from lnsim_gym.backends.lnd.backend import LndBackend
from lnsim_gym.backends.lnd.settings import LndSettings

__all__ = ["LndBackend", "LndSettings"]
