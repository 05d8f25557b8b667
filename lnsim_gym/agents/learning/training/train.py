"""Training the agent of a recipe, for one seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import torch
from stable_baselines3.common.logger import configure

from lnsim_gym.agents.evaluate import Score, evaluate
from lnsim_gym.agents.learning.training.folder import TrainingFolder
from lnsim_gym.agents.learning.training.report import CurvePoint, TrainingReport
from lnsim_gym.agents.learning.training.run import TrainingRun
from lnsim_gym.agents.learning.training.watch import Progress, Stopped, Watch
from lnsim_gym.agents.recipe import TrainedRecipe
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.records.provenance import machine, versions

__all__ = ["EVALUATION_SEEDS", "train"]

PACKAGES: Final = ("gymnasium", "numpy", "numba", "torch", "stable-baselines3", "sb3-contrib")
"""What the result of a training depends on."""

EVALUATION_SEEDS: Final = range(3_000_000, 3_000_200)
"""Seeds of the evaluations during and after training."""


def train(
    name: str,
    recipe: TrainedRecipe,
    seed: int,
    folder: TrainingFolder,
    steps: int | None = None,
    every: int | None = None,
    resume: bool = False,
    threads: int = 1,
    progress: Progress = lambda *_: None,
    stopped: Callable[[], bool] = lambda: False,
    command: str = "",
    seeds: range = EVALUATION_SEEDS,
) -> TrainingReport | None:
    """Train the agent of a recipe, and keep the last policy.

    Equal seeds give equal policies, bit for bit, on one machine with one number of threads, whether the training was
    stopped and resumed or not.

    Args:
        name: How to call the agent.
        recipe: What to train.
        seed: Seed of the training.
        folder: Where everything goes.
        steps: Steps over all networks; by default those of the recipe.
        every: Steps from one evaluation, with its checkpoint, to the next; a tenth of all by default.
        resume: Go on from the last checkpoint in the folder.
        threads: Threads of PyTorch, and of evaluations.
        progress: Called with the steps done, those to do, the last evaluation, and the folder of the last checkpoint.
        stopped: Asked repeatedly whether to stop, with a checkpoint.
        command: What was asked for, for the report.
        seeds: Seeds of the evaluations.

    Returns:
        The report, or None when the training was stopped.

    Raises:
        ConfigError: A setting is unknown or impossible, or there is nothing to resume.
    """
    if recipe.config.backend != "simulator":
        raise ConfigError(f"training needs the simulator, the backend of {recipe.env} is {recipe.config.backend!r}")
    torch.set_num_threads(threads)
    run = TrainingRun(recipe, seed)
    total = steps or run.planned_steps
    if total is None:
        raise ConfigError("the recipe has no hyperparameter n_timesteps: add one, or give --steps")
    if resume:
        run.resume(folder)
    run.model.set_logger(configure(str(folder.log), ["tensorboard"]))
    problem = Problem.of(recipe.config)

    def play() -> Score:
        return evaluate(name, run.agent(problem), seeds, recipe.max_episode_steps, threads=threads)

    watch = Watch(run, folder, total, every or max(total // 10, 1), play, progress, stopped)
    score = _learn(run, watch, total, resume)
    if score is None:
        return None
    run.agent(problem).save(folder.policy)
    report = TrainingReport(
        agent=name,
        algo=recipe.algo,
        env=recipe.env,
        seed=seed,
        command=command,
        steps=run.steps,
        wall_time_s=run.wall_time_s,
        environment_share=run.environment_s / run.wall_time_s,
        score=score,
        curve=_last_of_each_step(run.curve),
        threads=threads,
        machine=machine(),
        versions=versions(*PACKAGES),
    )
    folder.report.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    return report


def _learn(run: TrainingRun, watch: Watch, total: int, resumed: bool) -> Score | None:
    """Train up to a number of steps and return the last evaluation, or None when the training was stopped."""
    try:
        if run.steps < total:
            run.model.learn(total - run.steps, watch, reset_num_timesteps=not resumed)
        score = watch.evaluate()
        run.model.logger.dump(run.steps)
        watch.save()
    except Stopped:
        return None
    finally:
        run.model.logger.close()
        run.close()
    return score


def _last_of_each_step(curve: list[CurvePoint]) -> list[CurvePoint]:
    """Return the curve without the points that were evaluated twice."""
    return list({point.steps: point for point in curve}.values())
