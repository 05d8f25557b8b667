"""Commands that measure: every figure comes with machine, versions and the command that measured it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lnsim_gym.cli._options import BackendChoice, Json, LauncherChoice, LauncherOption

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["app"]

app = typer.Typer()
bench = typer.Typer(help="Measure the simulator, the environment, a network of real nodes, or the bridge.")
app.add_typer(bench, name="bench")


@bench.command()
def simulator(
    graphs: Annotated[
        list[str] | None, typer.Argument(help="Nodes of the graphs to measure on: 5, 100, 1000, 10000; by default all.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure payments per second of CPU time on one core, and the ratio to a pure-Python engine in the same run.

    The pure-Python engine is part of the tests, so the ratio needs a checkout of the project.
    """
    from lnsim_gym.benchmarks.simulator import GRAPHS, bench  # noqa: PLC0415

    _print(bench(graphs or tuple(GRAPHS), reference=_pure_python_engine(), command=_command()), json)


@bench.command()
def environment(
    num_envs: Annotated[int, typer.Option(min=1, help="Environments of the vector.")] = 1024, json: Json = False
) -> None:
    """Measure steps per second of `gym.make` and `gym.make_vec` on the simulator."""
    from lnsim_gym.benchmarks.environment import bench_environment  # noqa: PLC0415

    _print(bench_environment(num_envs), json)


@bench.command()
def live(
    launcher: Annotated[
        str, typer.Option("--launcher", "-l", help="Who runs the nodes: auto, docker or process.")
    ] = "process",
    topology: Annotated[str, typer.Option("--topology", "-t", help="Preset, generator call or file.")] = "default",
    json: Json = False,
) -> None:
    """Measure a network of real nodes: bring-up, resets, payments per second. Takes about a minute."""
    from lnsim_gym.backends.lnd import LndSettings  # noqa: PLC0415
    from lnsim_gym.benchmarks.live import bench_live  # noqa: PLC0415
    from lnsim_gym.network.load import load_topology  # noqa: PLC0415
    from lnsim_gym.schema import convert  # noqa: PLC0415

    _print(bench_live(load_topology(topology), convert({"launcher": launcher}, LndSettings, "the launcher")), json)


@bench.command()
def bridge(
    backend: Annotated[
        BackendChoice, typer.Option("--backend", "-b", help="Backend that is streamed: simulator or lnd.")
    ] = BackendChoice.simulator,
    launcher: LauncherOption = LauncherChoice.process,
    json: Json = False,
) -> None:
    """Measure the WebSocket bridge: a paced stream to many clients, and a simulator that streams at full speed.

    With `--backend lnd`, how much longer a step on real nodes takes with ten clients than with none, in some minutes.
    """
    from lnsim_gym.benchmarks.bridge import measure_bridge, measure_live  # noqa: PLC0415

    _print(measure_live(launcher.value) if backend == "lnd" else measure_bridge(), json)


def _command() -> str:
    """Return what was typed."""
    return " ".join(["lnsim", *sys.argv[1:]])


def _pure_python_engine() -> Callable[..., Any] | None:
    """Return the tests' pure-Python engine, or None outside a checkout."""
    checkout = Path(__file__).parents[2]
    if not (checkout / "tests" / "oracle").is_dir():
        return None
    sys.path.insert(0, str(checkout))
    try:
        engine: Callable[..., Any] = importlib.import_module("tests.oracle.network").OracleNetwork
    finally:
        sys.path.remove(str(checkout))
    return engine


def _print(report: Any, json: bool) -> None:
    """Print figures as JSON, or as lines of name and value."""
    import msgspec  # noqa: PLC0415

    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
        return
    for name, value in _flat(msgspec.to_builtins(report), ""):
        typer.echo(f"{name}: {value:,.4g}" if isinstance(value, float) and value < 10 else f"{name}: {_text(value)}")


def _text(value: Any) -> str:
    """Return a number with thousands separated, anything else as it is."""
    return f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _flat(data: Any, prefix: str) -> list[tuple[str, Any]]:
    """Flatten nested dictionaries to dotted names."""
    if not isinstance(data, dict):
        return [(prefix, data)]
    return [pair for key, value in data.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else key)]
