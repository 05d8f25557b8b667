"""Commands that run things for long, and look at what grows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lnsim_gym.cli.options import EnvironmentId, Json

if TYPE_CHECKING:
    from lnsim_gym.benchmarks.soak.run import Soak, SoakFigures
    from lnsim_gym.benchmarks.soak.subjects import Subject

__all__ = ["app"]

app = typer.Typer()
soak = typer.Typer(
    help="Run the simulator, a stream or real nodes for long, and tell whether memory, descriptors, threads, rates and "
    "latencies stay as they are."
)
app.add_typer(soak, name="soak")

Minutes = Annotated[float, typer.Option("--minutes", "-m", min=0.01, help="How long.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder for soak.json, and soak.png where matplotlib is there; kept up to date."),
]
_WRITE_EVERY_S: Final = 60.0


@soak.command()
def simulator(
    steps: Annotated[int, typer.Option(min=1, help="Steps of environments.")] = 100_000_000,
    env: EnvironmentId = "LightningNet-v0",
    num_envs: Annotated[int, typer.Option(min=1, help="Environments of the vector.")] = 1024,
    out: Out = None,
    json: Json = False,
) -> None:
    """Step a vector of simulated environments; Ctrl-C ends it early and tells what was measured.

    The exit status is 1 when memory, descriptors or threads of the process grow.
    """
    from lnsim_gym.benchmarks.soak.run import Soak
    from lnsim_gym.benchmarks.soak.subjects import Simulator

    with Simulator(env, num_envs) as subject:
        _run(Soak(subject, steps=steps), subject, out, json)


@soak.command()
def stream(
    minutes: Minutes = 10.0,
    clients: Annotated[int, typer.Option(min=1, max=128, help="Clients, in a process of their own.")] = 10,
    steps_per_second: Annotated[float, typer.Option(min=0, help="Pace; 0 is full speed.")] = 10.0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Stream simulated episodes to clients; Ctrl-C ends it early and tells what was measured.

    The exit status is 1 when memory, descriptors or threads of the streaming process grow, or messages were lost.
    """
    from lnsim_gym.benchmarks.soak.run import Soak
    from lnsim_gym.benchmarks.soak.subjects import Stream

    with Stream(clients, steps_per_second) as subject:
        _run(Soak(subject, seconds=60 * minutes), subject, out, json)


@soak.command()
def live(
    minutes: Minutes = 120.0,
    topology: Annotated[str, typer.Option("--topology", "-t", help="Preset, generator call or file.")] = "default",
    out: Out = None,
    json: Json = False,
) -> None:
    """Play episodes on real nodes of its own, run as processes; Ctrl-C ends it early and tells what was measured.

    The exit status is 1 when memory, descriptors or threads of this process grow, or a network was lost. What the nodes
    take is told beside: lnd keeps every payment.
    """
    from lnsim_gym.benchmarks.soak.run import Soak
    from lnsim_gym.benchmarks.soak.subjects import Live

    with Live(topology) as subject:
        _run(Soak(subject, seconds=60 * minutes), subject, out, json)


def _run(run: Soak, subject: Subject, out: Path | None, json: bool) -> None:
    """Run to the end, write and print what was found."""
    from lnsim_gym.cli.display import print_soak, soak_progress

    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _write(run.found(), out)
    written_s = time.monotonic()
    with soak_progress(run) as show:

        def told(figures: dict[str, float]) -> None:
            nonlocal written_s
            show(figures)
            if out is not None and time.monotonic() - written_s > _WRITE_EVERY_S:
                _write(run.found(), out)
                written_s = time.monotonic()

        run.run(told)
    found = run.found()
    if out is not None:
        _write(found, out)
        _draw(found, out)
    print_soak(found, json)
    if found.grows or subject.lost:
        raise typer.Exit(1)


def _write(found: SoakFigures, out: Path) -> None:
    """Write the figures in the place of those before."""
    import msgspec

    unfinished = out / "soak.json.part"
    unfinished.write_bytes(msgspec.json.encode(found))
    unfinished.replace(out / "soak.json")


def _draw(found: SoakFigures, out: Path) -> None:
    """Draw the figures, where that is possible."""
    from importlib.util import find_spec

    from lnsim_gym.cli.display import trend_text

    if find_spec("matplotlib") is None or not found.elapsed_s:
        return
    from lnsim_gym.rendering.charts import draw_series

    notes = {name: trend_text(trend) for name, trend in found.trends.items()}
    title = f"{found.subject}, {found.steps:,} steps in {found.seconds / 60:,.1f} minutes"
    draw_series(out / "soak.png", title, found.elapsed_s, found.samples, notes)
