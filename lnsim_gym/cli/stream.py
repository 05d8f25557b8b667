"""Commands of the bridge: stream episodes over WebSocket, and run Lightning Lens against them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lnsim_gym.cli.episodes import make_environment
from lnsim_gym.cli.options import (
    BackendOption,
    EnvironmentId,
    LauncherChoice,
    LauncherOption,
    Network,
    Seed,
    Settings,
    Topology,
)
from lnsim_gym.errors import ConfigError

if TYPE_CHECKING:
    from lnsim_gym.agents import Agent
    from lnsim_gym.bridge import StreamEpisodes

__all__ = ["app"]

app = typer.Typer()


@app.command()
def stream(
    env: EnvironmentId = "LightningNet-v0",
    backend: BackendOption = None,
    agent: Annotated[
        str, typer.Option("--agent", "-a", help="Name of an agent or a recipe file, or bridge: what clients suggest.")
    ] = "bridge",
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback it takes a --token-file.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65_535, help="Port to listen on.")] = 6789,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must show; made when missing.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Origin of web pages that may connect, besides this machine's own.")
    ] = None,
    lens: Annotated[
        str | None, typer.Option(help="Also post records to Lightning Lens, as in http://127.0.0.1:5050.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps to do; by default until Ctrl-C.")] = None,
    steps_per_second: Annotated[float, typer.Option(min=0, help="Pace; 0 is full speed.")] = 1.0,
    wait: Annotated[bool, typer.Option("--wait", help="Begin when the first client has connected.")] = False,
    deadline: Annotated[
        float, typer.Option(min=0, help="Lock-step: seconds that each step waits for connected clients to suggest.")
    ] = 0.0,
    fallback: Annotated[str, typer.Option(help="Agent that acts when no suggestion came.")] = "noop",
    seed: Seed = 0,
    launcher: LauncherOption = LauncherChoice.auto,
    network: Network = None,
    topology: Topology = None,
    settings: Settings = None,
) -> None:
    """Play episodes and stream them over WebSocket, to every client that connects.

    With the agent bridge, which is the default, clients also act: each step does the suggestion of highest confidence
    that has come in, and the client is told what became of it.
    """
    from lnsim_gym.bridge import StreamEpisodes
    from lnsim_gym.bridge.pace import play_paced, wait_for_clients
    from lnsim_gym.cli.display import spinner, step_progress

    options: dict[str, Any] = {"host": host, "port": port, "origins": origin or [], "lens": lens}
    options["token_file"] = None if token_file is None else str(token_file)
    if agent != "bridge" and (deadline or fallback != "noop"):
        raise ConfigError(f"expected --deadline and --fallback with the agent 'bridge' only, got the agent {agent!r}")
    acting = fallback if agent == "bridge" else agent
    environment = make_environment(env, backend, launcher, network, topology, settings, acting)
    try:
        environment = StreamEpisodes(environment, **options)
        player = _agent(agent, environment, deadline, fallback)
        shown_host = f"[{host}]" if ":" in host else host
        typer.echo(f"streaming {env} on ws://{shown_host}:{environment.bridge.port}, Ctrl-C ends it", err=True)
        if wait:
            with spinner("waiting for a client"):
                wait_for_clients(environment.bridge)
        with step_progress(f"{env}, {agent}", steps) as report:
            for info in play_paced(environment, player, steps, seed, steps_per_second):
                report(info)
    finally:
        environment.close()
        if isinstance(environment, StreamEpisodes) and environment.bridge.pusher:
            sent, refused, dropped = environment.bridge.pusher.counts()
            typer.echo(f"{lens} took {sent:,} records, refused {refused:,}; {dropped:,} were dropped", err=True)


@app.command()
def lens(
    checkout: Annotated[Path, typer.Argument(help="Clone of Lightning Lens, or of its successor platform.")],
    uri: Annotated[str, typer.Option(help="Address of the bridge.")] = "ws://127.0.0.1:6789",
    python: Annotated[
        str | None, typer.Option(help="Interpreter that has the requirements of Lightning Lens; by default this one.")
    ] = None,
    workdir: Annotated[Path | None, typer.Option(help="Folder for what Lightning Lens writes.")] = None,
) -> None:
    """Run an unmodified checkout of Lightning Lens against the bridge, with the few coercions that it needs."""
    from lnsim_gym.bridge.lens import run_lens

    raise typer.Exit(run_lens(checkout, uri, python, workdir))


def _agent(name: str, env: StreamEpisodes, deadline_s: float, fallback: str) -> Agent:
    """Return the agent of a name, or the one that does what clients suggest."""
    from lnsim_gym.agents import make_agent
    from lnsim_gym.bridge import BridgeAgent

    problem = env.bridge.problem
    if name != "bridge":
        return make_agent(name, problem)
    return BridgeAgent(problem, env.bridge, make_agent(fallback, problem), deadline_s)
