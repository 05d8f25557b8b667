"""Episodes: one step after another on one or many networks, before Gymnasium comes in.

A step is: apply a rebalance, draw and make a batch of payments, observe, and measure the reward terms. Two
runners do it: ``BackendEpisodes`` on any backend, one network at a time, and ``SimulatedEpisodes``, one compiled
loop over thousands. Both fill the same columns, and ``environment`` and ``vector`` only present those.
"""

from lnsim_gym.episodes.columns import StepColumns
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.episodes.runner import Episodes

__all__ = ["Episodes", "Problem", "StepColumns"]
