"""Agents that ship with the package: rules, planners and trained policies, and the recipes that name them.

Everything that needs torch lies in ``learning``.
"""

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.recipe import known_agents, view_of
from lnsim_gym.agents.registry import make_agent

__all__ = ["Agent", "known_agents", "make_agent", "view_of"]
