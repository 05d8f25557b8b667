"""Agents that look ahead: a forecast of the demand, and planners with the simulator as their model."""

from lnsim_gym.agents.planner.forecast import Forecast
from lnsim_gym.agents.planner.planners import Planner, PlannerOracle

__all__ = ["Forecast", "Planner", "PlannerOracle"]
