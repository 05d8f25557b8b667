"""What happens between the rollouts of a training: evaluations, checkpoints, progress, and stopping when told to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from stable_baselines3.common.callbacks import BaseCallback

from lnsim_gym.agents.evaluate import Score
from lnsim_gym.agents.learning.training.folder import TrainingFolder
from lnsim_gym.agents.learning.training.report import CurvePoint
from lnsim_gym.agents.learning.training.run import TrainingRun

__all__ = ["Progress", "Stopped", "Watch"]


class Progress(Protocol):
    """Takes reports of how far a training is, with the last evaluation and the last checkpoint if there was one."""

    def __call__(self, done: int, total: int, last: CurvePoint | None, kept: Path | None, /) -> None:
        """Take a report."""


class Stopped(Exception):
    """The training was told to stop, and has left a checkpoint."""


class Watch(BaseCallback):
    """Looks after a training between its rollouts, when everything that makes it up is at rest.

    Args:
        run: The training.
        folder: Where checkpoints go.
        total: Steps that it is to have in the end.
        every: Steps from one evaluation, with its checkpoint, to the next.
        play: Plays an evaluation with the policy as it is.
        progress: Takes a report after every rollout and checkpoint.
        stopped: Says whether to stop.
    """

    def __init__(
        self,
        run: TrainingRun,
        folder: TrainingFolder,
        total: int,
        every: int,
        play: Callable[[], Score],
        progress: Progress,
        stopped: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._run = run
        self._folder = folder
        self._total = total
        self._every = every
        self._play = play
        self._progress = progress
        self._stopped = stopped
        self._next = every * (run.steps // every + 1)
        self._resumed_at = time.perf_counter()

    def evaluate(self) -> Score:
        """Play an evaluation and note the result; this time does not count."""
        self._count_time()
        score = self._play()
        self._run.curve.append(CurvePoint.of(self._run.steps, score))
        logger = self._run.model.logger
        logger.record("eval/success_rate", score.success_rate)
        logger.record("eval/mean_reward", score.reward)
        self._resumed_at = time.perf_counter()
        return score

    def save(self) -> None:
        """Write a checkpoint, and only then report: a training that is killed goes on from what was reported."""
        self._count_time()
        self._run.save(self._folder)
        self._report()

    def _on_rollout_start(self) -> None:
        """Do what is due."""
        due = self._run.steps >= self._next
        if due:
            self._next += self._every
            self.evaluate()
        if due or self._stopped():
            self.save()
        if self._stopped():
            raise Stopped
        self._report()

    def _on_step(self) -> bool:
        """Go on."""
        return True

    def _count_time(self) -> None:
        """Add the time since it was last added."""
        now = time.perf_counter()
        self._run.wall_time_s += now - self._resumed_at
        self._resumed_at = now

    def _report(self) -> None:
        """Report how far the training is."""
        curve = self._run.curve
        last, kept = curve[-1] if curve else None, self._folder.last_checkpoint()
        self._progress(min(self._run.steps, self._total), self._total, last, kept)
