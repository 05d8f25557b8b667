"""Learning agents: everything here needs torch and stable-baselines3."""
