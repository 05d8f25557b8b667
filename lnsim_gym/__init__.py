"""Reinforcement learning over a Lightning network: real LND nodes, or a simulator that agrees with them.

Importing the package registers its environments with Gymnasium, so that ``gym.make("LightningNet-v0")`` works.
"""

from lnsim_gym.environment.registration import register_environments
from lnsim_gym.version import __version__

__all__ = ["__version__"]

register_environments()
