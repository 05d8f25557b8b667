"""Random numbers as a pure function of (seed, episode, step, purpose), compiled.

A counter-based stream: the key of a stream is a hash of what it is for, and the stream is SplitMix64 from that
key (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). So any batch can be drawn at any
time, in any process, alone or among thousands, and is always the same.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.compiled import fused, kernel

__all__ = [
    "PURPOSE_ACTIVITY",
    "PURPOSE_FLOWS",
    "PURPOSE_FORWARD",
    "PURPOSE_GOSSIP",
    "PURPOSE_PAYMENTS",
    "PURPOSE_OTHERS",
    "PURPOSE_START",
    "PURPOSE_VARIANT",
    "PURPOSE_WEIGHTS",
    "advance",
    "advanced",
    "fork",
    "stream",
    "stream_start",
    "uniform",
    "word",
]

PURPOSE_PAYMENTS: Final = np.uint64(1)
"""Stream of the payments of one step."""
PURPOSE_WEIGHTS: Final = np.uint64(2)
"""Stream of the node weights of one demand regime."""
PURPOSE_START: Final = np.uint64(3)
"""Stream of the start balances of one episode."""
PURPOSE_VARIANT: Final = np.uint64(4)
"""Stream of the variant of the problem that one episode is on."""
PURPOSE_FORWARD: Final = np.uint64(5)
"""Stream of the choices among parallel channels in one episode."""
PURPOSE_GOSSIP: Final = np.uint64(6)
"""Stream of the delays of gossip in one episode."""
PURPOSE_FLOWS: Final = np.uint64(7)
"""Stream of the payments of one step of a market."""
PURPOSE_ACTIVITY: Final = np.uint64(8)
"""Stream of when the flows of a market are active in one episode."""
PURPOSE_OTHERS: Final = np.uint64(9)
"""Stream of what other nodes do in one step."""

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_TO_UNIT = 2.0**-53


@fused
def word(state: Any) -> Any:
    """Return the 64 random bits of a stream state (the SplitMix64 finalizer)."""
    mixed = (state ^ (state >> _SHIFT_30)) * _MULTIPLY_1
    mixed = (mixed ^ (mixed >> _SHIFT_27)) * _MULTIPLY_2
    return mixed ^ (mixed >> _SHIFT_31)


@fused
def advance(state: Any) -> Any:
    """Return the next state of a stream."""
    return state + _GAMMA


def advanced(state: int, times: int) -> int:
    """Return the state of a stream a number of states on, for calls from Python."""
    return (state + times * int(_GAMMA)) % 2**64


@fused
def uniform(state: Any) -> Any:
    """Return the float64 in [0, 1) of a stream state."""
    return np.float64(word(state) >> _SHIFT_11) * _TO_UNIT


@fused
def fork(state: Any, part: Any) -> Any:
    """Return the start state of a stream of its own for a part of what a stream is for, by the part's number."""
    return word((state ^ np.uint64(part)) + _GAMMA)


@fused
def stream(seed: Any, episode: Any, step: Any, purpose: Any) -> Any:
    """Return the start state of the stream for a purpose within a step of an episode.

    Args:
        seed: Seed of the environment, uint64 bits.
        episode: Index of the episode since that seed.
        step: Index of the step, or of the demand regime.
        purpose: One of the ``PURPOSE_`` constants.
    """
    state = word(np.uint64(seed) + _GAMMA)
    return fork(fork(fork(state, episode), step), purpose)


@kernel
def stream_start(seed: Any, episode: Any, step: Any, purpose: Any) -> int:
    """Do what ``stream`` does, for calls from Python."""
    state: int = stream(seed, episode, step, purpose)
    return state
