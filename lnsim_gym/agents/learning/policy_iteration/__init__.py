"""Direct policy iteration, an algorithm in the form of stable-baselines3 that learns from rollouts in the simulator."""

from lnsim_gym.agents.learning.policy_iteration.algorithm import DirectPolicyIteration
from lnsim_gym.agents.learning.policy_iteration.policy import ActionValuePolicy

__all__ = ["ActionValuePolicy", "DirectPolicyIteration"]
