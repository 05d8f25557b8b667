"""Agents that look at no balances: doing nothing, and chance."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.base import Agent
from lnsim_gym.episodes import Problem
from lnsim_gym.tasks.liquidity import LiquidityTask
from lnsim_gym.tasks.liquidity.routes import NO_OP
from lnsim_gym.tasks.operator.task import OperatorTask

__all__ = ["NoOp", "RandomActions"]


class NoOp(Agent):
    """Does nothing: no rebalance, no swap, no change of a fee."""

    TASKS: ClassVar[tuple[str, ...]] = ("liquidity", "operator")

    def act(
        self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator
    ) -> npt.NDArray[Any] | list[dict[str, Any]]:
        """See ``Agent.act``."""
        if isinstance(self.problem.task, OperatorTask):
            return self.problem.task.actions.nothing(len(info["step"]))
        idle = np.full(len(info["action_mask"]), NO_OP, np.int64)
        return self.liquidity.actions.encode(idle, np.zeros(len(idle), np.int64))


class RandomActions(Agent):
    """Draws actions uniformly, among those the balances allow when it is masked.

    On the task ``liquidity`` these are rebalances; on others, whatever the action space holds.

    Args:
        problem: The problem of the environment it acts on.
        masked: Whether to leave out what the action mask forbids.
    """

    TASKS: ClassVar[tuple[str, ...]] = ("liquidity", "operator", "every_node")
    is_separable = False  # all networks draw from one stream

    def __init__(self, problem: Problem, masked: bool = True) -> None:
        super().__init__(problem)
        self.masked = masked

    def act(
        self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator
    ) -> npt.NDArray[Any] | list[dict[str, Any]]:
        """See ``Agent.act``."""
        mask = info["action_mask"]
        if not isinstance(self.problem.task, LiquidityTask):
            return self._sampled(mask, rng)
        actions = self.liquidity.actions
        sizes = len(actions.sizes)
        weights = np.ones((len(mask), 1 + len(self.liquidity.needed_msat)))
        if self.masked and mask.shape == weights.shape:
            weights = mask.astype(np.float64)
        cumulative = weights.cumsum(axis=1)
        choice = (cumulative <= rng.random((len(mask), 1)) * cumulative[:, -1:]).sum(axis=1) - 1
        row = np.where(choice < 0, NO_OP, choice // sizes)
        return actions.encode(row, np.maximum(choice, 0) % sizes)

    def _sampled(self, masks: npt.NDArray[np.int8], rng: np.random.Generator) -> list[Any]:
        """Return an action of the space for each mask."""
        space = copy.deepcopy(self.problem.task.actions.space)
        space.seed(int(rng.integers(2**31)))
        return [space.sample(mask) if self.masked else space.sample() for mask in masks]
