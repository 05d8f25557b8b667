"""The command that trains agents."""

from __future__ import annotations

import os
import pprint
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lnsim_gym.cli.episodes import writing
from lnsim_gym.cli.evaluation import problem_of, require_ray, seed_range
from lnsim_gym.cli.options import Ray
from lnsim_gym.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from lnsim_gym.agents.evolution.training import CurvePoint as Validation
    from lnsim_gym.agents.learning.training.folder import TrainingFolder
    from lnsim_gym.agents.learning.training.report import CurvePoint, TrainingReport
    from lnsim_gym.agents.learning.training.watch import Progress
    from lnsim_gym.agents.recipe import Evolution, TrainedRecipe

__all__ = ["app"]

app = typer.Typer()

FEW_UPDATES: Final = 10
"""Updates of a policy below which a training teaches little."""


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of an agent that learns, or a recipe file.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the training.")] = 0,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Seeds A:B, one training each, B left out.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps over all networks; by default those of the recipe.")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option("--every", min=1, help="Steps between evaluations, each with a checkpoint; a tenth by default."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for everything; runs/RECIPE by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoints in the folder.")] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of PyTorch and of evaluations.")
    ] = None,
    ray: Ray = None,
    zoo: Annotated[
        Path | None, typer.Option("--zoo", help="Only write this .py, a configuration file for rl-baselines3-zoo.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="How long to evolve, where the recipe has [training].")
    ] = None,
) -> None:
    """Train an agent in the simulator.

    A recipe is a TOML file with `algo` (ppo, maskable_ppo, ppo_lstm, dqn, sac or dpi), `env`, `[env_kwargs]`, and
    `[hyperparams]` with the keys of rl-baselines3-zoo. Each seed gets a folder OUT/seed-N with policy, report,
    checkpoints and a log for TensorBoard. OUT/RECIPE.toml is the trained agent, with the policy of the first seed, for
    `lnsim eval` and `lnsim run`; OUT/learning_curve.svg shows how the seeds learnt. Ctrl-C leaves a checkpoint. With
    `--ray` the workers of a Ray cluster train the seeds, in folders that all its machines see.

    A rule with weights and `[training]`, such as learned_operator, is trained by evolution strategies on surveyed
    episodes, which OUT/surveys keeps for `--resume`; `--threads` are then processes, by default one for each core.
    """
    import msgspec

    from lnsim_gym.agents.recipe import TrainedRecipe, read_recipe, recipe_path

    source = recipe_path(recipe)
    todo = range(seed, seed + 1) if seeds is None else seed_range(seeds)
    learner = read_recipe(recipe)
    if not isinstance(learner, TrainedRecipe):
        if learner.training is None:
            raise ConfigError(f"agent {recipe!r} is a rule and has nothing to learn: name a recipe that has `algo`")
        if any(option is not None for option in (seeds, steps, every, ray, zoo)):
            raise ConfigError(f"agent {recipe!r} evolves: leave out --seeds, --steps, --every, --ray and --zoo")
        plan = learner.training if minutes is None else msgspec.structs.replace(learner.training, minutes=minutes)
        _evolve(source, plan, seed, out or Path("runs") / source.stem, resume, threads)
        return
    if minutes is not None:
        raise ConfigError(f"agent {recipe!r} is trained by steps: give --steps in place of --minutes")
    if zoo is not None:
        _write_for_zoo(learner, zoo)
        return
    _require_learners()
    name = source.stem
    text = source.read_text(encoding="utf-8")
    _note_few_updates(learner, steps)
    folders = _prepared(out or Path("runs") / name, todo, resume)
    options = {"steps": steps, "every": every, "threads": threads or 1, "command": shlex.join(["lnsim", *sys.argv[1:]])}
    paid = not problem_of(learner.env, dict(learner.env_kwargs))[0].task.pays_success_rate
    train_all = _train_here if ray is None else partial(_train_on_cluster, ray)
    reports = train_all(name, learner, folders, options, resume, paid)
    _conclude(name, text, reports, folders[todo[0]])


