"""Commands that compare agents on equal seeds, and that tune a rule by such comparisons."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lnsim_gym.cli.episodes import environment_overrides, environment_spec, writing
from lnsim_gym.cli.options import (
    BackendChoice,
    BackendOption,
    EnvironmentId,
    LauncherChoice,
    LauncherOption,
    Network,
    Ray,
    Settings,
    Topology,
)
from lnsim_gym.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from lnsim_gym.agents import Agent
    from lnsim_gym.agents.cluster import Space
    from lnsim_gym.agents.evaluate import Score, Tally
    from lnsim_gym.agents.recipe import RuleRecipe, TrainedRecipe
    from lnsim_gym.agents.search import Trial
    from lnsim_gym.corridor import Corridor, Survey
    from lnsim_gym.episodes import Problem

__all__ = ["app", "problem_of", "require_ray", "seed_range"]

app = typer.Typer()

FIRST_SEED: Final = 1_000_000
"""First seed that agents are compared on unless told otherwise."""
EPISODES: Final = 500
"""Episodes of a comparison unless told otherwise."""
SHOWN_TRIALS: Final = 10
"""Combinations that tuning shows."""

Episodes = Annotated[
    int | None, typer.Option("--episodes", min=1, help=f"Play the first so many seeds; {EPISODES} by default.")
]
Seeds = Annotated[
    str | None, typer.Option("--seeds", help=f"Seeds A:B, one episode each, B left out; from {FIRST_SEED} by default.")
]
Graphs = Annotated[
    str | None, typer.Option("--graphs", help="Play on the graphs that public(...) makes of the seeds A:B.")
]
Positions = Annotated[
    str | None, typer.Option("--positions", help="Put the own node at the places of the seeds A:B in each graph.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads that share simulated networks.")]


@app.command("eval")
def evaluate(
    agents: Annotated[list[str], typer.Argument(help="Agents, recipe files, or classes as file.py:Class.")],
    env: EnvironmentId = "LightningNet-v0",
    episodes: Episodes = None,
    seeds: Seeds = None,
    backend: BackendOption = None,
    threads: Threads = 1,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="Write .json, .csv, .md, .png or .svg too; as often as wanted."),
    ] = None,
    graphs: Graphs = None,
    positions: Positions = None,
    ray: Ray = None,
    launcher: LauncherOption = LauncherChoice.auto,
    network: Network = None,
    topology: Topology = None,
    settings: Settings = None,
) -> None:
    """Play agents on the same seeds of an environment and compare them, with 95 % bootstrap intervals.

    Each agent sees the environment and acts on it as its recipe says; the backend is the same for all: the
    simulator, or with `--backend lnd` real nodes, which play one episode after another. An agent that cannot act on
    the environment is left out. With `--ray` the workers of a Ray cluster share the seeds, and the table is the same.

    What a node earns depends more on where it stands than on how it is run. With `--graphs` and `--positions` every
    agent plays all seeds at every position in every graph, and intervals are over these places.
    """
    from lnsim_gym.agents.evaluate import Tally
    from lnsim_gym.agents.recipe import read_recipe
    from lnsim_gym.cli.display import print_scores, progress_bar

    chosen = _chosen_seeds(seeds, episodes)
    for file in out or ():
        _require_writable(file)
    players, unfit, paid = {}, {}, False
    for name in dict.fromkeys(agents):
        read_recipe(name)  # a name that stands for nothing is an error, whoever else plays
        try:
            overrides = environment_overrides(env, backend, launcher, network, topology, settings, name)
            places = _places(env, overrides, graphs, positions)
            first = _player(name, env, places[0])
            players[name], paid = (first, places), paid or not first[0].problem.task.pays_success_rate
        except (ConfigError, MissingDependency) as problem_with_agent:
            unfit[name] = problem_with_agent
    if not players:
        raise next(iter(unfit.values()))
    for name, reason in unfit.items():
        typer.echo(f"{name} is left out: {reason}", err=True)
    with progress_bar() as report:
        if ray is not None:
            tallies = _on_cluster(ray, env, players, chosen, partial(report, "episodes"))
        else:
            tallies = {
                name: _played(_players(name, env, *there), len(there[1]), chosen, partial(report, name), threads)
                for name, there in players.items()
            }
    scores = [Tally.joined(played).score(name, len(played)) for name, played in tallies.items()]
    print_scores(scores, paid)
    for file in out or ():
        _write(scores, file, paid)


@app.command()
def tune(
    agent: Annotated[str, typer.Argument(help="Name of an agent, or its recipe file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Recipe to write, with the best settings.")],
    tried: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            help="Values of a setting, as NAME=V1,V2, with --ray also a range NAME=LOW:HIGH; by default five of each "
            "that is a share, with --ray all of 0:1.",
        ),
    ] = None,
    env: EnvironmentId = "LightningNet-v0",
    episodes: Episodes = None,
    seeds: Seeds = "2000000:2000500",
    threads: Threads = 1,
    ray: Ray = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Choices of settings to try with --ray.")] = 50,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of each training, where the agent learns.")
    ] = None,
    corridor: Annotated[
        bool,
        typer.Option(
            "--corridor", help="Survey episodes of an own node once, and replay them for every combination of settings."
        ),
    ] = False,
    graphs: Graphs = None,
    positions: Positions = None,
    topology: Topology = None,
    settings: Settings = None,
) -> None:
    """Try settings of an agent on the same simulated seeds, and write a recipe with the best.

    Without `--ray` every combination of a rule's settings is tried. With it Ray Tune tries `--trials` choices on the
    workers of a cluster, by the tree-structured Parzen estimator of Optuna: settings of a rule, or hyperparameters of
    an agent that learns, which each trial trains.

    With `--corridor` the rules of operators play surveyed episodes, about fifty times as fast, at every position in
    every graph that `--graphs` and `--positions` name; compare what comes out with `lnsim eval` at other places.
    """
    from lnsim_gym.agents.evaluate import evaluate as play_exactly
    from lnsim_gym.agents.recipe import RuleRecipe, read_recipe
    from lnsim_gym.agents.search import default_grid, recipe_text, search
    from lnsim_gym.cli.display import print_scores, progress_bar

    chosen = _chosen_seeds(seeds, episodes)
    recipe = read_recipe(agent)
    if ray is None and not isinstance(recipe, RuleRecipe):
        raise ConfigError(f"expected a rule, got {agent!r}, which learns: add --ray, or use `lnsim train`")
    overrides = environment_overrides(
        env, BackendChoice.simulator, LauncherChoice.auto, None, topology, settings, agent
    )
    if corridor and ray is not None:
        raise ConfigError("--corridor needs no cluster: leave --ray out")
    if not corridor and (graphs or positions):
        raise ConfigError("--graphs and --positions name places to survey: add --corridor")
    problem, length = problem_of(env, overrides)
    space: dict[str, Any] = dict(map(_values, tried or ()))
    with writing(out):
        out.touch()
    with progress_bar() as report:
        if ray is not None:
            require_ray()
            found = _tuned(ray, agent, recipe, space, problem, chosen, length, trials, steps, partial(report, agent))
        else:
            assert isinstance(recipe, RuleRecipe)
            if any(isinstance(values, tuple) for values in space.values()):
                raise ConfigError("ranges are searched on Ray: add --ray, or name values as NAME=V1,V2")
            grid = space or default_grid(recipe)
            play = partial(play_exactly, seeds=chosen, steps=length, threads=threads)
            if corridor:
                places = _places(env, overrides, graphs, positions)
                play = partial(_played_in, corridor=_surveyed(env, places, chosen, partial(report, "surveys")))
            found = search(recipe, grid, problem, play, partial(report, agent))
    print_scores([trial.score for trial in found[:SHOWN_TRIALS]], not problem.task.pays_success_rate)
    best = found[0]
    reached = f"{_objective_text(best.score)} on seeds {chosen.start}:{chosen.stop} of {env}"
    out.write_text(recipe_text(best.recipe, f"Tuned: {reached}."), encoding="utf-8")
    typer.echo(f"written to {out}")


def _played_in(name: str, rule: Agent, *, corridor: Corridor) -> Score:
    """Let a rule play surveyed episodes."""
    from lnsim_gym.agents.operator.base import OperatorRule
    from lnsim_gym.agents.operator.surveyed import tally_corridor

    if not isinstance(rule, OperatorRule):
        raise ConfigError(f"--corridor plays rules of operators, got {type(rule).__name__}: leave it out")
    places = len({survey.topology for survey in corridor.surveys})
    return tally_corridor(rule, corridor).score(name, places)


def _surveyed(env: str, places: Places, seeds: range, tell: Callable[[int, int], None]) -> Corridor:
    """Survey the seeds at each place, or take what was surveyed before."""
    from lnsim_gym.corridor import Corridor, kept_survey

    surveys: list[Survey] = []
    for overrides in places:
        problem, length = problem_of(env, dict(overrides))
        for seed in seeds:
            surveys.append(kept_survey(problem, seed, length))
            tell(len(surveys), len(places) * len(seeds))
    return Corridor(surveys)


def _objective_text(score: Score) -> str:
    """Return what agents are compared by, in words."""
    if score.node is None:
        return f"success rate {score.success_rate:.4f}"
    return f"net {score.node.net_sat_per_day:,.1f} sat/day"


def _tuned(
    address: str,
    name: str,
    recipe: RuleRecipe | TrainedRecipe,
    space: Space,
    problem: Problem,
    seeds: range,
    length: int,
    trials: int,
    steps: int | None,
    tell: Callable[[int, int], None],
) -> list[Trial]:
    """Let the workers of a cluster search."""
    from lnsim_gym.agents.cluster import joined, search_on_cluster
    from lnsim_gym.agents.recipe import RuleRecipe
    from lnsim_gym.agents.search import default_grid

    if not space:
        if not isinstance(recipe, RuleRecipe):
            raise ConfigError("name the hyperparameters to tune, as --try learning_rate=0.0001:0.01")
        space = dict.fromkeys(default_grid(recipe), (0.0, 1.0))
    with joined(address):
        return search_on_cluster(name, recipe, space, problem, seeds, length, trials, steps, tell)


Places = list[dict[str, Any]]
"""Settings of the environment at each place that an agent plays at."""


def _places(env: str, overrides: dict[str, Any], graphs: str | None, positions: str | None) -> Places:
    """Return the settings at every position in every graph; one place where neither is asked for."""
    from lnsim_gym.network.public import placed

    if graphs is None and positions is None:
        return [overrides]
    topology = {**environment_spec(env).kwargs, **overrides}["topology"]
    seeds = [[None] if text is None else list(seed_range(text)) for text in (graphs, positions)]
    return [
        {**overrides, "topology": placed(topology, graph=graph, position=position)}
        for graph, position in itertools.product(*seeds)
    ]


def _player(name: str, env: str, overrides: dict[str, Any]) -> tuple[Agent, int]:
    """Return an agent for an environment with some settings of its own, and the steps of an episode."""
    from lnsim_gym.agents import make_agent

    problem, steps = problem_of(env, dict(overrides))
    return make_agent(name, problem), steps


def _players(name: str, env: str, first: tuple[Agent, int], places: Places) -> Iterator[tuple[Agent, int]]:
    """Yield an agent for each place, and the steps of an episode; the first one is there already."""
    yield first
    for overrides in places[1:]:
        yield _player(name, env, overrides)


def _played(
    players: Iterable[tuple[Agent, int]], places: int, seeds: range, tell: Callable[[int, int], None], threads: int
) -> list[Tally]:
    """Let an agent play all seeds at one place after the other."""
    from lnsim_gym.agents.evaluate import play_episodes

    tallies = []
    for place, (agent, steps) in enumerate(players):

        def tell_all(done: int, todo: int, before: int = place) -> None:
            tell(before * todo + done, places * todo)

        tallies.append(play_episodes(agent, seeds, steps, tell_all, threads))
    return tallies


def _on_cluster(
    address: str,
    env: str,
    players: Mapping[str, tuple[tuple[Agent, int], Places]],
    seeds: range,
    tell: Callable[[int, int], None],
) -> dict[str, list[Tally]]:
    """Let the workers of a cluster play."""
    require_ray()
    from lnsim_gym.agents.cluster import joined, play_on_cluster

    there = {
        (name, place): player
        for name, (first, places) in players.items()
        for place, player in enumerate(_players(name, env, first, places))
    }
    for (name, _), (agent, _) in there.items():
        if agent.problem.config.backend != "simulator":
            raise ConfigError(f"--ray spreads simulated episodes, {name} was to play on real nodes: leave --ray out")
    with joined(address):
        played = play_on_cluster(there, seeds, tell)
    return {name: [played[name, place] for place in range(len(places))] for name, (_, places) in players.items()}


def require_ray() -> None:
    """Refuse to go on without Ray.

    Raises:
        MissingDependency: It is not installed.
    """
    for needed in ("ray", "optuna"):
        if find_spec(needed) is None:
            raise MissingDependency(f"--ray needs {needed}, which is not installed: pip install 'lnsim_gym[ray]'")


def problem_of(env: str, overrides: dict[str, Any]) -> tuple[Problem, int]:
    """Return the problem of an environment with some settings of its own, and the steps of an episode."""
    from lnsim_gym.environment.options import time_limit
    from lnsim_gym.episodes import Problem
    from lnsim_gym.tasks.config import EnvironmentConfig

    spec = environment_spec(env)
    steps = time_limit(overrides.pop("max_episode_steps", spec.max_episode_steps)) or 100
    return Problem.of(EnvironmentConfig.of({**spec.kwargs, **overrides})), steps


def seed_range(text: str) -> range:
    """Parse A:B."""
    try:
        first, last = (int(part) for part in text.split(":"))
    except ValueError:
        raise ConfigError(f"expected seeds as A:B, two integers, got {text!r}") from None
    if not 0 <= first < last:
        raise ConfigError(f"expected seeds A:B with 0 <= A < B, got {text!r}")
    return range(first, last)


def _chosen_seeds(seeds: str | None, episodes: int | None) -> range:
    """Return the seeds to play."""
    if seeds is None:
        return range(FIRST_SEED, FIRST_SEED + (episodes or EPISODES))
    given = seed_range(seeds)
    if episodes is not None and episodes > len(given):
        raise ConfigError(f"expected at most as many episodes as seeds, got {episodes} episodes of {seeds}")
    return given[:episodes]


def _values(text: str) -> tuple[str, list[Any] | tuple[float, float]]:
    """Parse NAME=V1,V2, or NAME=LOW:HIGH."""
    name, equals, values = text.partition("=")
    low, is_range, high = values.partition(":")
    try:
        parsed: list[Any] = tomllib.loads(f"values = [{f'{low}, {high}' if is_range else values}]")["values"]
    except (ValueError, RecursionError):
        parsed = []
    is_number = [isinstance(value, int | float) and not isinstance(value, bool) for value in parsed]
    if not (name and equals and parsed) or (is_range and is_number != [True, True]):
        raise ConfigError(f"expected --try NAME=V1,V2 with values as in TOML, or NAME=LOW:HIGH, got {text!r}")
    return name, (parsed[0], parsed[1]) if is_range else parsed


def _require_writable(out: Path) -> None:
    """Refuse a file that could not be written in the end, before the work begins."""
    if out.suffix not in (".json", ".csv", ".md", ".png", ".svg"):
        raise ConfigError(f"expected a file ending in .json, .csv, .md, .png or .svg, got {out}")
    if out.suffix in (".png", ".svg") and find_spec("matplotlib") is None:
        raise MissingDependency("charts need matplotlib, which is not installed: pip install 'lnsim_gym[render]'")
    with writing(out):
        out.touch()


def _write(scores: list[Score], out: Path, paid: bool) -> None:
    """Write a file of the kind its name says."""
    import msgspec

    rows = [msgspec.to_builtins(score) for score in scores]
    if out.suffix == ".json":
        out.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    elif out.suffix == ".csv":
        import csv

        with out.open("w", newline="", encoding="utf-8") as file:
            flat = [{**row, **(row.get("node") or {})} for row in rows]
            columns = [
                column for column, value in flat[0].items() if column != "node" and not isinstance(value, list | tuple)
            ]
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(flat)
    elif out.suffix in (".png", ".svg"):
        from lnsim_gym.rendering.charts import draw_comparison

        draw_comparison(
            out,
            {score.agent: score.objectives for score in scores},
            {score.agent: score.interval for score in scores},
            is_share=all(score.node is None for score in scores),
        )
    else:
        from lnsim_gym.cli.display import score_cells

        header, *lines = score_cells(scores, paid)
        rule = ["---", *("---:" for _ in header[1:])]
        out.write_text("".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *lines)), encoding="utf-8")
    typer.echo(f"written to {out}")
