"""The command that compares agents on equal seeds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lnsim_gym.cli.episodes import environment_spec, written
from lnsim_gym.errors import ConfigError

if TYPE_CHECKING:
    from lnsim_gym.agents.evaluate import Score
    from lnsim_gym.backends.lnd.nodes import Progress

__all__ = ["app", "seed_range"]

app = typer.Typer()


@app.command("eval")
def evaluate(
    agents: Annotated[list[str], typer.Argument(help="Names of agents, or recipe files.")],
    env: Annotated[str, typer.Option("--env", "-e", help="Id of the environment.")] = "LightningNet-v0",
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds A:B, one episode each, B left out.")] = "1000000:1000500",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads that share the networks.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write .json, .csv or .md instead of a table.")
    ] = None,
) -> None:
    """Play agents on the same seeds of a simulated environment and compare them, with 95 % bootstrap intervals.

    Each agent sees the environment and acts on it in the way that its recipe says; the world is the same for all.
    """
    from lnsim_gym.agents import make_agent, view_of  # noqa: PLC0415
    from lnsim_gym.agents.evaluate import evaluate as play  # noqa: PLC0415
    from lnsim_gym.cli._display import shown_progress  # noqa: PLC0415
    from lnsim_gym.config import EnvironmentConfig  # noqa: PLC0415
    from lnsim_gym.episodes import Problem  # noqa: PLC0415

    chosen, spec = seed_range(seeds), environment_spec(env)
    if out is not None:
        _require_writable(out)
    steps = spec.max_episode_steps or 100
    tasks = {name: Problem.of(EnvironmentConfig.of({**spec.kwargs, **view_of(name)})) for name in agents}
    players = {name: make_agent(name, task) for name, task in tasks.items()}
    scores = []
    with shown_progress() as tell:
        for name, agent in players.items():
            scores.append(play(name, agent, chosen, steps, partial(_tell, tell, name, steps), threads))
    _report(scores, out)


def _tell(tell: Progress, name: str, steps: int, done: int) -> None:
    """Report how many steps an agent has done."""
    tell(name, done, steps)


def seed_range(text: str) -> range:
    """Parse A:B."""
    try:
        first, last = (int(part) for part in text.split(":"))
    except ValueError:
        raise ConfigError(f"expected seeds as A:B, two integers, got {text!r}") from None
    if not 0 <= first < last:
        raise ConfigError(f"expected seeds A:B with 0 <= A < B, got {text!r}")
    return range(first, last)


def _require_writable(out: Path) -> None:
    """Refuse a file that could not be written in the end, before the work begins."""
    if out.suffix not in (".json", ".csv", ".md"):
        raise ConfigError(f"expected a file ending in .json, .csv or .md, got {out}")
    with written(out):
        out.touch()


def _report(scores: list[Score], out: Path | None) -> None:
    """Print a table, or write a file of the kind its name says."""
    import msgspec  # noqa: PLC0415

    rows = [msgspec.to_builtins(score) for score in scores]
    if out is None:
        from lnsim_gym.cli._display import print_scores  # noqa: PLC0415

        print_scores(scores)
    elif out.suffix == ".json":
        out.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    elif out.suffix == ".csv":
        import csv  # noqa: PLC0415

        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        from lnsim_gym.cli._display import score_cells  # noqa: PLC0415

        header, *lines = score_cells(scores)
        rule = ["---", *("---:" for _ in header[1:])]
        out.write_text("".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *lines)), encoding="utf-8")
    if out is not None:
        typer.echo(f"written to {out}")
