"""Episodes on any backend, one network at a time: the way of a step on real nodes."""

from __future__ import annotations

from typing import Any

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.backends.base import Backend, ResetReport
from lnsim_gym.compiled import kernel
from lnsim_gym.episodes.columns import (
    OUTCOME_COLUMNS,
    REBALANCE_APPLIED,
    REBALANCE_FAILURE_INDEX,
    REBALANCE_FEE,
    REBALANCE_REASON,
    REBALANCE_REQUESTED,
)
from lnsim_gym.episodes.measure import allow_rebalances, measure_step
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.episodes.runner import Episodes
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes, RebalanceReason, RebalanceResult
from lnsim_gym.tasks.liquidity.actions import NO_OP
from lnsim_gym.tasks.liquidity.observations import observe_balances, observe_flows
from lnsim_gym.traffic import TrafficSource

__all__ = ["BackendEpisodes", "measure"]


@kernel
def measure(
    amount_msat: Any,
    succeeded: Any,
    failure_reason: Any,
    fee_msat: Any,
    rebalance_unit_msat: Any,
    weights: Any,
    counts: Any,
    terms: Any,
) -> Any:
    """Count a batch and compute the reward; see ``measure_step``."""
    return measure_step(amount_msat, succeeded, failure_reason, fee_msat, rebalance_unit_msat, weights, counts, terms)


@kernel
def _observe(balances_msat: Any, free_msat: Any, limits: Any, row: Any, allowed: Any) -> None:
    """Observe the balances of a network and mark the rebalances they allow."""
    per_capacity, first_direction, needed_msat = limits
    observe_balances(balances_msat, per_capacity, row)
    allow_rebalances(free_msat, first_direction, needed_msat, allowed)


@kernel
def _observe_flows(batch: Any, outcomes: Any, per_capacity: Any, nodes: Any, kept: Any, row: Any) -> None:
    """Note the flows of a step; see ``observe_flows``."""
    succeeded, parts, amount_msat, route = outcomes
    history, averaging = kept
    source, destination = batch
    observe_flows(
        source, destination, succeeded, parts, amount_msat, route, per_capacity, nodes, history, averaging, row
    )


class BackendEpisodes(Episodes):
    """Runs the episodes of a problem on one network behind the ``Backend`` interface.

    Args:
        problem: What is to be done.
        backend: The network; opened at the first reset, closed by ``close``.
    """

    def __init__(self, problem: Problem, backend: Backend) -> None:
        super().__init__(problem, networks=1)
        self.backend = backend
        self._traffic = TrafficSource(problem.config.traffic, problem.topology, problem.config.payments_per_step)
        self._batch: PaymentBatch | None = None
        self._outcomes: PaymentOutcomes | None = None
        self._result = RebalanceResult()

    def reset(self, which: Bool, start_balances_msat: Int64 | None = None) -> ResetReport:  # noqa: ARG002
        """See ``Episodes.reset``."""
        seed, episode = int(self.seeds[0]), int(self.episodes[0])
        wanted = (
            self.problem.start_balances_msat(seed, episode) if start_balances_msat is None else start_balances_msat[0]
        )
        self.backend.open()
        report = self.backend.reset(wanted)
        self.steps[0] = 0
        self.columns.observation[:] = 0
        self._read_balances()
        return report

    def step(self, which: Bool, row: Int64, amount_msat: Int64) -> None:  # noqa: ARG002
        """See ``Episodes.step``."""
        self._rebalance(int(row[0]), int(amount_msat[0]))
        batch = self._traffic.batch(int(self.seeds[0]), int(self.episodes[0]), int(self.steps[0]))
        outcomes = self.backend.pay(batch)
        self._batch, self._outcomes = batch, outcomes
        self._fill(batch, outcomes)
        self._measure(int(row[0]))
        if self.problem.layout.history:
            self._observe_flows()
        self._read_balances()
        self.steps[0] += 1

    def outcomes(self, network: int) -> PaymentOutcomes:
        """Return the outcomes of the last step, with durations and payment hashes."""
        return super().outcomes(network) if self._outcomes is None else self._outcomes

    def rebalance_result(self, network: int) -> RebalanceResult:  # noqa: ARG002
        """Return what became of the last rebalance, in LND's own words too."""
        return self._result

    def network_record(self) -> list[dict[str, Any]]:
        """See ``Episodes.network_record``."""
        return self.backend.network_record()

    def close(self) -> None:
        """See ``Episodes.close``."""
        self.backend.close()

    def _rebalance(self, row: int, amount_msat: int) -> None:
        """Apply a rebalance and fill its columns."""
        route = self.problem.routes.route(row)
        result = RebalanceResult()
        if row != NO_OP:
            fee_msat = hop_amounts_msat(self.problem.topology, route, amount_msat)[0] - amount_msat
            over = fee_msat > amount_msat * self.problem.config.rebalance_fee_limit_ppm // 1_000_000
            result = (
                RebalanceResult(reason=RebalanceReason.FEE_LIMIT_EXCEEDED)
                if over
                else self.backend.rebalance(route, amount_msat)
            )
        self._result = result
        counts = self.columns.counts[0]
        counts[REBALANCE_REQUESTED] = amount_msat
        counts[REBALANCE_APPLIED] = result.applied_msat
        counts[REBALANCE_FEE] = result.fee_msat
        counts[REBALANCE_REASON] = result.reason
        counts[REBALANCE_FAILURE_INDEX] = result.failure_source_index

    def _fill(self, batch: PaymentBatch, outcomes: PaymentOutcomes) -> None:
        """Copy a batch and its outcomes into the columns."""
        for name in PaymentBatch._fields:
            getattr(self.columns, name)[0] = getattr(batch, name)
        for name in OUTCOME_COLUMNS:
            getattr(self.columns, name)[0] = getattr(outcomes, name)

    def _measure(self, row: int) -> None:
        """Fill counts, terms and reward."""
        columns, problem = self.columns, self.problem
        columns.reward[0] = measure(
            columns.amount_msat[0],
            columns.succeeded[0],
            columns.failure_reason[0],
            columns.fee_msat[0],
            1 if row == NO_OP else 1000 * int(problem.routes.smallest_capacity_sat[row]),
            problem.weights,
            columns.counts[0],
            columns.terms[0],
        )

    def _observe_flows(self) -> None:
        """Note the flows of the step in the observation."""
        columns, problem, layout = self.columns, self.problem, self.problem.layout
        _observe_flows(
            (columns.source[0], columns.destination[0]),
            (columns.succeeded[0], columns.parts[0], columns.part_amount_msat[0], columns.part_route[0]),
            problem.per_capacity,
            layout.nodes,
            (layout.history, layout.averaging),
            columns.observation[0],
        )

    def _read_balances(self) -> None:
        """Read the balances, observe them, and mark what they allow."""
        columns, problem = self.columns, self.problem
        columns.balances_msat[0] = self.backend.balances_msat()
        free_msat = problem.topology.spendable_msat(columns.balances_msat[0])
        limits = (problem.per_capacity, problem.first_direction, problem.needed_msat)
        _observe(
            columns.balances_msat[0].ravel(), free_msat.ravel(), limits, columns.observation[0], columns.allowed[0]
        )
