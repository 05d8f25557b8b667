"""Commands that play episodes: run an agent, record a trace, and replay a trace on another backend."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lnsim_gym.cli.options import (
    AgentName,
    BackendChoice,
    BackendOption,
    EnvironmentId,
    LauncherChoice,
    LauncherOption,
    Network,
    PlayerName,
    Seed,
    Settings,
    Steps,
    Topology,
    parse_settings,
)
from lnsim_gym.errors import ConfigError, RecordError

if TYPE_CHECKING:
    import gymnasium as gym
    from gymnasium.envs.registration import EnvSpec

    from lnsim_gym.agents import Agent
    from lnsim_gym.backends.base import Backend
    from lnsim_gym.records import Recorder
    from lnsim_gym.records.trace import Trace

__all__ = ["app", "environment_overrides", "environment_spec", "make_environment", "usual_agent", "writing"]

app = typer.Typer()


class RenderMode(StrEnum):
    """How a run is shown while it goes on."""

    ansi = "ansi"
    human = "human"


@app.command()
def run(
    env: EnvironmentId = "LightningNet-v0",
    backend: BackendOption = None,
    agent: PlayerName = None,
    steps: Steps = 100,
    seed: Seed = 0,
    record: Annotated[Path | None, typer.Option("--record", "-r", help="Folder for CSV and Parquet files.")] = None,
    render: Annotated[
        RenderMode | None, typer.Option("--render", help="Show every step: ansi as text, human in a window.")
    ] = None,
    film: Annotated[
        Path | None, typer.Option("--film", help="Moving picture of all steps to write, .gif or .webp.")
    ] = None,
    launcher: LauncherOption = LauncherChoice.auto,
    network: Network = None,
    topology: Topology = None,
    settings: Settings = None,
) -> None:
    """Let an agent play, and sum up what happened.

    Without options: a hundred steps of LightningNet-v0 on the embedded simulator. With `--backend lnd` the same steps
    are made by real lnd daemons, which are started and removed again, or joined with `--network`. What the simulator
    compiles, it compiles before: the runtime is that of the steps.
    """
    from lnsim_gym.agents import make_agent
    from lnsim_gym.agents.play import play
    from lnsim_gym.cli.display import frame_display, print_statistics, spinner, step_progress
    from lnsim_gym.environment.recording import RecordEpisodes
    from lnsim_gym.records.statistics import RunningStatistics
    from lnsim_gym.rendering import RENDER_FPS
    from lnsim_gym.rendering.film import Film

    agent = agent or usual_agent(env)
    mode = _render_mode(render, film)
    filming = None if film is None else Film(film, RENDER_FPS)
    shown = [] if mode is None else [f'render_mode = "{mode}"']
    environment = make_environment(env, backend, launcher, network, topology, [*(settings or []), *shown], agent)
    try:
        inner: Any = environment.unwrapped
        if inner.config.backend == "simulator":
            _compile(environment, make_agent(agent, inner.problem))
        else:
            with spinner("getting the network ready"):
                environment.reset(seed=seed)
        player = make_agent(agent, inner.problem)
        statistics = RunningStatistics(inner.topology)
        files = [] if record is None else _file_recorders(record, inner)
        recorders: list[Recorder] = [statistics, *files]
        environment = RecordEpisodes(environment, recorders)
        as_text = render is RenderMode.ansi
        display = frame_display(inner.render, RENDER_FPS) if as_text else step_progress(f"{env}, {agent}", steps)
        with display as report:
            earned = 0.0
            for reward, info in play(environment, player, steps, seed):
                earned += reward
                report(info)
                if filming is not None:
                    filming.add(inner.render())
    finally:
        environment.close()
    task = inner.problem.task
    shown_reward = None if task.pays_success_rate else earned
    print_statistics(statistics.statistics(), shown_reward, own_node=task.watched is not None)
    if record is not None:
        typer.echo(f"recorded in {record}")
    if filming is not None:
        with writing(Path(str(film))):
            filming.write()
        typer.echo(f"filmed in {film}")


@app.command()
def record(
    out: Annotated[Path, typer.Option("--out", "-o", help="Trace to write, as JSON Lines.")],
    env: EnvironmentId = "LightningNet-v0",
    backend: BackendOption = None,
    agent: AgentName = "random",
    steps: Steps = 20,
    seed: Seed = 0,
    launcher: LauncherOption = LauncherChoice.auto,
    network: Network = None,
    topology: Topology = None,
    settings: Settings = None,
) -> None:
    """Record a trace: every action, payment, outcome, route and balance, exact enough to be replayed elsewhere."""
    from lnsim_gym.agents import make_agent
    from lnsim_gym.agents.play import play
    from lnsim_gym.cli.display import step_progress
    from lnsim_gym.environment.recording import RecordEpisodes
    from lnsim_gym.records.trace import TraceWriter

    environment = make_environment(env, backend, launcher, network, topology, settings, agent)
    try:
        inner: Any = environment.unwrapped
        config = inner.config
        problem = inner.problem
        problem.require_one_topology("traces")
        player = make_agent(agent, problem)
        with writing(out):
            writer = TraceWriter(
                out, problem.topology, config.payment, backend=config.backend, environment=env, config=inner.settings
            )
        environment = RecordEpisodes(environment, [writer])
        with step_progress(f"{env}, {agent}", steps) as report:
            for _, info in play(environment, player, steps, seed):
                report(info)
    finally:
        environment.close()
    typer.echo(f"{steps} steps recorded in {out}")


@app.command()
def validate(
    trace: Annotated[Path, typer.Argument(help="Trace to replay.")],
    backend: Annotated[
        BackendChoice, typer.Option("--backend", "-b", help="Where to replay it.")
    ] = BackendChoice.simulator,
    launcher: LauncherOption = LauncherChoice.auto,
) -> None:
    """Replay a trace on another backend and report every field that differs; exit status 1 when any does."""
    from lnsim_gym.records.replay import replay, require_replayable
    from lnsim_gym.records.trace import read_trace

    recorded = read_trace(trace)
    steps = sum(len(episode.steps) for episode in recorded.episodes)
    if not steps:
        raise RecordError(f"{trace} holds no step that could be replayed: record it again")
    require_replayable(recorded)
    with _backend_of(recorded, backend, launcher) as other:
        differences = replay(recorded, other)
    for difference in differences:
        typer.echo(str(difference))
    payments = sum(len(step.payments) for episode in recorded.episodes for step in episode.steps)
    typer.echo(
        f"{len(differences)} differences in {payments} payments of {steps} steps, "
        f"recorded on {recorded.header.backend}, replayed on {backend.value}"
    )
    if differences:
        raise typer.Exit(1)


def make_environment(
    env: str,
    backend: BackendChoice | None,
    launcher: LauncherChoice,
    network: str | None,
    topology: str | None,
    settings: list[str] | None,
    agent: str,
) -> gym.Env[Any, Any]:
    """Make the environment that the options of a command ask for, as its agent sees it unless a setting differs."""
    import gymnasium

    overrides = environment_overrides(env, backend, launcher, network, topology, settings, agent)
    return gymnasium.make(environment_spec(env), **overrides)


def environment_overrides(
    env: str,
    backend: BackendChoice | None,
    launcher: LauncherChoice,
    network: str | None,
    topology: str | None,
    settings: list[str] | None,
    agent: str,
) -> dict[str, Any]:
    """Return what the options of a command and the view of its agent change of a registered environment.

    Raises:
        ConfigError: An option is malformed, or about real nodes where the simulator plays.
    """
    from lnsim_gym.agents import view_of

    own = parse_settings(settings)
    task = {**environment_spec(env).kwargs, **own}.get("task", "liquidity")
    overrides = {**view_of(agent, task), **own}
    if backend is not None:
        overrides["backend"] = backend.value
    if topology is not None:
        overrides["topology"] = topology
    lnd = {"launcher": launcher.value} if launcher is not LauncherChoice.auto else {}
    if network is not None:
        lnd["network"] = network
    if lnd:
        if {**environment_spec(env).kwargs, **overrides}.get("backend") != "lnd":
            raise ConfigError("--launcher and --network are about real nodes: add --backend lnd, or leave them out")
        overrides["lnd"] = {**overrides.get("lnd", {}), **lnd}
    limit = overrides.get("max_episode_steps", 1)
    if not isinstance(limit, int) or limit < 1:
        raise ConfigError(f"max_episode_steps must be an integer >= 1, got {limit!r}")
    return overrides


def environment_spec(env: str) -> EnvSpec:
    """Return what is registered under the id of an environment of this package.

    Raises:
        ConfigError: There is none, or it is an environment of another kind.
    """
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    from lnsim_gym.environment.files import environment_files
    from lnsim_gym.environment.single import LightningNetEnv

    module, _, name = env.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(name)
        kind = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    except (gymnasium.error.Error, ImportError) as problem:
        known = ", ".join(file.id for file in environment_files())
        raise ConfigError(f"{problem} Known: {known}") from None
    if not isinstance(kind, type) or not issubclass(kind, LightningNetEnv):
        raise ConfigError(
            f"expected an environment that commands can play, such as LightningNet-v0, got {env!r}, of another kind: "
            "make it in a program of your own"
        )
    return spec


def usual_agent(env: str) -> str:
    """Return the agent that plays an environment unless another is named: a simple rule, or none for an own node.

    Raises:
        ConfigError: There is no such environment.
    """
    return "noop" if environment_spec(env).kwargs.get("task") == "operator" else "targeted"


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turn the refusal of the system to write a file or folder into an error that says so.

    Raises:
        RecordError: It cannot be written.
    """
    try:
        yield
    except OSError as problem:
        raise RecordError(f"cannot write {what} ({problem}): choose another place") from None