def _train_here(
    name: str,
    recipe: TrainedRecipe,
    folders: Mapping[int, TrainingFolder],
    options: Mapping[str, Any],
    resume: bool,
    paid: bool,
) -> list[TrainingReport]:
    """Train one seed after the other; the first request to stop ends the command, with a checkpoint."""
    from lnsim_gym.agents.learning.training.train import train as learn

    reports = []
    for seed, folder in folders.items():
        going_on = resume and folder.last_checkpoint() is not None
        with _requests_to_stop() as request, _progress_of(f"{name}, seed {seed}") as progress:
            report = learn(
                name,
                recipe,
                seed,
                folder,
                resume=going_on,
                progress=progress,
                stopped=lambda: request() is not None,
                **options,
            )
        if report is None:
            typer.echo(f"stopped with a checkpoint in {folder.checkpoints}: the same with --resume goes on", err=True)
            sys.exit(128 + (request() or 0))
        _print(report, paid)
        reports.append(report)
    return reports


def _evolve(source: Path, plan: Evolution, seed: int, out: Path, resume: bool, processes: int | None) -> None:
    """Train a rule by evolution strategies; the first request to stop ends the command, with a checkpoint."""
    from lnsim_gym.agents.evolution.training import EvolutionFolder, evolve
    from lnsim_gym.cli.display import amount_progress

    folder, name = EvolutionFolder(out), source.stem
    if not resume and (folder.checkpoint.exists() or folder.surveys.exists()):
        raise ConfigError(f"{out} holds a training already: choose another --out, or --resume it")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)

    def tell(point: Validation) -> None:
        typer.echo(
            f"{name}, {point.seconds:.0f} of {60 * plan.minutes:.0f} s, generation {point.generation}: "
            f"{point.net_sat_per_day:.1f} sat a day where it was not trained, "
            f"one fixed fee rate {point.reference_sat_per_day:.1f}",
            err=True,
        )

    with _requests_to_stop() as request, amount_progress("surveys", 0, plan.surveys) as show:
        report = evolve(
            name,
            plan,
            seed,
            folder,
            resume=resume,
            processes=processes or os.cpu_count() or 1,
            command=shlex.join(["lnsim", *sys.argv[1:]]),
            surveyed=show,
            evolved=tell,
            stopped=lambda: request() is not None,
        )
    if report is None:
        typer.echo(f"stopped, what there is is kept in {out}: the same with --resume goes on", err=True)
        sys.exit(128 + (request() or 0))
    recipe = out / f"{name}.toml"
    text = re.sub(r"(?m)^weights = .*$", f'weights = "{folder.policy.name}"', source.read_text(encoding="utf-8"))
    with writing(recipe):
        recipe.write_text(text, encoding="utf-8")
    typer.echo(
        f"{name}, seed {seed}: {report.generations} generations in {report.wall_time_s:.0f} s, "
        f"{report.curve[-1].net_sat_per_day:.1f} sat a day where it was not trained; report in {folder.report}"
    )
    typer.echo(f"trained agent in {recipe}: lnsim eval {recipe} --env {plan.env}")


def _train_on_cluster(
    address: str,
    name: str,
    recipe: TrainedRecipe,
    folders: Mapping[int, TrainingFolder],
    options: Mapping[str, Any],
    resume: bool,
    paid: bool,
) -> list[TrainingReport]:
    """Let the workers of a cluster train the seeds, and return the reports in their order."""
    del resume  # workers go on from a checkpoint wherever there is one
    require_ray()
    from lnsim_gym.agents.cluster import joined
    from lnsim_gym.agents.cluster.training import train_on_cluster

    reports = []
    with joined(address):
        for report in train_on_cluster(name, recipe, folders, **options):
            _print(report, paid)
            reports.append(report)
    return sorted(reports, key=lambda report: report.seed)


