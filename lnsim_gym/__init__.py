"""Reinforcement learning over a Lightning network: real LND nodes, or a simulator that agrees with them."""

__version__ = "0.1.0"
