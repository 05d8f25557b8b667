"""The smallest episode state there is: what the compiled loop learns its types from."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lnsim_gym.episodes.columns import StepColumns
from lnsim_gym.episodes.config import EnvironmentConfig
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.episodes.state import EpisodeState, make_state

__all__ = ["example_state"]


@lru_cache(maxsize=1)
def example_state() -> EpisodeState:
    """Return the state of one network of two nodes; every state has its types."""
    topology = {"nodes": ["a", "b"], "channels": [{"initiator": "a", "peer": "b", "capacity_sat": 100_000}]}
    problem = Problem.of(EnvironmentConfig.of({"topology": topology, "payments_per_step": 1}))
    places = (np.zeros(1, np.uint64), *(np.zeros(1, np.int64) for _ in range(3)))
    return make_state(problem, StepColumns.zeros(problem, 1), places)  # type: ignore[arg-type]
