"""Training the agents of recipes with stable-baselines3, in the simulator. Everything starts from ``train.train``."""
