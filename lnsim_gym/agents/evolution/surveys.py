"""The surveyed episodes that a training plays: made once, kept in its folder, each a file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Final

import gymnasium as gym

from lnsim_gym.agents.recipe import Evolution
from lnsim_gym.corridor import Survey, read_survey, survey_episode, write_survey
from lnsim_gym.corridor.survey import require_surveyable
from lnsim_gym.environment.files import environment_files
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.public import placed
from lnsim_gym.tasks.config import EnvironmentConfig

__all__ = ["load_surveys", "make_surveys", "place_of", "problem_at"]

WAIT_S: Final = 0.5


def place_of(plan: Evolution, number: int) -> tuple[int, int, int]:
    """Return graph, position and seed of a survey: all three go on with its number, so that no two are alike."""
    spans = plan.graphs, plan.positions, plan.seeds
    graph, position, seed = (first + number % (last - first) for first, last in spans)
    return graph, position, seed


def problem_at(plan: Evolution, graph: int, position: int) -> Problem:
    """Return the environment's problem at a place.

    Raises:
        ConfigError: There is no such environment, or its topology has no places.
    """
    try:
        settings = dict(gym.spec(plan.env).kwargs)
    except gym.error.Error as unknown:
        known = ", ".join(file.id for file in environment_files())
        raise ConfigError(f"{unknown} Known: {known}") from None
    settings.pop("max_episode_steps", None)
    topology = placed(settings["topology"], graph=graph, position=position)
    view = {"observation": "dict", "action": "dict"}
    problem = Problem.of(EnvironmentConfig.of({**settings, **view, "topology": topology}))
    require_surveyable(problem)
    return problem


def make_surveys(
    plan: Evolution,
    folder: Path,
    workers: Executor,
    told: Callable[[int], None],
    stopped: Callable[[], bool],
) -> list[Path] | None:
    """Make the surveys that are not in a folder yet.

    Args:
        plan: Which ones.
        folder: Where they are kept.
        workers: Processes that make them.
        told: Called with how many there are.
        stopped: Asked repeatedly whether to stop; those that are under way are finished.

    Returns:
        All files, or None when it was stopped.

    Raises:
        ConfigError: One cannot be made, or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "graph-{}-position-{}-seed-{}.npz".format(*place_of(plan, n)) for n in range(plan.surveys)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    pending: set[Future[None]] = {workers.submit(_make, plan, number, paths[number]) for number in missing}
    told(len(paths) - len(pending))
    while pending:
        done, pending = wait(pending, WAIT_S, FIRST_COMPLETED)
        for future in done:
            future.result()
        told(len(paths) - len(pending))
        if stopped():
            for future in pending:
                future.cancel()
            return None
    return paths


def load_surveys(paths: list[Path]) -> list[Survey]:
    """Read surveys; see ``read_survey``."""
    return [read_survey(path) for path in paths]


def _make(plan: Evolution, number: int, path: Path) -> None:
    """Make one survey."""
    graph, position, seed = place_of(plan, number)
    write_survey(path, survey_episode(problem_at(plan, graph, position), seed, plan.steps))
