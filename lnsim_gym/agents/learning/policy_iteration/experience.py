"""What direct policy iteration learns from: what was seen, and what each of some actions led to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Float32, Int64

__all__ = ["Experience"]


class Experience:
    """A ring of what was seen last, with the actions tried there and their returns.

    Args:
        size: Observations that are kept.
        shape: Shape of the basis of the values of actions, which is what is kept of an observation.
        candidates: Actions tried at each.
    """

    def __init__(self, size: int, shape: tuple[int, ...], candidates: int) -> None:
        self._basis: Float32 = np.zeros((size, *shape), np.float32)
        self._action = np.zeros((size, candidates), np.int32)
        self._return: Float32 = np.zeros((size, candidates), np.float32)
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, len(self._basis))

    def add(self, basis: Float32, action: Int64, returns: npt.NDArray[np.float64]) -> None:
        """Add n observations, shape (n, *shape), with actions and returns of shape (n, candidates)."""
        place = (self._added + np.arange(len(basis))) % len(self._basis)
        self._basis[place] = basis
        self._action[place] = action
        self._return[place] = returns
        self._added += len(basis)

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Float32, Int64, Float32]:
        """Draw observations with their actions and returns."""
        place = rng.integers(len(self), size=count)
        return self._basis[place], self._action[place].astype(np.int64), self._return[place]

    def save_state(self) -> dict[str, Any]:
        """Return what ``restore_state`` puts back."""
        rows = {"basis": self._basis, "action": self._action, "return": self._return}
        return {"added": self._added, **{name: array[: len(self)] for name, array in rows.items()}}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Put back what ``save_state`` returned."""
        self._added = state["added"]
        kept = len(self)
        self._basis[:kept] = state["basis"]
        self._action[:kept] = state["action"]
        self._return[:kept] = state["return"]
