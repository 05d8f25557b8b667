"""What all rules share: a rule says what it wishes for, and the most urgent wish that balances carry comes true."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.agents.base import Agent
from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.tasks.liquidity.routes import NO_OP, Operation, exceeds_fee_limit
from lnsim_gym.tasks.liquidity.task import NEVER_ALLOWED_MSAT, LiquidityTask

__all__ = ["NEVER", "Bool", "Rule"]

NEVER: Final = -np.inf
"""Urgency of a rebalance that is not wished for."""


class Rule(Agent):
    """Does, in each network, the most urgent rebalance that balances carry.

    A rebalance moves liquidity from one channel end to another. Its *giver* is the paying node's end of the first
    channel. Its *taker* is, for ``circular``, the paying node's end of the last channel, and for ``push`` the other
    end of the only one. So one rule serves both operations.

    The amount is the nearest size of the action space that every node on the route can send; amounts nearer to
    nothing than to the smallest size are not sent. Programs that rebalance in circles try route after route until
    one goes through; as a step has one attempt, a rule sees the balances of the forwarding nodes instead.

    Args:
        problem: The problem of the environment it acts on.

    Raises:
        ConfigError: The rule makes no sense for the environment's operation.
    """

    OPERATIONS: ClassVar[tuple[Operation, ...]] = ("push", "circular")
    """Operations that the rule makes sense for."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        task = self.liquidity
        if task.config.operation not in self.OPERATIONS:
            raise ConfigError(
                f"{type(self).__name__} needs operation {self.OPERATIONS[0]!r}, got {task.config.operation!r}: "
                f"set operation={self.OPERATIONS[0]}"
            )
        routes = task.routes
        self.giver: Int64 = routes.directions[:, 0].astype(np.int64)
        """Direction whose end gives, shape (rows,)."""
        self.taker: Int64 = routes.directions[np.arange(len(routes.hops)), routes.hops - 1].astype(np.int64) ^ 1
        """Direction whose end takes, shape (rows,)."""
        self.capacity_sat: Int64 = np.repeat(problem.topology.arrays.capacity_sat, 2)
        """Capacity of the channel of each direction, shape (directions,)."""
        self.sizes: Float64 = np.array(task.actions.sizes)
        self.needed_msat = _needed_msat(task)
        """What the sender of each hop needs for each (row, size), shape (hops, rows, sizes)."""

    @abstractmethod
    def wishes(
        self, shares: Float64, info: Mapping[str, Any], rng: np.random.Generator
    ) -> tuple[Float64, Float64 | float]:
        """Say what to move.

        Args:
            shares: Balances as shares of the capacity, by direction, shape (n, directions).
            info: As for ``act``.
            rng: Source of any randomness.

        Returns:
            Urgency of each row of the routes, ``NEVER`` where it is not wished for, shape (n, rows), and amounts as
            shares of the smallest channel on the route, of a shape that broadcasts to it.
        """

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        """See ``Agent.act``."""
        shares = self.balance_shares(observation).reshape(len(info["step"]), -1)
        row, size = self.ranked(*self.wishes(shares, info, rng), self.carried(observation, info["action_mask"]), 1)
        return self.liquidity.actions.encode(row[:, 0], size[:, 0])

    def ranked(self, urgency: Float64, wanted: Float64 | float, carried: Bool, count: int) -> tuple[Int64, Int64]:
        """Return the most urgent rebalances that balances carry.

        Args:
            urgency: As ``wishes`` returns it.
            wanted: Amounts, as ``wishes`` returns them.
            carried: As ``carried`` returns it.
            count: How many rebalances to return.

        Returns:
            Rows, most urgent first, ``NO_OP`` where nothing more is wished for, and indices of sizes, both of shape
            (n, count).
        """
        possible = carried.any(axis=2) & (wanted >= self.sizes[0] / 2)
        urgency = np.where(possible, urgency, NEVER)
        row = urgency.argmax(axis=1)[:, None] if count == 1 else np.argsort(-urgency, axis=1, kind="stable")[:, :count]
        idle = np.take_along_axis(urgency, row, axis=1) == NEVER
        wanted = np.take_along_axis(np.broadcast_to(wanted, urgency.shape), row, axis=1)
        distance = np.abs(self.sizes - wanted[:, :, None])
        distance[~carried[np.arange(len(row))[:, None], row]] = np.inf
        return np.where(idle, NO_OP, row), np.where(idle, 0, distance.argmin(axis=2))

    def carried(self, observation: Any, action_mask: npt.NDArray[np.int8]) -> Bool:
        """Return which rebalances every node on the route can send, shape (n, rows, sizes).

        Args:
            observation: Observations, as for ``act``.
            action_mask: Their action masks, shape (n, mask length).
        """
        shape = (len(action_mask), *self.needed_msat.shape[1:])
        exact = action_mask.shape[1] == 1 + self.liquidity.needed_msat.size  # where an observation is rounded
        carried: Bool = action_mask[:, 1:].reshape(shape) > 0 if exact else np.ones(shape, np.bool_)
        if exact and len(self.needed_msat) == 1:
            return carried
        free_msat = self.problem.topology.spendable_msat(self.balances_msat(observation))
        free_msat = free_msat.reshape(len(free_msat), -1)
        for direction, needed_msat in zip(self.liquidity.routes.directions.T, self.needed_msat, strict=True):
            carried = carried & (free_msat[:, direction, None] >= needed_msat)
        return carried


def _needed_msat(task: LiquidityTask) -> Int64:
    """Work out what each hop of each (row, size) sends, 0 beyond the end, shape (hops, rows, sizes)."""
    routes = task.routes
    amounts_msat = task.actions.amounts_msat
    needed = np.zeros((routes.directions.shape[1], *amounts_msat.shape), np.int64)
    needed[0] = amounts_msat  # over a single channel there are no fees
    for row in np.flatnonzero(routes.hops > 1).tolist():
        needed[: routes.hops[row], row] = hop_amounts_msat(task.topology, routes.route(row), amounts_msat[row])
    fees_msat = needed[0] - amounts_msat
    too_dear = exceeds_fee_limit(fees_msat, amounts_msat, task.config.rebalance_fee_limit_ppm)
    never = too_dear | (task.needed_msat.reshape(amounts_msat.shape) == NEVER_ALLOWED_MSAT)
    needed[0] = np.where(never, NEVER_ALLOWED_MSAT, needed[0])
    return needed
