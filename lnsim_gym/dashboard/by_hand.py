"""What people may do by hand on the page: what they may suggest, as a task has it."""

from __future__ import annotations

from typing import Literal

from lnsim_gym.bridge.messages import ByHand
from lnsim_gym.tasks.base import Task
from lnsim_gym.tasks.liquidity import LiquidityTask
from lnsim_gym.tasks.liquidity.routes import ChannelPairs
from lnsim_gym.tasks.operator import OperatorTask

__all__ = ["by_hand"]


def by_hand(task: Task | None) -> ByHand:
    """Return what may be suggested by hand where a task is played; nothing for tasks that take no suggestions."""
    if isinstance(task, OperatorTask):
        actions = task.actions
        return ByHand(
            operation="own_node",
            longest=0,
            channels=task.out.tolist(),
            rows=actions.limits.rows,
            entries=list(actions.plain),
            rebalances=actions.limits.rebalances,
        )
    if not isinstance(task, LiquidityTask) or task.name != LiquidityTask.name:
        return ByHand(operation="none", longest=0, channels=[], rows=0, entries=[], rebalances=0)
    routes = task.actions.routes
    longest = 0 if isinstance(routes, ChannelPairs) else routes.directions.shape[1]
    operation: Literal["push", "circular"] = "push" if longest == 1 else "circular"
    return ByHand(operation=operation, longest=longest, channels=[], rows=0, entries=[], rebalances=0)
