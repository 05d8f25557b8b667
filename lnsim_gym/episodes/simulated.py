"""Episodes on the embedded simulator: one compiled loop over any number of networks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.backends.base import ResetReport
from lnsim_gym.compiled.binding import describe
from lnsim_gym.episodes.attempts import AttemptCounter
from lnsim_gym.episodes.columns import OUTCOME_COLUMNS
from lnsim_gym.episodes.kernels import note_flows, reset_networks, step_networks, step_networks_in_parts
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.episodes.runner import Episodes
from lnsim_gym.episodes.state import make_state, with_scratch
from lnsim_gym.errors import ConfigError
from lnsim_gym.payments import PaymentBatch, PaymentOutcomes

__all__ = ["SimulatedEpisodes"]

MAX_THREADS: Final = 256
_ASSIGNED: Final = ResetReport(rung="assign", seconds=0.0)


class SimulatedEpisodes(Episodes):
    """Runs the episodes of a problem on simulated networks.

    Args:
        problem: What is to be done.
        networks: How many networks step together.
        threads: Threads that share them in contiguous ranges.

    Raises:
        ConfigError: ``threads`` is out of range.
    """

    def __init__(self, problem: Problem, networks: int, threads: int = 1) -> None:
        super().__init__(problem, networks)
        if not 1 <= threads <= MAX_THREADS:
            raise ConfigError(f"threads must lie in 1..{MAX_THREADS}, got {threads}")
        threads = min(threads, networks)
        state = make_state(problem, self.columns, (self.seeds, self.episodes, self.steps, self.variants))
        self._states = [state, *(with_scratch(state) for _ in range(threads - 1))]
        self._attempts = AttemptCounter(state.networks, problem.config.payment)
        self._tables = [describe(share) for share in self._states]
        edges = np.linspace(0, networks, threads + 1).astype(int).tolist()
        self._ranges = [
            (table.ctypes.data, first, last)
            for table, first, last in zip(self._tables, edges[:-1], edges[1:], strict=True)
        ]
        self._address = self._ranges[0][0]
        self._step_networks = step_networks if problem.config.payment.max_parts == 1 else step_networks_in_parts
        self._has_flows = problem.layout.history > 0
        self._which, self._row, self._rebalance_msat = state.columns[:3]
        self._pool = ThreadPoolExecutor(threads - 1, "lnsim") if threads > 1 else None
        self._bound: dict[int, list[Callable[[], Any]]] = {}

    def reset(self, which: Bool, start_balances_msat: Int64 | None = None) -> ResetReport:
        """See ``Episodes.reset``."""
        self._which[:] = which
        if start_balances_msat is not None:
            self._states[0].columns.given_msat[which] = start_balances_msat.reshape(self.networks, -1)[which]
        self._run(reset_networks)
        return _ASSIGNED

    def step(self, which: Bool, row: Int64, amount_msat: Int64) -> None:
        """See ``Episodes.step``."""
        self._which[:] = which
        self._row[:] = row
        self._rebalance_msat[:] = amount_msat
        self._run(self._step_networks)
        if self._has_flows:
            self._run(note_flows)

    def step_one(self, row: int, amount_msat: int) -> None:
        """See ``Episodes.step_one``; without the arrays of a batch, as this is the way of a single environment.

        The network is still marked as the one to step since it was reset.
        """
        self._row[0] = row
        self._rebalance_msat[0] = amount_msat
        self._step_networks(self._address, 0, 1)
        if self._has_flows:
            note_flows(self._address, 0, 1)

    def imagine(self, balances_msat: Int64, cumulative: npt.NDArray[np.float64], seeds: npt.NDArray[np.uint64]) -> None:
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

    def imagine_demand(self, which: Bool, cumulative: npt.NDArray[np.float64]) -> None:
        """Give another demand to networks that were started by ``imagine``.

        Args:
            which: The networks it is for, shape (networks,).
            cumulative: As for ``imagine``.
        """
        columns = self._states[0].columns
        columns.cumulative[which] = cumulative[which]
        columns.regime[which] = 0

    def saved(self) -> list[npt.NDArray[Any]]:
        """Return a copy of everything that episodes are in the middle of, for ``restore``."""
        return [array.copy() for array in self._living()]

    def restore(self, saved: list[npt.NDArray[Any]]) -> None:
        """Go on where another runner of the same problem and size stood when ``saved`` was taken."""
        for array, copy in zip(self._living(), saved, strict=True):
            array[:] = copy

    def branch_from(self, other: SimulatedEpisodes, copies: int) -> None:
        """Go on where each network of another runner of the same problem stands, a number of copies side by side.

        Args:
            other: Its networks times ``copies`` must be those of this one.
            copies: Copies of each network.
        """
        for array, its in zip(self._living(), other._living(), strict=True):
            array[:] = np.repeat(its, copies, axis=0)

    def outcomes(self, network: int) -> PaymentOutcomes:
        """See ``Episodes.outcomes``; counts the attempts that the step left uncounted."""
        columns = self._states[0].columns
        variant, rebalanced_msat = int(columns.stepped_variant[network]), columns.rebalanced_msat[network]
        self._attempts.count(variant, rebalanced_msat, self.batch(network), columns.attempts[network])
        return super().outcomes(network)

    def keep_step(self, network: int) -> Callable[[], tuple[PaymentBatch, PaymentOutcomes, Int64]]:
        """See ``Episodes.keep_step``; copies only, as whoever watches a fast environment keeps every step."""
        *kept, rebalanced_msat, balances_msat = [copy() for copy in self._copiers(network)]
        variant, fields = int(self._states[0].columns.stepped_variant[network]), len(PaymentBatch._fields)

        def unpack() -> tuple[PaymentBatch, PaymentOutcomes, Int64]:
            batch = PaymentBatch(*kept[:fields])
            columns = dict(zip(OUTCOME_COLUMNS, kept[fields:], strict=True))
            self._attempts.count(variant, rebalanced_msat, batch, columns["attempts"])
            outcomes = PaymentOutcomes(**columns, duration_s=np.zeros(len(batch.source)))
            return batch, outcomes, balances_msat.reshape(-1, 2)

        return cache(unpack)

    def close(self) -> None:
        """See ``Episodes.close``."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _living(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that change as episodes go on, working space left out."""
        state = self._states[0]
        return (*state.columns, *state.memories)

    def _copiers(self, network: int) -> list[Callable[[], Any]]:
        """Return what copies the columns of one network's step, bound once as that takes as long as copying."""
        if network not in self._bound:
            names = (*PaymentBatch._fields, *OUTCOME_COLUMNS, "rebalanced_msat", "balances_msat")
            self._bound[network] = [getattr(self._states[0].columns, name)[network].copy for name in names]
        return self._bound[network]

    def _run(self, task: Any) -> None:
        """Run a kernel on every range, the first in this thread."""
        if self._pool is None:
            for share in self._ranges:
                task(*share)
            return
        others = [self._pool.submit(task, *share) for share in self._ranges[1:]]
        task(*self._ranges[0])
        for other in others:
            other.result()
