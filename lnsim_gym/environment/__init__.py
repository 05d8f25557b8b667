"""The Gymnasium forms of an episode: single and vector environments, their registration, and recording wrappers."""

from lnsim_gym.environment.single import LightningNetEnv
from lnsim_gym.environment.vector import LightningNetVectorEnv

__all__ = ["LightningNetEnv", "LightningNetVectorEnv"]
