"""A long run from its beginning to its end, or to Ctrl-C, and what it found."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
import psutil

from lnsim_gym.benchmarks.report import Report, circumstances, system_load
from lnsim_gym.benchmarks.soak.samples import Samples, usage
from lnsim_gym.benchmarks.soak.subjects import Subject
from lnsim_gym.benchmarks.soak.trend import Trend, trend_of

__all__ = ["SoakFigures", "Soak"]

WARM_UP_SHARE: Final = 0.2
"""Share of a run that trends leave out: caches and pools fill, and episodes of one beginning fall out of step."""
LATEST_STEPS: Final = 1_024
"""Most steps before a sample whose times its latencies are taken from."""
FIRST_STEPS: Final = 4
"""Steps before the run, which compile what they need."""
OWN: Final = "own"
"""Whose memory, descriptors and threads must not grow."""
LEAST_RISE: Final = 1.0
"""What they must grow by to count, in MiB or in number: an allocator's crumbs are no leak."""


class SoakFigures(Report, frozen=True, kw_only=True):
    """What a run found."""

    subject: str
    seconds: float
    steps: int
    """Steps of environments."""
    complete: bool
    """Whether it ran as long as was asked."""
    lost: int
    """Messages that clients of a stream did not get, or networks of real nodes that were lost."""
    warm_up_share: float
    """Share of the run before what trends are taken from."""
    trends: dict[str, Trend]
    elapsed_s: list[float]
    """When each sample was taken."""
    samples: dict[str, list[float]]
    """Each figure by sample."""

    @property
    def grows(self) -> list[str]:
        """What of this process grows that should not, by ``LEAST_RISE`` or more within the run."""
        hours = (self.elapsed_s[-1] - self.elapsed_s[0]) / 3600 if self.elapsed_s else 0.0
        return [
            name
            for name, trend in self.trends.items()
            if name.startswith(OWN) and trend.verdict == "rises" and trend.per_hour * hours >= LEAST_RISE
        ]


class Soak:
    """A run.

    Args:
        subject: What makes the steps.
        steps: How many at least; None for no bound.
        seconds: How long at least; None for no bound.
    """

    def __init__(self, subject: Subject, *, steps: int | None = None, seconds: float | None = None) -> None:
        self._subject = subject
        self._wanted = steps, seconds
        self._load_before = system_load()
        self._samples = Samples()
        self._process = psutil.Process()
        self._latencies_s: deque[float] = deque(maxlen=LATEST_STEPS)
        self._before = 0, 0.0, 0.0
        """Steps, time and CPU time of the last sample."""
        self.steps = 0
        self.elapsed_s = 0.0

    @property
    def share_done(self) -> float:
        """How much of what was asked is done, 0..1; 0 where nothing bounds the run."""
        steps, seconds = self._wanted
        return min(1.0, max(self.steps / steps if steps else 0.0, self.elapsed_s / seconds if seconds else 0.0))

    def run(self, told: Callable[[dict[str, float]], None] = lambda _: None) -> None:
        """Run until the end, or until Ctrl-C.

        Args:
            told: Called with each sample.
        """
        for _ in range(FIRST_STEPS):
            self._subject.step()
        self._subject.figures()
        started = time.perf_counter()
        self._before = 0, 0.0, time.process_time()
        try:
            while self.share_done < 1:
                self._subject.wait()
                began = time.perf_counter()
                self.steps += self._subject.step()
                ended = time.perf_counter()
                self._latencies_s.append(ended - began)
                self.elapsed_s = ended - started
                if self._samples.is_due(self.elapsed_s):
                    told(self._sample())
        except KeyboardInterrupt:
            return

    def found(self) -> SoakFigures:
        """Return what was found so far."""
        elapsed_s = np.array(self._samples.elapsed_s)
        warm = elapsed_s >= WARM_UP_SHARE * self.elapsed_s
        columns = {name: np.array(column) for name, column in self._samples.columns.items()}
        return SoakFigures(
            subject=type(self._subject).__name__.lower(),
            seconds=round(self.elapsed_s, 3),
            steps=self.steps,
            complete=self.share_done >= 1,
            lost=self._subject.lost,
            warm_up_share=WARM_UP_SHARE,
            trends={name: trend_of(elapsed_s[warm], column[warm]) for name, column in columns.items()},
            elapsed_s=elapsed_s.round(3).tolist(),
            samples={name: [float(f"{value:.6g}") for value in column] for name, column in columns.items()},
            **circumstances(self._load_before, "gymnasium", "numpy", "numba", "websockets", "grpcio"),
        )

    def _sample(self) -> dict[str, float]:
        """Take a sample and return it."""
        steps, elapsed_s, cpu_s = self._before
        self._before = self.steps, self.elapsed_s, time.process_time()
        made = self.steps - steps
        latencies_ms = 1000 * np.array(self._latencies_s)
        self._latencies_s.clear()
        figures = {
            **usage(OWN, [self._process]),
            "steps_per_s": made / max(self.elapsed_s - elapsed_s, 1e-9),
            "steps_per_cpu_s": made / max(self._before[2] - cpu_s, 1e-9),
            "step_median_ms": float(np.median(latencies_ms)),
            "step_p99_ms": float(np.quantile(latencies_ms, 0.99)),
            **self._subject.figures(),
        }
        self._samples.add(self.elapsed_s, figures)
        return figures
