"""Evolution strategies: steps along the gradient that ranks of antithetic candidates estimate.

Source: Salimans and others, Evolution Strategies as a Scalable Alternative to Reinforcement Learning (2017): antithetic
pairs, scores shaped to ranks, steps by Adam (Kingma and Ba, 2015), weights that decay. What is kept is a running mean
of the weights.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

import numpy as np

from lnsim_gym.arrays import Float64

__all__ = ["SearchState", "candidates_of", "stepped"]

FIRST_MOMENT: Final = 0.9
SECOND_MOMENT: Final = 0.99
DECAY: Final = 5e-4
AVERAGING: Final = 0.05
"""Share of the newest weights in the running mean."""


class SearchState(NamedTuple):
    """Where a search stands; all arrays have the shape of the weights."""

    weights: Float64
    mean: Float64
    """Running mean of the weights: what is kept."""
    first: Float64
    second: Float64
    """Moments of the gradient."""
    generation: int

    @classmethod
    def at(cls, weights: Float64) -> Self:
        """Begin at some weights."""
        return cls(weights.copy(), weights.copy(), np.zeros(weights.shape), np.zeros(weights.shape), 0)


def candidates_of(state: SearchState, pairs: int, noise: float, seed: int) -> tuple[Float64, Float64]:
    """Return the candidates of a generation and their directions.

    Args:
        state: Where the search stands.
        pairs: Antithetic pairs.
        noise: Standard deviation around the weights.
        seed: Seed of the search; each generation has a stream of its own.

    Returns:
        Candidates, shape (2 * pairs, weights), those of a pair side by side; directions, shape (pairs, weights).
    """
    rng = np.random.default_rng([seed, state.generation])
    directions = rng.standard_normal((pairs, len(state.weights)))
    signs = np.array([1.0, -1.0])[None, :, None]
    candidates = state.weights + noise * signs * directions[:, None]
    return candidates.reshape(2 * pairs, -1), directions


def stepped(state: SearchState, directions: Float64, scores: Float64, noise: float, step_size: float) -> SearchState:
    """Return the state after a step, given the scores of the candidates, shape (2 * pairs,)."""
    ranks = scores.argsort().argsort().reshape(-1, 2) / (len(scores) - 1) - 0.5
    gradient = ((ranks[:, 0] - ranks[:, 1])[:, None] * directions).mean(axis=0) / noise
    generation = state.generation + 1
    first = FIRST_MOMENT * state.first + (1 - FIRST_MOMENT) * gradient
    second = SECOND_MOMENT * state.second + (1 - SECOND_MOMENT) * gradient**2
    upwards = first / (1 - FIRST_MOMENT**generation)
    upwards /= np.sqrt(second / (1 - SECOND_MOMENT**generation)) + 1e-8
    weights = (1 - DECAY) * (state.weights + step_size * upwards)
    mean = (1 - AVERAGING) * state.mean + AVERAGING * weights
    return SearchState(weights, mean, first, second, generation)
