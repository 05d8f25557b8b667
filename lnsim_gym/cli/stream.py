"""Commands of the bridge and the dashboard: stream episodes, watch them, and run Lightning Lens against them."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lnsim_gym.cli.episodes import make_environment, usual_agent
from lnsim_gym.cli.options import (
    BackendOption,
    EnvironmentId,
    LauncherChoice,
    LauncherOption,
    Network,
    PlayerName,
    Seed,
    Settings,
    Topology,
)
from lnsim_gym.errors import ConfigError

if TYPE_CHECKING:
    import gymnasium as gym

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
    options: dict[str, Any] = {"host": host, "port": port, "origins": origin or [], "lens": lens}
    options["token_file"] = None if token_file is None else str(token_file)
    if agent != "bridge" and (deadline or fallback != "noop"):
        raise ConfigError(f"expected --deadline and --fallback with the agent 'bridge' only, got the agent {agent!r}")
    acting = fallback if agent == "bridge" else agent
    make = partial(make_environment, env, backend, launcher, network, topology, settings)
    show = _Show(env, agent, steps, steps_per_second, seed, wait=wait)
    _play(make, acting, options, partial(_agent, deadline_s=deadline, fallback=fallback), show)


@app.command()
def watch(
    recordings: Annotated[
        list[Path] | None, typer.Argument(help="Traces, and folders of Parquet files, to replay on the page.")
    ] = None,
    env: EnvironmentId = "LightningNet-v0",
    backend: BackendOption = None,
    agent: PlayerName = None,
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65_535, help="Port of the page.")] = 6789,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps to do; by default until Ctrl-C.")] = None,
    steps_per_second: Annotated[float, typer.Option(min=0, help="Pace; 0 is full speed.")] = 1.0,
    seed: Seed = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    launcher: LauncherOption = LauncherChoice.auto,
    network: Network = None,
    topology: Topology = None,
    settings: Settings = None,
) -> None:
    """Show episodes on a page in the browser: live, two agents beside each other, or recorded ones.

    The page can pause, step, reset and choose the agent, and suggest by hand what is to be moved, and the fees of
    one's own node, which goes before the agent's own actions. Recordings given here wait on the page, and the live
    episode rests.
    """
    for path in recordings or []:
        if not path.exists():
            raise ConfigError(f"expected a trace or a folder of Parquet files, got {path}: there is no such file")
    make = partial(make_environment, env, backend, launcher, network, topology, settings)
    agent = agent or usual_agent(env)
    show = _Show(env, agent, steps, steps_per_second, seed, recordings=recordings or [], browser=browser)
    _play(make, agent, {"port": port}, _agent_or_hand, show)


@dataclass(frozen=True)
class _Show:
    """What is streamed, and how."""

    env: str
    agent: str
    steps: int | None
    steps_per_second: float
    seed: int
    wait: bool = False
    recordings: Sequence[Path] = ()
    browser: bool = False


def _play(
    make: Callable[[str], gym.Env[Any, Any]],
    acting: str,
    options: dict[str, Any],
    make_player: Callable[[str, StreamEpisodes], Agent],
    show: _Show,
) -> None:
    """Play episodes, stream them and serve the page.

    Args:
        make: Makes the environment as the agent of a name sees it.
        acting: Name of the agent that chooses the actions, besides clients.
        options: Settings of the bridge.
        make_player: Builds the agent of a name on the streamed environment.
        show: What is streamed, and how.
    """
    from lnsim_gym.bridge import StreamEpisodes
    from lnsim_gym.bridge.controls import Controls
    from lnsim_gym.bridge.pace import play_controlled, wait_for_clients
    from lnsim_gym.cli.display import spinner, step_progress
    from lnsim_gym.dashboard import Dashboard

    environment = make(acting)
    dashboard = None
    try:
        environment = StreamEpisodes(environment, **options)
        bridge = environment.bridge
        streamed = environment
        network: Any = environment.unwrapped

        def player(name: str) -> Agent:
            return make_player(name, streamed)

        player(show.agent)
        task = bridge.problem.task
        dashboard = Dashboard(bridge.problem.topology, _comparable(), make, show.recordings, task)
        playable = _playable(show.agent, acting, task.name)
        controls = Controls(show.agent, playable, show.steps_per_second, paused=bool(show.recordings))
        bridge.add_desk(dashboard)
        bridge.take_controls(controls)
        host = bridge.settings.host
        address = f"{f'[{host}]' if ':' in host else host}:{bridge.port}"
        typer.echo(f"streaming {show.env} on ws://{address}, Ctrl-C ends it", err=True)
        if show.browser:
            typer.echo(f"the page is at http://{address}/", err=True)
            webbrowser.open(f"http://{address}/")
        if show.wait:
            with spinner("waiting for a client"):
                wait_for_clients(bridge)
        with step_progress(f"{show.env}, {show.agent}", show.steps) as report:
            for reward, info in play_controlled(environment, bridge, controls, player, show.steps, show.seed):
                dashboard.note(reward, info, network.balances_msat())
                report(info)
    finally:
        if dashboard is not None:
            dashboard.close()
        environment.close()
        if isinstance(environment, StreamEpisodes) and environment.bridge.pusher:
            sent, refused, dropped = environment.bridge.pusher.counts()
            lens = environment.bridge.settings.lens
            typer.echo(f"{lens} took {sent:,} records, refused {refused:,}; {dropped:,} were dropped", err=True)


def _playable(agent: str, acting: str, task: str) -> list[str]:
    """Return the agents that see an environment as the one that acts in it does, and those two."""
    from lnsim_gym.agents import known_agents, view_of

    view = view_of(acting, task)
    return list(dict.fromkeys([agent, "bridge", *(name for name in known_agents() if view_of(name, task) == view)]))


def _comparable() -> list[str]:
    """Return the agents that the page offers for a comparison."""
    from lnsim_gym.agents import known_agents

    return known_agents()


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


def _agent_or_hand(name: str, env: StreamEpisodes) -> Agent:
    """Return the agent of a name, before which goes what clients suggest where that is possible."""
    from lnsim_gym.bridge import BridgeAgent

    try:
        return BridgeAgent(env.bridge.problem, env.bridge, _fallback(name, env))
    except ConfigError:
        return _fallback(name, env)


def _fallback(name: str, env: StreamEpisodes) -> Agent:
    """Return the agent of a name; the one that only does what clients suggest takes no action without them."""
    from lnsim_gym.agents import make_agent

    return make_agent("noop" if name == "bridge" else name, env.bridge.problem)


def _agent(name: str, env: StreamEpisodes, deadline_s: float, fallback: str) -> Agent:
    """Return the agent of a name, or the one that does what clients suggest."""
    from lnsim_gym.agents import make_agent
    from lnsim_gym.bridge import BridgeAgent

    problem = env.bridge.problem
    if name != "bridge":
        return make_agent(name, problem)
    return BridgeAgent(problem, env.bridge, make_agent(fallback, problem), deadline_s)
