"""The public place of ``LightningVecEnv``, the vector environment for stable-baselines3."""

from lnsim_gym.agents.learning.sb3 import LightningVecEnv

__all__ = ["LightningVecEnv"]
