"""Which launcher to use: for a new network by name, for one that runs already by its record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from lnsim_gym.backends.lnd.nodes.launchers.base import Launcher
from lnsim_gym.backends.lnd.nodes.posix import require_posix
from lnsim_gym.backends.lnd.nodes.record import NetworkRecord
from lnsim_gym.errors import ConfigError, MissingDependency, did_you_mean

if TYPE_CHECKING:
    from lnsim_gym.backends.lnd.nodes.launchers.attach import AttachLauncher
    from lnsim_gym.backends.lnd.nodes.launchers.docker import DockerLauncher
    from lnsim_gym.backends.lnd.nodes.launchers.process import ProcessLauncher

__all__ = ["LauncherName", "choose_launcher", "connect_launcher"]

LauncherName = Literal["auto", "docker", "process", "attach"]
"""Values of the ``launcher`` setting."""


def choose_launcher(
    kind: LauncherName,
    name: str,
    *,
    detached: bool = False,
    known_names: bool = False,
    attach_file: str | Path | None = None,
    state_folder: str | None = None,
    lnd_flags: tuple[str, ...] = (),
) -> Launcher:
    """Return a launcher that has not started anything yet.

    Args:
        kind: ``"docker"``, ``"process"``, ``"attach"``, or ``"auto"``: Docker if a daemon answers, compose is
            installed, and the images are there or can be had; else processes.
        name: Name of the network, unique on this machine.
        detached: Let the network outlive this process.
        known_names: With Docker, use the well-known container names and ports.
        attach_file: The TOML file of ``"attach"``.
        state_folder: Folder for the folders of networks, instead of the usual ones.
        lnd_flags: Flags of every lnd besides the usual ones; nodes that others run have their own.

    Raises:
        ConfigError: The kind is unknown, or ``attach_file`` is missing.
        MissingDependency: Daemons of our own are asked for on a system that is not POSIX.
    """
    known = get_args(LauncherName)
    if kind not in known:
        raise ConfigError(f"expected a launcher out of {', '.join(known)}, got {kind!r}.{did_you_mean(kind, known)}")
    if kind == "attach":
        if attach_file is None:
            raise ConfigError("expected attach_file, the TOML file of nodes that others run, got none")
        return _attach()(name, attach_file)
    require_posix()
    if kind == "docker" or (kind == "auto" and _docker_is_ready()):
        return _docker()(
            name, detached=detached, known_names=known_names, state_folder=state_folder, lnd_flags=lnd_flags
        )
    return _process()(name, detached=detached, state_folder=state_folder, lnd_flags=lnd_flags)


def connect_launcher(record: NetworkRecord) -> Launcher:
    """Take hold of a network that runs already, or of one that was stopped and kept.

    Raises:
        ConfigError: The record names an unknown launcher.
    """
    launchers: dict[str, Callable[[], type[Launcher]]] = {"docker": _docker, "process": _process, "attach": _attach}
    if record.launcher not in launchers:
        raise ConfigError(f"expected a record of the docker, process or attach launcher, got {record.launcher!r}")
    return launchers[record.launcher]().connect(record)


# Each launcher pulls in libraries of its own, and a network needs one of them.


def _docker() -> type[DockerLauncher]:
    """Import the Docker launcher."""
    from lnsim_gym.backends.lnd.nodes.launchers.docker import DockerLauncher  # noqa: PLC0415

    return DockerLauncher


def _process() -> type[ProcessLauncher]:
    """Import the process launcher."""
    from lnsim_gym.backends.lnd.nodes.launchers.process import ProcessLauncher  # noqa: PLC0415

    return ProcessLauncher


def _attach() -> type[AttachLauncher]:
    """Import the attach launcher."""
    from lnsim_gym.backends.lnd.nodes.launchers.attach import AttachLauncher  # noqa: PLC0415

    return AttachLauncher


def _docker_is_ready() -> bool:
    """Whether a network could be made with Docker here and now."""
    from lnsim_gym.backends.lnd.nodes import images  # noqa: PLC0415
    from lnsim_gym.backends.lnd.nodes.launchers.containers import compose_command  # noqa: PLC0415

    try:
        client = images.connect_docker()
        compose_command()
    except MissingDependency:
        return False
    try:
        return images.obtainable(client, images.choose_images(client))
    finally:
        client.close()