def _render_mode(render: RenderMode | None, film: Path | None) -> str | None:
    """Return how an environment must be rendered so that it can be shown or filmed.

    Raises:
        ConfigError: Both are asked for.
    """
    if film is None:
        return None if render is None else render.value
    if render is not None:
        raise ConfigError(f"expected --film or --render, got both: leave --render {render.value} out")
    return "rgb_array"


def _compile(environment: gym.Env[Any, Any], agent: Agent) -> None:
    """Make steps as they are made later, up to a payment that fails, so that what they need is compiled now."""
    from lnsim_gym.agents.play import play
    from lnsim_gym.environment.recording import RecordEpisodes

    for _, info in play(RecordEpisodes(environment, []), agent, 20, seed=0):
        if info["succeeded"] < info["payments"]:
            break


def _file_recorders(folder: Path, network: Any) -> list[Recorder]:
    """Return the recorders that leave files behind."""
    from datetime import datetime

    from lnsim_gym.records.csv import CsvRecorder
    from lnsim_gym.records.parquet import ParquetRecorder

    started = datetime.now()
    public_keys = {node["name"]: node["pubkey"] for node in network.network_record()}
    with writing(folder):
        return [
            ParquetRecorder(folder, network.topology, started=started),
            CsvRecorder(folder, network.topology, public_keys, started=started),
        ]


def _backend_of(trace: Trace, backend: BackendChoice, launcher: LauncherChoice) -> Backend:
    """Return the backend on which a trace is replayed, not open yet."""
    from lnsim_gym.episodes.problem import traffic_of
    from lnsim_gym.tasks.config import EnvironmentConfig

    config = EnvironmentConfig.of(trace.header.config)
    payment_ms = traffic_of(config, trace.topology).payment_ms
    if backend is BackendChoice.simulator:
        from lnsim_gym.backends.simulator import SimulatorBackend

        gossip = config.gossip_options
        return SimulatorBackend(trace.topology, trace.header.payment, payment_ms=payment_ms, gossip=gossip)
    from lnsim_gym.backends.lnd import LndBackend, LndSettings

    settings = LndSettings(launcher=launcher.value)
    return LndBackend(trace.topology, trace.header.payment, settings, payment_ms=payment_ms)
