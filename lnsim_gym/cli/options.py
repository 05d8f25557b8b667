"""Options that several commands share, and the values they may have. No commands live here."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any

import typer

from lnsim_gym.errors import ConfigError

__all__ = [
    "AgentName",
    "PlayerName",
    "BackendChoice",
    "BackendOption",
    "EnvironmentId",
    "Json",
    "LauncherChoice",
    "LauncherOption",
    "Network",
    "Ray",
    "Seed",
    "Settings",
    "Steps",
    "Topology",
    "parse_settings",
    "with_options_of",
]


class BackendChoice(StrEnum):
    """Backend that episodes run on."""

    simulator = "simulator"
    lnd = "lnd"


class LauncherChoice(StrEnum):
    """Launcher of real nodes that are started here."""

    auto = "auto"
    docker = "docker"
    process = "process"


EnvironmentId = Annotated[str, typer.Option("--env", "-e", help="Id of the environment.")]
BackendOption = Annotated[
    BackendChoice | None,
    typer.Option("--backend", "-b", help="simulator or lnd; by default what the environment says."),
]
LauncherOption = Annotated[LauncherChoice, typer.Option("--launcher", "-l", help="Who runs real nodes.")]
Network = Annotated[str | None, typer.Option("--network", "-n", help="Join this network, started by `lnsim up`.")]
Topology = Annotated[str | None, typer.Option("--topology", "-t", help="Preset, generator call or file.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps to do.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the episodes and of the agent.")]
AgentName = Annotated[str, typer.Option("--agent", "-a", help="An agent, a recipe file, or a class as file.py:Class.")]
PlayerName = Annotated[
    str | None,
    typer.Option(
        "--agent",
        "-a",
        help="An agent, a recipe file, or a class as file.py:Class; by default targeted, and noop for one's own node.",
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="A setting of the environment, as KEY=VALUE in TOML.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Let the workers of a Ray cluster do it: HOST:PORT, auto, or local for this machine's."),
]


def parse_settings(settings: list[str] | None) -> dict[str, Any]:
    """Parse KEY=VALUE settings; a value that is no TOML counts as a string.

    Raises:
        ConfigError: One is no such pair.
    """
    parsed: dict[str, Any] = {}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"expected --set KEY=VALUE, got {setting!r}")
        try:
            parsed |= tomllib.loads(setting)
        except (ValueError, RecursionError):
            parsed[key.strip()] = value.strip()
    return parsed


def with_options_of(kind: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of a dataclass as options, in place of its parameter of that class.

    Args:
        kind: The dataclass; its fields are annotated as options are.
    """
    shared = inspect.signature(kind, eval_str=True).parameters

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        (place,) = [name for name, parameter in own.items() if parameter.annotation is kind]

        @wraps(command)
        def run(**given: Any) -> None:
            command(**{place: kind(**{name: given.pop(name) for name in shared})}, **given)

        told = [*(parameter for name, parameter in own.items() if name != place), *shared.values()]
        told.sort(key=lambda parameter: parameter.default is not parameter.empty)
        run.__signature__ = inspect.Signature(told)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in told}
        return run

    return decorated
