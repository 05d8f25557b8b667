"""Episodes: one step after another on one or many networks, before Gymnasium comes in.

A step is: do what the task decided, draw and make a batch of payments, measure, and observe (see ``tasks.base``). Two
runners do it: ``BackendEpisodes`` on any backend, one network at a time, and ``SimulatedEpisodes``, one compiled
loop over thousands. Both fill the same columns, which the environments only present.
"""

from lnsim_gym.episodes.problem import Problem
from lnsim_gym.episodes.runner import Episodes

__all__ = ["Episodes", "Problem"]
