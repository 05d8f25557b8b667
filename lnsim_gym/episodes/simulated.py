"""Episodes on the embedded simulator: one compiled loop over any number of networks."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.backends.base import ResetReport
from lnsim_gym.backends.simulator.engine import Network, with_policies
from lnsim_gym.compiled import ready
from lnsim_gym.compiled.binding import BoundState
from lnsim_gym.episodes.attempts import AttemptCounter
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.episodes.runner import Episodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes
from lnsim_gym.tasks.base import Kernel
from lnsim_gym.tasks.columns import OUTCOME_COLUMNS, unpack_batch, unpack_outcomes
from lnsim_gym.tasks.example import example_state
from lnsim_gym.tasks.state import Variants, make_state, make_variants, with_scratch

__all__ = ["SimulatedEpisodes"]

MAX_THREADS: Final = 256
_ASSIGNED: Final = ResetReport(rung="assign", seconds=0.0)


class SimulatedEpisodes(Episodes):
    """Runs the episodes of a problem on simulated networks.

    Copies (``copy.deepcopy``) and pickles go on where the original stands, in memory of their own.

    Args:
        problem: What is to be done.
        networks: How many networks step together.
        threads: Threads that share them in contiguous ranges.
        variants: The problem's variants as another runner has laid them out; laid out anew by default.

    Raises:
        ConfigError: ``threads`` is out of range.
    """

    can_be_copied = True

    def __init__(self, problem: Problem, networks: int, threads: int = 1, variants: Variants | None = None) -> None:
        super().__init__(problem, networks)
        if not 1 <= threads <= MAX_THREADS:
            raise ConfigError(f"threads must lie in 1..{MAX_THREADS}, got {threads}")
        self.threads = min(threads, networks)
        tasks = [variant.task for variant in problem.variants]
        self._variants = variants or make_variants(
            problem.config,
            [variant.topology for variant in problem.variants],
            [variant.traffic for variant in problem.variants],
        )
        own_policies = problem.task.changes_policies
        state = make_state(problem.config, self._variants, self.columns, self.places, own_policies=own_policies)
        kernels = problem.task.kernels
        step_networks = kernels.step if problem.config.payment.max_parts == 1 else kernels.step_in_parts
        self._state = state
        self._attempts = AttemptCounter(state.networks, problem.config.payment)
        shares = [state, *(with_scratch(state) for _ in range(self.threads - 1))]
        self._bound_shares = [BoundState(share, example_state()) for share in shares]
        self._bound_task = BoundState(tasks[0].compiled_state(tasks), kernels.example)
        edges = np.linspace(0, networks, self.threads + 1).astype(int).tolist()
        self._ranges = [
            (share.address, self._bound_task.address, first, last)
            for share, first, last in zip(self._bound_shares, edges[:-1], edges[1:], strict=True)
        ]
        self._reset_networks, self._step_networks = kernels.reset, step_networks
        self._is_ready = False
        self._address, self._task_address = self._ranges[0][:2]
        self._which, self._decision = state.columns.which, self.columns.decision
        self._decision_one = self.columns.decision[0].data
        self._workers: tuple[int, ThreadPoolExecutor] | None = None
        self._copy_calls: dict[int, list[Callable[[], Any]]] = {}

    def reset(self, which: Bool, start_balances_msat: Int64 | None = None) -> ResetReport:
        """See ``Episodes.reset``; the first one compiles what is not on disk."""
        if not self._is_ready:
            self._make_ready()
        self._which[:] = which
        if start_balances_msat is not None:
            self._state.columns.given_msat[which] = start_balances_msat.reshape(self.networks, -1)[which]
        self._run(self._reset_networks)
        return _ASSIGNED

    def step(self, which: Bool, decisions: Int64) -> None:
        """See ``Episodes.step``."""
        self._which[:] = which
        self._decision[:] = decisions
        self._run(self._step_networks)

    def step_one(self, decision: memoryview) -> None:
        """See ``Episodes.step_one``; without the arrays of a batch, as this is the way of a single environment.

        The network is still marked as the one to step since it was reset.
        """
        self._decision_one[:] = decision
        self._step_networks(self._address, self._task_address, 0, 1)

    def imagine(self, balances_msat: Int64, cumulative: Float64, seeds: npt.NDArray[np.uint64]) -> None:
        """Start every network from given balances and a given demand, with payments of seeds of its own.

        For planning: step as usual afterwards, at most ``redraw_every_steps`` steps.

        Args:
            balances_msat: Balances, shape (networks, channels, 2).
            cumulative: Weights of senders and receivers as ``draw_weights`` gives them, shape (networks, 2, nodes).
                They stay until ``imagine_demand``.
            seeds: Seeds of the payments, shape (networks,).
        """
        self.seeds[:] = seeds
        self.episodes[:] = -1
        everyone = np.ones(self.networks, np.bool_)
        self.begin(everyone, balances_msat)
        self.imagine_demand(everyone, cumulative)

    def imagine_demand(self, which: Bool, cumulative: Float64) -> None:
        """Give another demand to networks that were started by ``imagine``.

        Args:
            which: The networks it is for, shape (networks,).
            cumulative: As for ``imagine``.
        """
        columns = self._state.columns
        columns.cumulative[which] = cumulative[which]
        columns.regime[which] = 0

    def save_state(self) -> list[npt.NDArray[Any]]:
        """See ``Episodes.save_state``."""
        return [array.copy() for array in self._living()]

    def restore_state(self, state: list[npt.NDArray[Any]]) -> None:
        """See ``Episodes.restore_state``."""
        own = self._living()
        shapes = [(array.shape, array.dtype) for array in own]
        if [(array.shape, array.dtype) for array in state] != shapes:
            raise ConfigError(
                "expected a state of the same settings and number of networks, got one of other arrays: "
                "save it from an environment made alike"
            )
        for array, saved in zip(own, state, strict=True):
            array[...] = saved

    def branch_from(self, other: SimulatedEpisodes, copies: int) -> None:
        """Go on where each network of another runner of the same problem stands, a number of copies side by side.

        Args:
            other: Its networks times ``copies`` must be those of this one.
            copies: Copies of each network.
        """
        for array, its in zip(self._living(), other._living(), strict=True):
            array[...] = np.repeat(its, copies, axis=0)
        state = self._state
        if state.own_policies:
            state.columns.policies[:] = np.arange(self.networks)

    def topology(self, network: int) -> Topology:
        """See ``Episodes.topology``."""
        known = super().topology(network)
        state = self._state
        if not state.own_policies:
            return known
        return with_policies(known, state.networks.policy[network])

    def outcomes(self, network: int) -> PaymentOutcomes:
        """See ``Episodes.outcomes``; counts the attempts that the step left uncounted."""
        columns = self.columns
        made_on, balances_msat = self._stepped_network(network), self._state.columns.served_from_msat[network]
        batch = self.batch(network)
        self._attempts.count(made_on, balances_msat, batch, columns.attempts[network, : len(batch.source)])
        return super().outcomes(network)

    def keep_step(self, network: int) -> Callable[[], tuple[PaymentBatch, PaymentOutcomes, Int64]]:
        """See ``Episodes.keep_step``; copies only, as whoever watches a fast environment keeps every step."""
        *kept, served_from_msat, balances_msat = [copy() for copy in self._copiers(network)]
        made_on, due, fields = self._stepped_network(network), self.columns.due[network], len(PaymentBatch._fields)
        if self._state.own_policies:
            made_on = made_on._replace(policy=made_on.policy.copy())

        def unpack() -> tuple[PaymentBatch, PaymentOutcomes, Int64]:
            batch, outcomes = unpack_batch(kept[:fields], due), unpack_outcomes(kept[fields:], due)
            self._attempts.count(made_on, served_from_msat, batch, outcomes.attempts)
            return batch, outcomes, balances_msat.reshape(-1, 2)

        return cache(unpack)

    def close(self) -> None:
        """See ``Episodes.close``."""
        if self._workers is not None and self._workers[0] == os.getpid():
            self._workers[1].shutdown()
        self._workers = None

    def __deepcopy__(self, memo: dict[int, Any]) -> SimulatedEpisodes:
        """Return a runner that goes on from here in memory of its own; what never changes is shared."""
        other = SimulatedEpisodes(self.problem, self.networks, self.threads, self._variants)
        for array, own in zip(other._living(), self._living(), strict=True):
            array[...] = own
        memo[id(self)] = other
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the problem and where the episodes stand; the runner read back lays out memory of its own."""
        return _resume, (self.problem, self.networks, self.threads, self.save_state())

    def _make_ready(self) -> None:
        """Load or compile both kernels at once, and call them without a detour from now on."""
        kernels = self._reset_networks, self._step_networks
        ready(*((kernel, self._ranges[0]) for kernel in kernels))
        self._reset_networks, self._step_networks = (kernel.dispatcher for kernel in kernels)
        self._is_ready = True

    def _stepped_network(self, network: int) -> Network:
        """Return the engine's view of what a network was in its last step; a view, policies included."""
        state = self._state
        variant = int(state.columns.stepped_variant[network])
        view = Network(*(column[variant] for column in state.networks._replace(policy=state.starts.policy)))
        return view._replace(policy=state.networks.policy[network]) if state.own_policies else view

    def _living(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that change as episodes go on, one row per network; working space left out."""
        state = self._state
        policies = (state.networks.policy,) if state.own_policies else ()
        return (*state.columns, *state.memories, *policies)

    def _copiers(self, network: int) -> list[Callable[[], Any]]:
        """Return what copies the columns of one network's step, bound once as that takes as long as copying."""
        if network not in self._copy_calls:
            names = (*PaymentBatch._fields, *OUTCOME_COLUMNS, "served_from_msat", "balances_msat")
            self._copy_calls[network] = [getattr(self._state.columns, name)[network].copy for name in names]
        return self._copy_calls[network]

    def _run(self, kernel: Kernel) -> None:
        """Run a kernel on every range, the first in this thread."""
        if self.threads == 1:
            kernel(*self._ranges[0])
            return
        pool = self._pool()
        others = [pool.submit(kernel, *share) for share in self._ranges[1:]]
        kernel(*self._ranges[0])
        for other in others:
            other.result()

    def _pool(self) -> ThreadPoolExecutor:
        """Return the threads of this process: a forked child inherits none and starts its own."""
        if self._workers is None or self._workers[0] != os.getpid():
            self._workers = os.getpid(), ThreadPoolExecutor(self.threads - 1, "lnsim")
        return self._workers[1]


def _resume(problem: Problem, networks: int, threads: int, state: list[npt.NDArray[Any]]) -> SimulatedEpisodes:
    """Return a runner that goes on where another one stood."""
    episodes = SimulatedEpisodes(problem, networks, threads)
    episodes.restore_state(state)
    return episodes
