"""What is reported of a training: its result, how to repeat it, and the recipe that plays what came out."""

from __future__ import annotations

import json
import re

import msgspec

from lnsim_gym.agents.evaluate import Score
from lnsim_gym.agents.recipe import Trained

__all__ = ["CurvePoint", "TrainingReport", "with_trained"]


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation during the training."""

    steps: int
    """Steps trained by then, over all networks."""
    success_rate: float
    success_rate_low: float
    success_rate_high: float

    @classmethod
    def of(cls, steps: int, score: Score) -> CurvePoint:
        """Take what a curve shows of a score."""
        return cls(
            steps=steps,
            success_rate=score.success_rate,
            success_rate_low=score.success_rate_low,
            success_rate_high=score.success_rate_high,
        )


class TrainingReport(msgspec.Struct, frozen=True, kw_only=True):
    """The training of one seed."""

    agent: str
    algo: str
    env: str
    seed: int
    command: str
    """What was asked for."""
    steps: int
    """Steps trained, over all networks."""
    wall_time_s: float
    """Duration without the evaluations, over all parts of a training that was resumed."""
    environment_share: float
    """Share of it that the environment took."""
    score: Score
    """Of the last policy, which is the one that is kept, on the evaluation seeds."""
    curve: list[CurvePoint]
    """Evaluations during the training, on the same seeds, the last one included."""
    threads: int
    machine: str
    versions: dict[str, str]


def with_trained(recipe: str, trained: Trained) -> str:
    """Return the text of a recipe with what came out of its training, in place of what was there."""
    kept = re.sub(r"(?ms)^\[trained\]$.*?(?=^\[|\Z)", "", recipe).rstrip()
    values = msgspec.to_builtins(trained)
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    return "\n".join([kept, "", "[trained]", *lines, ""])
