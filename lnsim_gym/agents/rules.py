"""Rule agents: fixed ideas of how to rebalance, as baselines for anything learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lnsim_gym.actions import NO_OP
from lnsim_gym.agents.base import Agent, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["NoOp", "RandomActions", "Targeted"]


class NoOp(Agent):
    """Never rebalances."""

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:  # noqa: ARG002
        """See ``Agent.act``."""
        idle = np.full(len(info["action_mask"]), NO_OP, np.int64)
        return self.problem.actions.encode(idle, np.zeros(len(idle), np.int64))


class RandomActions(Agent):
    """Draws rebalances uniformly, among those the balances allow when it is masked.

    Args:
        problem: The problem of the environment it acts on.
        masked: Whether to leave out what the action mask forbids.
    """

    def __init__(self, problem: Problem, masked: bool = True) -> None:
        super().__init__(problem)
        self.masked = masked

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:  # noqa: ARG002
        """See ``Agent.act``."""
        actions, mask = self.problem.actions, info["action_mask"]
        sizes = len(actions.sizes)
        weights = np.ones((len(mask), 1 + len(self.problem.needed_msat)))
        if self.masked and mask.shape == weights.shape:
            weights = mask.astype(np.float64)
        cumulative = weights.cumsum(axis=1)
        choice = (cumulative <= rng.random((len(mask), 1)) * cumulative[:, -1:]).sum(axis=1) - 1
        row = np.where(choice < 0, NO_OP, choice // sizes)
        return actions.encode(row, np.maximum(choice, 0) % sizes)


class Targeted(Agent):
    """Pushes from the fuller to the emptier end of the most unbalanced channel outside a band.

    Source: the targeted recovery of the simulation scripts that this package succeeds, which moved 20 % of the
    capacity wherever a node held less than 35 % or more than 65 % of a channel.

    Args:
        problem: The problem of the environment it acts on; its operation must be ``push``.
        low: Share of the capacity below which an end counts as empty.
        high: Share above which it counts as full.
        size: Amount to move, as a share of the capacity; the nearest size of the action space is used.
    """

    def __init__(self, problem: Problem, low: float = 0.35, high: float = 0.65, size: float = 0.2) -> None:
        super().__init__(problem)
        if problem.config.operation != "push":
            raise ConfigError(f"the targeted agent needs operation 'push', got {problem.config.operation!r}")
        if not 0 <= low < high <= 1:
            raise ConfigError(f"the targeted agent needs 0 <= low < high <= 1, got low {low}, high {high}")
        self.low, self.high = low, high
        self.size = int(np.abs(np.array(problem.actions.sizes) - size).argmin())

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:  # noqa: ARG002
        """See ``Agent.act``."""
        shares = self.balance_shares(observation)
        excess = np.abs(shares[:, :, 0] - 0.5)
        # Each channel is looked at once, by its fuller end: seen from both ends it could be moved twice.
        outside = (shares.max(axis=2) > self.high) | (shares.min(axis=2) < self.low)
        channel = np.where(outside, excess, -1.0).argmax(axis=1)
        picked = np.arange(len(channel)), channel
        row: Int64 = 2 * channel + (shares[picked][:, 1] > shares[picked][:, 0])
        row = np.where(outside[picked], row, NO_OP)
        return self.problem.actions.encode(row, np.full(len(row), self.size, np.int64))
