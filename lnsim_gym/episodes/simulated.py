"""Episodes on the embedded simulator: one compiled loop over any number of networks."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any, Final
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.backends.base import ResetReport
from lnsim_gym.backends.simulator.engine import Network, network_view, with_kept_policies, with_policies
from lnsim_gym.backends.simulator.layout import COUNT, DONE
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
        if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= MAX_THREADS:
            raise ConfigError(f"threads must lie in 1..{MAX_THREADS}, a whole number, got {threads!r}")
        self.threads = min(threads, networks)
        tasks = [variant.task for variant in problem.variants]
        self._variants = variants or make_variants(
            problem.config,
            [variant.topology for variant in problem.variants],
            [variant.traffic for variant in problem.variants],
            linked=problem.is_linked,
        )
        task = problem.task
        state = make_state(
            problem.config,
            self._variants,
            self.columns,
            self.places,
            own_policies=task.changes_policies,
            draws_payments=task.draws_payments,
        )
        kernels = problem.task.kernels
        step_networks = kernels.step_in_parts if problem.config.payment.max_parts > 1 else kernels.step
        if problem.is_linked:
            step_networks = kernels.step_linked
        self._state = state
        self._attempts = AttemptCounter(state.networks, problem.config.payment)
        shares = [state, *(with_scratch(state, problem.config.payment) for _ in range(self.threads - 1))]
        self._bound_shares = [BoundState(share, example_state()) for share in shares]
        self._bound_task = BoundState(tasks[0].compiled_state(tasks), kernels.example)
        edges = np.linspace(0, networks, self.threads + 1).astype(int).tolist()
        self._ranges = [
            (share.address, self._bound_task.address, first, last)
            for share, first, last in zip(self._bound_shares, edges[:-1], edges[1:], strict=True)
        ]
        self._reset_networks, self._step_networks = kernels.reset, step_networks
        self._is_ready = False
        self._remembers = problem.config.payment.mission_control == "per_episode"
        self._address, self._task_address = self._ranges[0][:2]
        self._which, self._decision = state.columns.which, self.columns.decision
        self._decision_one = self.columns.decision[0].data
        self._workers: ThreadPoolExecutor | None = None
        self._lock = Lock()
        """Held while kernels run: they work on one state, and leave the interpreter to other threads meanwhile."""
        _RUNNERS.add(self)
        self._copy_calls: dict[int, list[Callable[[], Any]]] = {}

    def reset(self, which: Bool, start_balances_msat: Int64 | None = None) -> ResetReport:
        """See ``Episodes.reset``; the first one compiles what is not on disk."""
        if not self._is_ready:
            self._make_ready()
        with self._lock:
            self._which[:] = which
            if start_balances_msat is not None:
                self._state.columns.given_msat[which] = start_balances_msat.reshape(self.networks, -1)[which]
            self._run(self._reset_networks)
            for _ in range(self.problem.task.warm_up_steps):
                self._decision[which] = self.problem.task.idle_decision
                self._run(self._step_networks)
            if self.problem.task.warm_up_steps:
                self.steps[which] = 0
        return _ASSIGNED

    def step(self, which: Bool, decisions: Int64) -> None:
        """See ``Episodes.step``."""
        with self._lock:
            self._which[:] = which
            self._decision[:] = decisions
            self._run(self._step_networks)

    def step_one(self, decision: memoryview) -> None:
        """See ``Episodes.step_one``; without the arrays of a batch, as every step of a single environment comes here.

        The network is still marked as the one to step since it was reset.
        """
        with self._lock:
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
        alike = len(own) == len(state) and all(
            isinstance(saved, np.ndarray) and (saved.shape, saved.dtype) == (array.shape, array.dtype)
            for array, saved in zip(own, state, strict=True)
        )
        if not alike or not self._holds_indices(state):
            raise ConfigError(
                "expected a state of the same settings and number of networks, got one of other arrays: "
                "save it from an environment made alike"
            )
        with self._lock:
            for array, saved in zip(own, state, strict=True):
                array[...] = saved

    def _holds_indices(self, state: list[npt.NDArray[Any]]) -> bool:
        """Return whether what kernels take for an index in a state is one: machine code would not notice."""
        columns = self._state.columns._replace(**dict(zip(self._state.columns._fields, state, strict=False)))
        memories = self._state.memories._replace(
            **dict(zip(self._state.memories._fields, state[len(columns) :], strict=False))
        )
        variants, directions = len(self.problem.variants), columns.balances_msat.shape[1]
        records = memories.next.shape[-1]
        limits = (
            (columns.variant, variants),
            (columns.stepped_variant, variants),
            (columns.policies, self._state.networks.policy.shape[0]),
            (columns.due, columns.source.shape[1] + 1),
            (memories.first, records + 1),
            (memories.next, records + 1),
            (memories.used, records + 1),
            (memories.direction, directions),
        )
        within = all(((column >= 0) & (column < limit)).all() for column, limit in limits)
        return within and self._holds_changes(state)

    def _holds_changes(self, state: list[npt.NDArray[Any]]) -> bool:
        """Return whether what kernels take for changes of policies in a state are some."""
        own = self._state.networks.links.gossip
        if not (self._state.own_policies and own.numbers.size):
            return True
        gossip = own._replace(**dict(zip(own._fields, state[1 - len(own) :], strict=False)))
        directions = gossip.change["direction"]
        done, count = gossip.numbers[:, DONE], gossip.numbers[:, COUNT]
        return bool(
            ((directions >= 0) & (directions < gossip.spread.shape[1])).all()
            and ((done >= 0) & (done <= count) & (count - done <= gossip.change.shape[1])).all()
            and ((gossip.spread["latest"] >= 0) & (gossip.spread["latest"] <= count[:, None])).all()
        )

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
        return with_policies(known, network_view(state.networks, int(state.columns.variant[network]), network))

    def outcomes(self, network: int) -> PaymentOutcomes:
        """See ``Episodes.outcomes``; counts the attempts that the step left uncounted."""
        columns = self.columns
        made_on, balances_msat = self._stepped_network(network), self._state.columns.served_from_msat[network]
        batch, draws = self.batch(network), int(self._state.columns.served_draws[network])
        time_ms = self._state.columns.time_ms[network].copy() if self._remembers else None
        limit_msat = self._limits_msat(batch.amount_msat, self._state.columns.fee_limit_ppm[network])
        outcomes = columns.outcomes(network, time_ms, limit_msat)
        self._attempts.count(made_on, balances_msat, draws, batch, outcomes)
        columns.attempts[network, : len(batch.source)] = outcomes.attempts
        return outcomes

    def keep_step(self, network: int) -> Callable[[], tuple[PaymentBatch, PaymentOutcomes, Int64]]:
        """See ``Episodes.keep_step``; copies only, as those who watch a fast environment keep every step."""
        *kept, time_ms, limit_ppm, served_from_msat, balances_msat = [copy() for copy in self._copiers(network)]
        made_on, due, fields = self._stepped_network(network), self.columns.due[network], len(PaymentBatch._fields)
        draws = int(self._state.columns.served_draws[network])
        if self._state.own_policies:
            made_on = with_kept_policies(made_on)

        def unpack() -> tuple[PaymentBatch, PaymentOutcomes, Int64]:
            batch = unpack_batch(kept[:fields], due)
            limit_msat = self._limits_msat(batch.amount_msat, limit_ppm)
            outcomes = unpack_outcomes(kept[fields:], due, time_ms if self._remembers else None, limit_msat)
            self._attempts.count(made_on, served_from_msat, draws, batch, outcomes)
            return batch, outcomes, balances_msat.reshape(-1, 2)

        return cache(unpack)

    def close(self) -> None:
        """See ``Episodes.close``."""
        if self._workers is not None:
            self._workers.shutdown()
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
        return network_view(state.networks, variant, network if state.own_policies else variant)

    def _limits_msat(self, amount_msat: Int64, limit_ppm: Int64) -> Int64 | None:
        """Return the fee limits of payments that have some of their own, given those of a row."""
        if not limit_ppm.size:
            return None
        return self.problem.config.payment.fee_limit_msat(amount_msat, limit_ppm[: len(amount_msat)])

    def _living(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that change as episodes go on, one row per network; working space left out."""
        state = self._state
        networks = state.networks
        if not state.own_policies:
            return (*state.columns, *state.memories)
        policies = (networks.policy, networks.links.inbound, networks.links.disabled)
        return (*state.columns, *state.memories, *policies, *networks.links.gossip[:-1])  # the last never changes

    def _copiers(self, network: int) -> list[Callable[[], Any]]:
        """Return what copies the columns of one network's step, bound once as that takes as long as copying."""
        if network not in self._copy_calls:
            others = ("time_ms", "fee_limit_ppm", "served_from_msat", "balances_msat")
            names = (*PaymentBatch._fields, *OUTCOME_COLUMNS, *others)
            self._copy_calls[network] = [getattr(self._state.columns, name)[network].copy for name in names]
        return self._copy_calls[network]

    def _run(self, kernel: Kernel) -> None:
        """Run a kernel on every range, the first in this thread."""
        if self.threads == 1:
            kernel(*self._ranges[0])
            return
        if self._workers is None:
            self._workers = ThreadPoolExecutor(self.threads - 1, "lnsim")
        others = [self._workers.submit(kernel, *share) for share in self._ranges[1:]]
        kernel(*self._ranges[0])
        for other in others:
            other.result()

    def after_fork(self) -> None:
        """Go on in a forked child, which has the memory of its parent but none of its threads."""
        self._workers = None
        self._lock = Lock()
        self._attempts.after_fork()


_RUNNERS: Final[WeakSet[SimulatedEpisodes]] = WeakSet()
"""All runners of this process."""


def _after_fork() -> None:
    """Let all runners go on in a forked child."""
    for runner in list(_RUNNERS):
        runner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _resume(problem: Problem, networks: int, threads: int, state: list[npt.NDArray[Any]]) -> SimulatedEpisodes:
    """Return a runner that goes on where another one stood."""
    episodes = SimulatedEpisodes(problem, networks, threads)
    episodes.restore_state(state)
    return episodes
