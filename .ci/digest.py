"""Plays some steps of the simulated environments and prints a digest of all that they return, to the last bit."""

import hashlib

import gymnasium as gym
import numpy as np

import lnsim_gym  # noqa: F401  registers the environments

STEPS = 10
SETTINGS = {
    "LightningNet-v0": (
        {},
        {"traffic": {"kind": "card"}, "payment": {"mission_control": "per_episode"}},
        {"traffic": {"kind": "simln"}, "payment": {"max_parts": 4}, "payments_per_step": 50},
    ),
    "LightningNet100-v0": ({},),
    "LightningNetClassic-v0": ({},),
    "LightningNetRandom-v0": ({},),
}

digest = hashlib.sha256()
for name, variations in SETTINGS.items():
    for settings in variations:
        environment = gym.make(name, **settings)
        space = environment.observation_space
        for seed in range(3):
            observation, _ = environment.reset(seed=seed)
            digest.update(gym.spaces.flatten(space, observation).tobytes())
            for step in range(STEPS):
                observation, reward, *_ = environment.step(step % environment.action_space.n)
                digest.update(gym.spaces.flatten(space, observation).tobytes())
                digest.update(np.float64(reward).tobytes())
print(digest.hexdigest())