def _write_for_zoo(recipe: TrainedRecipe, file: Path) -> None:
    """Write what rl-baselines3-zoo needs to train the same, and print how."""
    if recipe.algo in ("maskable_ppo", "dpi"):
        raise ConfigError(f"rl-baselines3-zoo has no {recipe.algo}: choose another recipe")
    if recipe.features is not None:
        raise ConfigError("rl-baselines3-zoo has no features: choose a recipe without")
    if file.suffix != ".py":
        raise ConfigError(f"expected a file ending in .py, got {file}")
    settings = {recipe.env: {**recipe.hyperparams, "env_kwargs": recipe.env_kwargs}}
    with writing(file):
        file.write_text(f"hyperparams = {pprint.pformat(settings, sort_dicts=False)}\n", encoding="utf-8")
    call = ["--algo", recipe.algo, "--env", recipe.env, "--gym-packages", "lnsim_gym", "--conf-file", str(file)]
    if recipe.env_kwargs:
        # Those of a file alone reach only the environment that it trains in, none that it evaluates in.
        call += ["--env-kwargs", *(f"{key}:{value!r}" for key, value in recipe.env_kwargs.items())]
    typer.echo(shlex.join(["python", "-m", "rl_zoo3.train", *call]))


def _require_learners() -> None:
    """Refuse to go on without what trains."""
    for needed in ("torch", "stable_baselines3", "sb3_contrib", "tensorboard"):
        if find_spec(needed) is None:
            raise MissingDependency(f"training needs {needed}, which is not installed: pip install 'lnsim_gym[train]'")


def _note_few_updates(recipe: TrainedRecipe, steps: int | None) -> None:
    """Say so where the policy is hardly updated in the steps that were asked for."""
    rollout = recipe.hyperparams.get("n_envs", 1) * recipe.hyperparams.get("n_steps", 0)
    if steps is not None and rollout and steps < FEW_UPDATES * rollout:
        typer.echo(
            f"{steps:,} steps are {max(steps // rollout, 1)} updates, as this recipe learns from {rollout:,} steps at "
            "a time: expect little, or choose a recipe for short trainings such as ppo_quick",
            err=True,
        )


