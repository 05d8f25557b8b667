"""Commands that measure: every figure comes with machine, versions and the command that measured it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lnsim_gym.cli.options import BackendChoice, Json, LauncherChoice, LauncherOption, Settings, parse_settings

if TYPE_CHECKING:
    from lnsim_gym.benchmarks.comparison import ComparisonFigures

__all__ = ["app"]

app = typer.Typer()
bench = typer.Typer(
    help="Measure the simulator, the environment, real nodes, the bridge, a Ray cluster; compare simulator and nodes."
)
app.add_typer(bench, name="bench")


Against = Annotated[
    Path | None,
    typer.Option("--against", help="Folder of another checkout of this project: measure both by turns and compare."),
]
Rounds = Annotated[int, typer.Option(min=1, help="With --against: how often each of the two is measured.")]


@bench.command()
def simulator(
    graphs: Annotated[
        list[str] | None, typer.Argument(help="Nodes of the graphs to measure on: 5, 100, 1000, 10000; by default all.")
    ] = None,
    against: Against = None,
    rounds: Rounds = 5,
    json: Json = False,
) -> None:
    """Measure payments per second of CPU time on one core."""
    from lnsim_gym.benchmarks.comparison import compare_simulators
    from lnsim_gym.benchmarks.simulator import GRAPHS, bench, require_known

    chosen = graphs or tuple(GRAPHS)
    require_known(chosen)
    if against is None:
        _print(bench(chosen), json)
    else:
        _print_comparison(compare_simulators(against, chosen, rounds), json)


@bench.command()
def environment(
    num_envs: Annotated[int, typer.Option(min=1, help="Environments of the vector.")] = 1024,
    first_step: Annotated[
        bool,
        typer.Option(
            "--first-step",
            help="Also measure the CPU time to the first step in fresh processes, with nothing compiled and with all.",
        ),
    ] = False,
    against: Against = None,
    rounds: Rounds = 5,
    json: Json = False,
) -> None:
    """Measure steps per second of `gym.make` and `gym.make_vec` on the simulator."""
    from lnsim_gym.benchmarks.comparison import compare_environments
    from lnsim_gym.benchmarks.environment import bench_environment

    if against is None:
        _print(bench_environment(num_envs, with_first_step=first_step), json)
    else:
        _print_comparison(compare_environments(against, num_envs, rounds, first_step), json)


@bench.command()
def live(
    launcher: Annotated[
        str, typer.Option("--launcher", "-l", help="Who runs the nodes: auto, docker or process.")
    ] = "process",
    topology: Annotated[str, typer.Option("--topology", "-t", help="Preset, generator call or file.")] = "default",
    against: Against = None,
    rounds: Rounds = 5,
    json: Json = False,
) -> None:
    """Measure a network of real nodes: bring-up, resets, payments per second and where their time goes.

    Takes about a minute.
    """
    from lnsim_gym.benchmarks.comparison import compare_live

    if against is not None:
        _print_comparison(compare_live(against, topology, launcher, rounds), json)
        return
    from lnsim_gym.backends.lnd import LndSettings
    from lnsim_gym.benchmarks.live import bench_live
    from lnsim_gym.network.load import load_topology
    from lnsim_gym.schema import convert

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
    from lnsim_gym.benchmarks.bridge import measure_bridge, measure_live

    _print(measure_live(launcher.value) if backend == "lnd" else measure_bridge(), json)


@bench.command()
def parity(
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of networks and deeds; by default a fresh one.")] = None,
    payments: Annotated[int, typer.Option(min=0, help="Payments in one part to compare.")] = 5_000,
    rebalances: Annotated[int, typer.Option(min=0, help="Circular rebalances to compare.")] = 500,
    in_parts: Annotated[int, typer.Option(min=0, help="Payments in several parts to compare.")] = 500,
    at_once: Annotated[int, typer.Option(min=1, help="Networks that are up at once.")] = 2,
    only: Annotated[
        int | None, typer.Option(min=0, help="Compare only the network of this number, to see a difference again.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to keep every comparison in; named again, it goes on.")
    ] = None,
    launcher: LauncherOption = LauncherChoice.process,
    json: Json = False,
) -> None:
    """Compare the simulator with real lnd nodes on random networks such as the public one, and count what is equal.

    Outcome, reason, attempts, channels of the route, fee and every balance of every payment and rebalance. What differs
    is told, and makes the exit status 1. As much as by default takes half an hour or more.
    """
    import secrets

    import msgspec

    from lnsim_gym.backends.lnd import LndSettings
    from lnsim_gym.benchmarks.parity.run import ParityRun, Wanted, seed_of
    from lnsim_gym.benchmarks.parity.table import figures_of, markdown
    from lnsim_gym.benchmarks.report import system_load
    from lnsim_gym.cli.display import parity_progress
    from lnsim_gym.schema import convert

    load_before = system_load()
    if seed is None and out is not None:
        seed = seed_of(out)
    seed = secrets.randbelow(10**9) if seed is None else seed
    typer.echo(f"seed {seed}", err=True)
    wanted = Wanted(payments=payments, rebalances=rebalances, in_parts=in_parts)
    settings = convert({"launcher": launcher.value}, LndSettings, "the launcher")
    run = ParityRun(seed, wanted, settings, only=only, out=out)
    try:
        with parity_progress(wanted.missing({}), run.done) as tell:
            run.run(at_once, tell)
    finally:  # also when interrupted: what was counted counts
        figures = figures_of(run, load_before)
        as_json = msgspec.json.format(msgspec.json.encode(figures), indent=2).decode()
        typer.echo(as_json if json else markdown(figures))
    if figures.failed:
        raise typer.Exit(1)


@bench.command()
def conservation(
    payments: Annotated[int, typer.Option(min=1, help="Payments to make, at least.")] = 10_000_000,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides everything; by default a fresh one.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that work at a time.")] = 2,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File with a line for each network; named again, it goes on.")
    ] = None,
    json: Json = False,
) -> None:
    """Hold balances to simulated payments on random networks, to the millisatoshi.

    Parallel channels, inbound fees, disabled ends, payments in one part and in several, policies that change with and
    without gossip, rebalances, nodes of one's own, vectors of environments. What is wrong is told, and makes the exit
    status 1; Ctrl-C ends it early.
    """
    import secrets

    from lnsim_gym.benchmarks.conservation.run import ConservationRun
    from lnsim_gym.benchmarks.conservation.trials import Trial
    from lnsim_gym.cli.display import amount_progress

    chosen = secrets.randbits(32) if seed is None else seed
    typer.echo(f"seed {chosen}", err=True)
    run = ConservationRun(chosen, payments, out)
    try:
        with amount_progress("payments", run.payments, payments) as show:

            def told(each: Trial) -> None:
                show(run.payments)
                if each.wrong:
                    typer.echo(f"network {each.number}, {each.kind}: {each.wrong}", err=True)

            run.run(processes, told)
    finally:  # also when interrupted: what was counted counts
        found = run.found()
        _print(found, json)
    if found.wrong:
        raise typer.Exit(1)


@bench.command()
def calibration(
    positions: Annotated[int, typer.Option(min=1, help="Places of the own node in the network.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Episodes at each of them.")] = 4,
    fee_rate: Annotated[int, typer.Option(min=0, help="Fee rate of all channels, in ppm.")] = 200,
    days: Annotated[float, typer.Option(min=7, help="Length of an episode, in days of simulated time.")] = 30.0,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Hold the operator's environment to what operators report of real nodes, under one fixed fee rate.

    Some ten seconds for an episode. What is missed is said with its figure; Ctrl-C ends it.
    """
    from lnsim_gym.benchmarks.calibration import markdown, measure
    from lnsim_gym.cli.display import amount_progress

    with amount_progress("episodes", 0, positions * seeds) as show:
        found = measure(range(positions), range(seeds), fee_rate, days, parse_settings(settings), show)
    if json:
        _print(found, json)
    else:
        typer.echo(markdown(found))


