"""Trial after trial in processes of their own, until enough payments were held to their books."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Final

import msgspec

from lnsim_gym.benchmarks.conservation.trials import KINDS, Kind, Trial, trial
from lnsim_gym.benchmarks.report import Report, circumstances, system_load
from lnsim_gym.benchmarks.resumed import append_line, resumed
from lnsim_gym.errors import LnsimError

__all__ = ["ConservationFigures", "ConservationRun", "KindFigures"]

AHEAD: Final = 2
"""Trials that are given to each process at a time."""


class KindFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What was done of a kind."""

    networks: int
    payments: int
    settled: int
    moved_sat: int
    payments_per_s: float
    """In one process."""


class ConservationFigures(Report, frozen=True, kw_only=True):
    """What was found."""

    seed: int
    payments: int
    complete: bool
    """Whether as many payments were made as was asked."""
    seconds: float
    """Time of this run; what a file held before took none of it."""
    payments_per_s: float
    """Of this run, in all processes."""
    kinds: dict[Kind, KindFigures]
    wrong: list[str]
    """What should not be, by network."""


class ConservationRun:
    """A run of a seed.

    Args:
        seed: Decides all networks and payments.
        payments: How many to make, at least.
        out: File with a line for each network, from which an interrupted run goes on.

    Raises:
        ConfigError: The file is of another seed, or of something else.
    """

    def __init__(self, seed: int, payments: int, out: Path | None = None) -> None:
        self._seed = seed
        self._wanted = payments
        self._out = out
        self._load_before = system_load()
        self._trials = resumed(out, seed, Trial)
        self.payments = sum(each.payments for each in self._trials)
        self._payments_before = self.payments
        self._seconds = 0.0

    def run(self, processes: int, told: Callable[[Trial], None] = lambda _: None) -> None:
        """Run until enough payments were made; when interrupted, what is complete counts.

        Args:
            processes: How many work at a time.
            told: Called with each trial when it is over.

        Raises:
            LnsimError: A process died.
        """
        started = time.monotonic()
        done = {each.number for each in self._trials}
        numbers = (number for number in itertools.count() if number not in done)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_ignore_interrupts) as pool:
            running: set[Future[Trial]] = set()
            try:
                while self.payments < self._wanted:
                    while len(running) < AHEAD * processes:
                        running.add(pool.submit(_timed, self._seed, next(numbers)))
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        self._take(future.result(), told)
            except BrokenProcessPool:
                raise LnsimError(
                    "a process of the run was killed, perhaps for want of memory: run it again, with fewer processes; "
                    "it goes on from its file where it has one"
                ) from None
            finally:
                self._seconds = time.monotonic() - started
                pool.shutdown(wait=False, cancel_futures=True)

    def found(self) -> ConservationFigures:
        """Return what was found so far."""
        made = self.payments - self._payments_before
        return ConservationFigures(
            seed=self._seed,
            payments=self.payments,
            complete=self.payments >= self._wanted,
            seconds=round(self._seconds, 1),
            payments_per_s=round(made / max(self._seconds, 1e-9), 1),
            kinds=_by_kind(self._trials),
            wrong=[f"network {each.number}, {each.kind}: {each.wrong}" for each in self._trials if each.wrong],
            **circumstances(self._load_before, "numpy", "numba"),
        )

    def _take(self, each: Trial, told: Callable[[Trial], None]) -> None:
        """Count, write and tell a trial."""
        self._trials.append(each)
        self.payments += each.payments
        append_line(self._out, each)
        told(each)


def _by_kind(trials: Iterable[Trial]) -> dict[Kind, KindFigures]:
    """Sum trials up."""
    groups: defaultdict[Kind, list[Trial]] = defaultdict(list)
    for each in trials:
        groups[each.kind].append(each)
    return {
        kind: KindFigures(
            networks=len(groups[kind]),
            payments=sum(each.payments for each in groups[kind]),
            settled=sum(each.settled for each in groups[kind]),
            moved_sat=sum(each.moved_sat for each in groups[kind]),
            payments_per_s=round(
                sum(each.payments for each in groups[kind]) / max(sum(each.seconds for each in groups[kind]), 1e-9)
            ),
        )
        for kind in dict.fromkeys(KINDS)
        if groups[kind]
    }


def _timed(seed: int, number: int) -> Trial:
    """Do a trial and note how long it took."""
    started = time.monotonic()
    done = trial(seed, number)
    return msgspec.structs.replace(done, seconds=round(time.monotonic() - started, 3))


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that gives out the work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