def _prepared(out: Path, seeds: range, resume: bool) -> dict[int, TrainingFolder]:
    """Make a folder for each seed; refuse folders that hold another training, or nothing to resume."""
    from lnsim_gym.agents.learning.training.folder import TrainingFolder

    folders = {seed: TrainingFolder(out / f"seed-{seed}") for seed in seeds}
    begun = [folder for folder in folders.values() if folder.last_checkpoint() is not None or folder.report.exists()]
    if begun and not resume:
        raise ConfigError(f"{begun[0].path} holds a training already: choose another --out, or --resume it")
    if resume and not begun:
        raise ConfigError(f"expected a checkpoint in {out / f'seed-{seeds[0]}'} to --resume from, found none")
    for folder in folders.values():
        with writing(folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
    return folders


@contextmanager
def _requests_to_stop() -> Iterator[Callable[[], int | None]]:
    """Catch the first Ctrl-C or request to terminate; a second one acts as usual.

    Yields:
        A function that returns the number of the signal, once there was one.
    """
    caught: list[int] = []
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def put_back() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def catch(number: int, frame: FrameType | None) -> None:
        del frame
        caught.append(number)
        put_back()

    for number in usual:
        signal.signal(number, catch)
    try:
        yield lambda: caught[0] if caught else None
    finally:
        put_back()


@contextmanager
def _progress_of(what: str) -> Iterator[Progress]:
    """Show a training: a bar on a terminal, a line for each evaluation elsewhere, once its checkpoint is written."""
    if sys.stderr.isatty():
        from lnsim_gym.cli.display import progress_bar

        with progress_bar() as bar:
            yield lambda done, total, last, kept: bar(f"{what}{_rate(last)}, {_kept(kept)}", done, total)
        return
    reported: list[CurvePoint] = []

    def report(done: int, total: int, last: CurvePoint | None, kept: Path | None) -> None:
        if last is not None and last not in reported:
            reported.append(last)
            where = "" if kept is None else f" in {kept.parent}"
            typer.echo(f"{what}: {done:,} of {total:,} steps{_rate(last)}, {_kept(kept)}{where}", err=True)

    yield report


def _rate(last: CurvePoint | None) -> str:
    """Return what to show of the last evaluation."""
    return "" if last is None else f", success rate {last.success_rate:.3f}"


def _kept(checkpoint: Path | None) -> str:
    """Return what is there to go on from, whose steps its folder is named by."""
    return "no checkpoint yet" if checkpoint is None else f"checkpoint of {int(checkpoint.name):,} steps"


def _print(report: TrainingReport, paid: bool) -> None:
    """Print the result of one seed, with the reward of an episode if that is asked for."""
    score = report.score
    reward = f", reward {score.reward:,.2f}, profit {score.profit_sat:,.0f} sat" if paid else ""
    typer.echo(
        f"{report.agent}, seed {report.seed}: success rate {score.success_rate:.4f} "
        f"({score.success_rate_low:.4f} .. {score.success_rate_high:.4f}){reward} over {score.episodes} episodes, "
        f"{report.steps:,} steps in {report.wall_time_s:.1f} s, {report.environment_share:.1%} of it in the environment"
    )


def _conclude(name: str, recipe: str, reports: list[TrainingReport], first: TrainingFolder) -> None:
    """Write the recipe of the trained agent, and print how the seeds compare."""
    import statistics

    from lnsim_gym.agents.learning.training.report import with_trained
    from lnsim_gym.agents.recipe import Trained

    rates = [report.score.success_rate for report in reports]
    mean = statistics.mean(rates)
    trained = Trained(
        weights=f"{first.path.name}/{first.policy.name}",
        seeds=[report.seed for report in reports],
        command=reports[0].command,
        wall_time_s=round(reports[0].wall_time_s, 1),
        success_rate=round(mean, 4),
    )
    trained_recipe = first.path.parent / f"{name}.toml"
    with writing(trained_recipe):
        trained_recipe.write_text(with_trained(recipe, trained), encoding="utf-8")
    chart = first.path.parent / "learning_curve.svg"
    if find_spec("matplotlib") is None:
        typer.echo("no learning curve is drawn, as matplotlib is missing: pip install 'lnsim_gym[render]'", err=True)
    else:
        with writing(chart):
            _draw(name, reports, chart)
        typer.echo(f"learning curve in {chart}")
    if len(rates) > 1:
        typer.echo(
            f"{name}, {len(rates)} seeds: mean success rate {mean:.4f}, standard deviation "
            f"{statistics.stdev(rates):.4f}, {min(rates):.4f} .. {max(rates):.4f}"
        )
    typer.echo(f"trained agent in {trained_recipe}: lnsim eval {trained_recipe}")


def _draw(name: str, reports: list[TrainingReport], chart: Path) -> None:
    """Draw the learning curve of all seeds, over the evaluations that all of them have."""
    import numpy as np

    from lnsim_gym.agents.evaluate import bootstrap
    from lnsim_gym.rendering.charts import draw_curve

    curves = [{point.steps: point for point in report.curve} for report in reports]
    steps = sorted(set.intersection(*map(set, curves)))
    rates = np.array([[curve[step].success_rate for step in steps] for curve in curves])
    if len(reports) > 1:
        low, high = np.array([bootstrap(column) for column in rates.T]).T
    else:
        points = [curves[0][step] for step in steps]
        low = np.array([point.success_rate_low for point in points])
        high = np.array([point.success_rate_high for point in points])
    draw_curve(chart, name, steps, rates, low, high)
