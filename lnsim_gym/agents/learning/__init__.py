"""Agents that learn: everything that needs torch and stable-baselines3 lies here, and nowhere else."""
