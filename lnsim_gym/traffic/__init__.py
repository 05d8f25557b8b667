"""Who wants to pay whom, how much: a pure function of (seed, episode, step), the same on every backend.

This room knows topologies but neither balances nor backends.
"""

from lnsim_gym.payments import DESCRIPTIONS
from lnsim_gym.traffic.models import (
    CardTraffic,
    ClassicTraffic,
    DriftTraffic,
    Flow,
    FlowsTraffic,
    MarketTraffic,
    SimlnTraffic,
    TrafficModel,
    compile_traffic,
)
from lnsim_gym.traffic.source import TrafficSource

__all__ = [
    "DESCRIPTIONS",
    "CardTraffic",
    "ClassicTraffic",
    "DriftTraffic",
    "Flow",
    "FlowsTraffic",
    "MarketTraffic",
    "SimlnTraffic",
    "TrafficModel",
    "TrafficSource",
    "compile_traffic",
]
