"""Rewards: named terms of one step, and the weights that make them one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.errors import ConfigError, did_you_mean

__all__ = ["MEANINGS", "PRESETS", "TERMS", "reward_weights"]

MEANINGS: Final = {
    "success_rate": "payments of the batch that settled, as a share, in [0, 1]",
    "volume_rate": "amount that settled as a share of the amount asked for, in [0, 1]",
    "routing_fees_sat": "fees that senders of the batch paid to forwarding nodes, in sat",
    "rebalance_fees_sat": "fees that the rebalance paid to forwarding nodes, in sat",
    "rebalanced_share": "amount of the rebalance as a share of the smallest channel on its route, in [0, 1]",
}
"""What each term of a step's reward means."""
TERMS: Final = tuple(MEANINGS)
"""Terms of every step, in the order of every array of terms."""

PRESETS: Final[dict[str, dict[str, float]]] = {
    "success_rate": {"success_rate": 1.0},
    "volume": {"volume_rate": 1.0},
    "profit": {"routing_fees_sat": 1.0, "rebalance_fees_sat": -1.0},
}
"""Weights by the name a config uses."""


def reward_weights(reward: str | Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Return the weight of each term.

    Args:
        reward: Name of a preset, or weights by term.

    Returns:
        Weights of shape (terms,), in the order of ``TERMS``.

    Raises:
        ConfigError: The preset or a term is unknown, or no term has a weight.
    """
    if isinstance(reward, str):
        if reward not in PRESETS:
            raise ConfigError(
                f"unknown reward {reward!r}.{did_you_mean(reward, PRESETS)} "
                f"Known: {', '.join(PRESETS)}, or weights of the terms {', '.join(TERMS)}"
            )
        reward = PRESETS[reward]
    for term in reward:
        if term not in TERMS:
            raise ConfigError(f"unknown reward term {term!r}.{did_you_mean(term, TERMS)} Known: {', '.join(TERMS)}")
    weights = np.array([reward.get(term, 0.0) for term in TERMS], np.float64)
    if not np.isfinite(weights).all() or not weights.any():
        raise ConfigError(f"a reward needs finite weights and at least one that is not 0, got {dict(reward)}")
    return weights
