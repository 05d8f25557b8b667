"""The smallest loop state there is: what the compiled loop learns its types from."""

from __future__ import annotations

from functools import lru_cache

from lnsim_gym.network import Topology
from lnsim_gym.tasks.columns import Sizes, StepColumns
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.state import LoopState, Places, make_state, make_variants
from lnsim_gym.traffic.models import compile_traffic

__all__ = ["example_state"]


@lru_cache(maxsize=1)
def example_state() -> LoopState:
    """Return the state of one network of two nodes; every state has its types."""
    data = {"nodes": ["a", "b"], "channels": [{"initiator": "a", "peer": "b", "capacity_sat": 100_000}]}
    topology = Topology.from_dict(data)
    config = EnvironmentConfig(payments_per_step=1)
    columns = StepColumns.zeros(Sizes(2, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0), 1)
    variants = make_variants(config, [topology], [compile_traffic(config.traffic, topology)], linked=False)
    return make_state(config, variants, columns, Places.zeros(1), own_policies=False, draws_payments=False)
