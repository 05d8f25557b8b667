"""Launchers: the ways to run, or to reach, the daemons of a live network."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final

from lnsim_gym.backends.lnd.launchers.base import CHAIN, ChainEndpoint, Launcher, NetworkRecord, NodeEndpoint
from lnsim_gym.errors import ConfigError, did_you_mean

__all__ = ["CHAIN", "ChainEndpoint", "Launcher", "NetworkRecord", "NodeEndpoint", "launcher_class", "resolve_kind"]

_CLASSES: Final = {
    "process": ("lnsim_gym.backends.lnd.launchers.process", "ProcessLauncher"),
    "docker": ("lnsim_gym.backends.lnd.launchers.docker", "DockerLauncher"),
    "attach": ("lnsim_gym.backends.lnd.launchers.attach", "AttachLauncher"),
}


def launcher_class(kind: str) -> Callable[..., Launcher]:
    """Return the launcher of that kind; its module is imported only now, with what it depends on.

    Raises:
        ConfigError: There is no such launcher.
    """
    if kind not in _CLASSES:
        raise ConfigError(
            f"expected a launcher out of {', '.join(_CLASSES)}, got {kind!r}.{did_you_mean(kind, _CLASSES)}"
        )
    module, name = _CLASSES[kind]
    found: type[Launcher] = getattr(import_module(module), name)
    return found


def resolve_kind(kind: str) -> str:
    """Return the launcher that ``"auto"`` stands for here: Docker when its daemon answers, else processes."""
    if kind != "auto":
        return kind
    docker = import_module(_CLASSES["docker"][0])
    return "docker" if docker.is_available() else "process"
