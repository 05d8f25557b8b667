"""The interface of the two episode runners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.backends.base import ResetReport
from lnsim_gym.compiled.memory import zeros
from lnsim_gym.episodes.columns import (
    REBALANCE_APPLIED,
    REBALANCE_FAILURE_INDEX,
    REBALANCE_FEE,
    REBALANCE_REASON,
    StepColumns,
)
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes, RebalanceReason, RebalanceResult

__all__ = ["Episodes"]


class Episodes(ABC):
    """Runs the episodes of a problem on ``networks`` networks, each with its own seed, episode and step.

    Args:
        problem: What is to be done.
        networks: How many networks step together.
    """

    def __init__(self, problem: Problem, networks: int) -> None:
        self.problem = problem
        self.networks = networks
        self.columns = StepColumns.zeros(problem, networks)
        self.seeds = zeros(networks, np.uint64)
        self.episodes = zeros(networks, np.int64)
        self.variants = zeros(networks, np.int64)
        """Index of the problem's variant that each network is on, shape (networks,)."""
        self.steps = zeros(networks, np.int64)
        """Steps done in the current episode, shape (networks,)."""

    def seed(self, network: int, seed: int) -> None:
        """Let the next ``begin`` of a network start the episodes of a seed, whose low 64 bits count."""
        self.seeds[network] = seed % 2**64
        self.episodes[network] = -1

    def begin(self, which: Bool, start_balances_msat: Int64 | None = None) -> ResetReport:
        """Start the next episode on the chosen networks; see ``reset``."""
        self.episodes[which] += 1
        return self.reset(which, start_balances_msat)

    @abstractmethod
    def reset(self, which: Bool, start_balances_msat: Int64 | None = None) -> ResetReport:
        """Start an episode on the chosen networks, as their entries of ``seeds`` and ``episodes`` say.

        Args:
            which: The networks to reset, shape (networks,).
            start_balances_msat: Start balances, shape (networks, channels, 2); by default those of the config.

        Raises:
            BackendError: The backend could not be brought to the start balances.
        """

    @abstractmethod
    def step(self, which: Bool, row: Int64, amount_msat: Int64) -> None:
        """Do one step on the chosen networks and fill their rows of ``columns``.

        Args:
            which: The networks that step, shape (networks,).
            row: Rows of ``problem.routes``, or ``NO_OP``, shape (networks,).
            amount_msat: Amounts of the rebalances, shape (networks,).

        Raises:
            BackendError: The backend was lost; the columns still hold the last valid observation.
        """

    def step_one(self, row: int, amount_msat: int) -> None:
        """Do one step on the only network; see ``step``."""
        self.step(np.ones(1, np.bool_), np.array([row]), np.array([amount_msat]))

    def batch(self, network: int) -> PaymentBatch:
        """Return the payments of one network's last step."""
        return self.columns.batch(network)

    def outcomes(self, network: int) -> PaymentOutcomes:
        """Return the outcomes of one network's last step."""
        return self.columns.outcomes(network)

    def keep_step(self, network: int) -> Callable[[], tuple[PaymentBatch, PaymentOutcomes, Int64]]:
        """Keep one network's last step as it is now, cheaply.

        Returns:
            A function that gives its payments, what became of them, and the balances after it, shape (channels, 2).
        """
        kept = self.batch(network), self.outcomes(network), self.columns.balances_msat[network].copy()
        return lambda: kept

    def rebalance_result(self, network: int) -> RebalanceResult:
        """Return what became of the rebalance of one network's last step."""
        counts = self.columns.counts[network].tolist()
        return RebalanceResult(
            applied_msat=counts[REBALANCE_APPLIED],
            fee_msat=counts[REBALANCE_FEE],
            reason=RebalanceReason(counts[REBALANCE_REASON]),
            failure_source_index=counts[REBALANCE_FAILURE_INDEX],
        )

    def network_record(self) -> list[dict[str, Any]]:
        """Return how to reach each real node (host, port, certificate, macaroon, public key); empty when simulated."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Release the networks; harmless when closed already."""
