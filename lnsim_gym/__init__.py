"""Reinforcement learning over a Lightning network: real LND nodes, or a simulator that agrees with them.

Importing the package registers its environments with Gymnasium, so that ``gym.make("LightningNet-v0")`` works.
``parallel_env`` makes the PettingZoo form of one of them, in which every node is an agent.
"""

from typing import TYPE_CHECKING

from lnsim_gym.environment.registration import register_environments
from lnsim_gym.lazy import imported_when_used
from lnsim_gym.version import __version__

if TYPE_CHECKING:
    from lnsim_gym.environment.every_node import parallel_env

__all__ = ["__version__", "parallel_env"]

__getattr__ = imported_when_used(__name__, {"parallel_env": "lnsim_gym.environment.every_node"})

register_environments()
