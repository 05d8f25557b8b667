"""Episodes on any backend, one network at a time: how a step is made on real nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.backends.base import Backend, ResetReport
from lnsim_gym.backends.interventions import Intervention, earnings, topology_after
from lnsim_gym.backends.simulator.engine import policy_rows
from lnsim_gym.compiled.binding import BoundState
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.episodes.runner import NOT_COPIED, Episodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import earned_msat, part_hops_msat
from lnsim_gym.payments import FEE_EARNED_MSAT, PaymentBatch, PaymentOutcomes
from lnsim_gym.tasks.example import example_state
from lnsim_gym.tasks.state import make_state, make_variants
from lnsim_gym.traffic import TrafficSource

__all__ = ["BackendEpisodes"]


class BackendEpisodes(Episodes):
    """Runs the episodes of a problem on one network behind the ``Backend`` interface.

    Payments and interventions go through the backend; what they are worth and what the agent sees of them is worked
    out by the task's compiled functions, on the same columns as in the simulator.

    Args:
        problem: What is to be done.
        backend: The network; opened at the first reset, closed by ``close``.
    """

    def __init__(self, problem: Problem, backend: Backend) -> None:
        super().__init__(problem, networks=1)
        self.backend = backend
        task = problem.task
        self._traffic = (
            None
            if task.draws_payments
            else TrafficSource(problem.config.traffic, problem.topology, problem.config.payments_per_step)
        )
        self._batch: PaymentBatch | None = None
        self._outcomes: PaymentOutcomes | None = None
        self._done: tuple[Intervention, ...] = ()
        self._topology = problem.topology
        # A network of its own, as its policies may change.
        variants = make_variants(problem.config, [problem.topology], [problem.traffic], linked=problem.is_linked)
        self._state = make_state(
            problem.config, variants, self.columns, self.places, own_policies=False, draws_payments=False
        )
        self._bound = BoundState(self._state, example_state())
        self._bound_task = BoundState(task.compiled_state([task]), task.kernels.example)

    def reset(self, which: Bool, start_balances_msat: Int64 | None = None) -> ResetReport:
        """See ``Episodes.reset``."""
        seed = int(self.seeds[0])
        episode = int(self.episodes[0])
        wanted = (
            self.problem.start_balances_msat(seed, episode) if start_balances_msat is None else start_balances_msat[0]
        )
        self.backend.open()
        report = self.backend.reset(wanted)
        self._set_topology(self.problem.topology)
        task, columns = self.problem.task, self.columns
        self._state.columns.now_ms[0] = 0
        self.steps[0] = 0
        columns.kept[:] = 0
        columns.observation[:] = 0
        columns.balances_msat[0] = self.backend.balances_msat()
        if task.watched is not None:
            self.backend.watch(task.watched)
        self._run(task.kernels.observe)
        for _ in range(task.warm_up_steps):
            self._step(task.idle_decision)
        self.steps[0] = 0
        return report

    def step(self, which: Bool, decisions: Int64) -> None:
        """See ``Episodes.step``."""
        self._step(decisions[0])

    def _step(self, decision: Int64) -> None:
        """Do one step."""
        columns, task = self.columns, self.problem.task
        columns.decision[0] = decision
        now_ms = int(self._state.columns.now_ms[0])
        if task.draws_payments:
            self.backend.set_time(now_ms)
        if task.kernels.plan is not None:
            self._run(task.kernels.plan)
        done, due = task.apply(self.backend, columns.decision[0], columns.ledger[0])
        earned = earnings(self._topology, done)
        self._done = done
        self._set_topology(topology_after(self._topology, done))
        batch, time_ms, limit_msat = self._payments(due)
        own_limits = () if limit_msat is None else (limit_msat,)  # backends of one's own may know none
        made = self.backend.pay(batch, time_ms, *own_limits)
        outcomes = self._with_hops(replace(made, fee_limit_msat=limit_msat))
        self._batch = batch
        self._outcomes = outcomes
        columns.fill(batch, outcomes)
        columns.balances_msat[0] = self.backend.balances_msat()
        if columns.earned_msat.size:
            columns.earned_msat[0] = earned + earned_msat(self._topology, outcomes)
        if task.watched is not None:
            self._take_forwards(task.watched)
        self._run(task.kernels.conclude)
        self._state.columns.now_ms[0] = now_ms + task.step_ms
        self.steps[0] += 1

    def _payments(self, due: int) -> tuple[PaymentBatch, Int64 | None, Int64 | None]:
        """Return at most ``due`` payments of a step; where they are drawn too, when they are, and their fee limits."""
        place = int(self.seeds[0]), int(self.episodes[0]), int(self.steps[0])
        if self._traffic is not None:
            return PaymentBatch(*(column[:due] for column in self._traffic.batch(*place))), None, None
        task = self.problem.task
        batch, time_ms, limit_ppm = task.payments(*place[:2], int(self._state.columns.now_ms[0]) // task.step_ms)
        made = PaymentBatch(*(column[:due] for column in batch))
        return made, time_ms[:due], task.config.payment.fee_limit_msat(made.amount_msat, limit_ppm[:due])

    def _with_hops(self, outcomes: PaymentOutcomes) -> PaymentOutcomes:
        """Return outcomes with the amounts over each hop, where the columns have room for them."""
        if outcomes.part_hop_msat is not None or not self.columns.part_hop_msat.size:
            return outcomes
        return replace(outcomes, part_hop_msat=part_hops_msat(self._topology, outcomes))

    def _take_forwards(self, node: int) -> None:
        """Take in what the watched node says that it forwarded, and what it earned by that."""
        counts = self.backend.forwards()
        network = self._state.networks
        first, last = network.first_incoming[0, node : node + 2].tolist()
        self.columns.forwards[0] = counts[network.incoming[0, first:last] // 2]
        self.columns.earned_msat[0, node] = counts[:, FEE_EARNED_MSAT].sum()

    def topology(self, network: int) -> Topology:
        """See ``Episodes.topology``."""
        return self._topology

    def batch(self, network: int) -> PaymentBatch:
        """See ``Episodes.batch``."""
        return super().batch(network) if self._batch is None else self._batch

    def outcomes(self, network: int) -> PaymentOutcomes:
        """Return the outcomes of the last step, with durations and payment hashes."""
        return super().outcomes(network) if self._outcomes is None else self._outcomes

    def interventions(self, network: int) -> tuple[Intervention, ...]:
        """Return what was done in the last step, in LND's own words too."""
        return self._done

    def network_record(self) -> list[dict[str, Any]]:
        """See ``Episodes.network_record``."""
        return self.backend.network_record()

    def close(self) -> None:
        """See ``Episodes.close``."""
        self.backend.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be copied.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(NOT_COPIED)

    def _run(self, kernel: Any) -> None:
        """Run a kernel on the network."""
        kernel(self._bound.address, self._bound_task.address, 0, 1)

    def _set_topology(self, topology: Topology) -> None:
        """Take in the policies that the network has from now on."""
        self._topology, arrays, network = topology, topology.arrays, self._state.networks
        network.policy[0] = policy_rows(arrays)
        if self.problem.is_linked:
            network.links.inbound[0]["fee_base_msat"] = arrays.inbound_fee_base_msat
            network.links.inbound[0]["fee_rate_ppm"] = arrays.inbound_fee_rate_ppm
            network.links.disabled[0] = arrays.disabled
