"""Episodes on any backend, one network at a time: how a step is made on real nodes."""

from __future__ import annotations

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
from lnsim_gym.network.routes import earned_msat
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes
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
        self._traffic = TrafficSource(problem.config.traffic, problem.topology, problem.config.payments_per_step)
        self._batch: PaymentBatch | None = None
        self._outcomes: PaymentOutcomes | None = None
        self._done: tuple[Intervention, ...] = ()
        self._topology = problem.topology
        task = problem.task
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
        self.steps[0] = 0
        self.columns.observation[:] = 0
        self.columns.balances_msat[0] = self.backend.balances_msat()
        self._run(self.problem.task.kernels.observe)
        return report

    def step(self, which: Bool, decisions: Int64) -> None:
        """See ``Episodes.step``."""
        columns = self.columns
        columns.decision[:] = decisions
        done, due = self.problem.task.apply(self.backend, columns.decision[0], columns.ledger[0])
        earned = earnings(self._topology, done)
        self._done = done
        self._set_topology(topology_after(self._topology, done))
        batch = self._traffic.batch(int(self.seeds[0]), int(self.episodes[0]), int(self.steps[0]))
        batch = PaymentBatch(*(column[:due] for column in batch))
        outcomes = self.backend.pay(batch)
        self._batch = batch
        self._outcomes = outcomes
        columns.fill(batch, outcomes)
        columns.balances_msat[0] = self.backend.balances_msat()
        if columns.earned_msat.size:
            columns.earned_msat[0] = earned + earned_msat(self._topology, outcomes)
        self._run(self.problem.task.kernels.conclude)
        self.steps[0] += 1

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
        if topology is not self._topology:
            self._topology = topology
            self._state.networks.policy[0] = policy_rows(topology.arrays)
