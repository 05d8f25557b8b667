"""Agents that ship with the package: rules that look at balances, and the recipes that name them."""

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.recipes import known_agents, make_agent, view_of

__all__ = ["Agent", "known_agents", "make_agent", "view_of"]