@bench.command()
def corridor(
    places: Annotated[
        int, typer.Option("--places", min=1, help="Places of the own node, a graph and episode each.")
    ] = 6,
    days: Annotated[float, typer.Option(min=1, help="Length of an episode, in days of simulated time.")] = 30.0,
    json: Json = False,
) -> None:
    """Compare the corridor engine with the exact one: income by rule and place, order of rules, speed.

    Half a minute of CPU time for a place. Graphs are those from 500 on, which nothing is trained on.
    """
    from lnsim_gym.benchmarks.corridor import markdown, measure
    from lnsim_gym.cli.display import amount_progress

    with amount_progress("places", 0, places) as show:
        found = measure(places, days, show)
    if json:
        _print(found, json)
    else:
        typer.echo(markdown(found))


@bench.command()
def cluster(
    workers: Annotated[str, typer.Option("--workers", help="Numbers of workers to measure with.")] = "1,2",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 200,
    json: Json = False,
) -> None:
    """Measure an evaluation on Ray clusters of this machine, and model one on more workers."""
    from lnsim_gym.cli.evaluation import require_ray

    require_ray()
    from lnsim_gym.benchmarks.cluster import bench_cluster
    from lnsim_gym.errors import ConfigError

    try:
        counts = [int(count) for count in workers.split(",")]
    except ValueError:
        raise ConfigError(f"expected numbers of workers as 1,2, got {workers!r}") from None
    _print(bench_cluster(counts, episodes), json)


def _print(report: Any, json: bool) -> None:
    """Print figures as JSON, or as lines of name and value."""
    import msgspec

    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
        return
    for name, value in _flat(msgspec.to_builtins(report), ""):
        typer.echo(f"{name}: {value:,.4g}" if isinstance(value, float) and value < 10 else f"{name}: {_text(value)}")


def _print_comparison(report: ComparisonFigures, json: bool) -> None:
    """Print how this code compares to another, as JSON or with a line for each figure."""
    import msgspec

    if json:
        _print(report, json)
        return
    rest = msgspec.to_builtins(report)
    del rest["figures"]
    _print(rest, json)
    for name, each in report.figures.items():
        typer.echo(
            f"{name}: {each.this:,.6g} here, {each.other:,.6g} there, ratio {each.ratio:.3f} "
            f"({each.ratio_low:.3f} .. {each.ratio_high:.3f} over the rounds)"
        )


def _text(value: Any) -> str:
    """Return a number with thousands separated, anything else as it is."""
    return f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _flat(data: Any, prefix: str) -> list[tuple[str, Any]]:
    """Flatten nested dictionaries to dotted names."""
    if not isinstance(data, dict):
        return [(prefix, data)]
    return [pair for key, value in data.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else key)]
