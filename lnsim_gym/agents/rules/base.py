"""What all rules share: a rule says what it wishes for, and the most urgent wish that balances carry comes true."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.actions import NO_OP, Operation
from lnsim_gym.agents.base import Agent, Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.problem import NEVER_ALLOWED_MSAT
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.routes import hop_amounts_msat

__all__ = ["NEVER", "Bool", "Rule"]

NEVER: Final = -np.inf
"""Urgency of a rebalance that is not wished for."""

Bool = npt.NDArray[np.bool_]


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
        if problem.config.operation not in self.OPERATIONS:
            raise ConfigError(
                f"{type(self).__name__} needs operation {self.OPERATIONS[0]!r}, got {problem.config.operation!r}: "
                f"set operation={self.OPERATIONS[0]}"
            )
        routes = problem.routes
        self.giver: Int64 = routes.directions[:, 0].astype(np.int64)
        """Direction whose end gives, shape (rows,)."""
        self.taker: Int64 = routes.directions[np.arange(len(routes.hops)), routes.hops - 1].astype(np.int64) ^ 1
        """Direction whose end takes, shape (rows,)."""
        self.sizes: Float64 = np.array(problem.actions.sizes)
        self.needed_msat = _needed_msat(problem)
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
        urgency, wanted = self.wishes(shares, info, rng)
        distance = np.abs(self.sizes - np.broadcast_to(wanted, urgency.shape)[:, :, None])
        distance[~self._carried(observation, info)] = np.inf
        size = distance.argmin(axis=2)
        possible = np.isfinite(distance.min(axis=2)) & (wanted >= self.sizes[0] / 2)
        urgency = np.where(possible, urgency, NEVER)
        row = urgency.argmax(axis=1)
        picked = np.arange(len(row)), row
        return self.problem.actions.encode(np.where(urgency[picked] > NEVER, row, NO_OP), size[picked])

    def _carried(self, observation: Any, info: Mapping[str, Any]) -> Bool:
        """Return which rebalances every node on the way can send, shape (n, rows, sizes)."""
        topology, routes = self.problem.topology, self.problem.routes
        free_msat = topology.spendable_msat(self.balances_msat(observation))
        free_msat = free_msat.reshape(len(free_msat), -1)
        carried: Bool = np.ones((len(free_msat), *self.needed_msat.shape[1:]), np.bool_)
        for direction, needed_msat in zip(routes.directions.T, self.needed_msat, strict=True):
            carried &= free_msat[:, direction, None] >= needed_msat
        mask = info["action_mask"]
        if mask.shape[1] == 1 + self.problem.needed_msat.size:  # exact, where an observation is rounded
            carried &= mask[:, 1:].reshape(carried.shape).astype(np.bool_)
        return carried


def _needed_msat(problem: Problem) -> Int64:
    """Work out what each hop of each (row, size) sends, 0 beyond the end, shape (hops, rows, sizes)."""
    routes, amounts_msat = problem.routes, problem.actions.amounts_msat
    needed = np.zeros((routes.directions.shape[1], *amounts_msat.shape), np.int64)
    for row in range(len(routes.hops)):
        needed[: routes.hops[row], row] = hop_amounts_msat(problem.topology, routes.route(row), amounts_msat[row])
    fees_msat = needed[0] - amounts_msat
    too_dear = fees_msat > amounts_msat * problem.config.rebalance_fee_limit_ppm // 1_000_000
    never = too_dear | (problem.needed_msat.reshape(amounts_msat.shape) == NEVER_ALLOWED_MSAT)
    needed[0] = np.where(never, NEVER_ALLOWED_MSAT, needed[0])
    return needed
