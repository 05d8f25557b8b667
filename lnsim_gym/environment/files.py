"""The TOML files of ``envs/``: each registers one environment, and holds the settings in which it differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lnsim_gym.errors import ConfigError
from lnsim_gym.paths import data_folder
from lnsim_gym.schema import read_toml

__all__ = ["EnvironmentFile", "environment_files", "read_environment"]


class EnvironmentFile(msgspec.Struct, frozen=True, kw_only=True):
    """A TOML file of ``envs/``: what Gymnasium is told of an environment, and its settings."""

    id: str
    """Id under which the environment is registered: the name of the file."""
    description: str
    """One sentence for listings."""
    max_episode_steps: int
    """Steps after which an episode is truncated."""
    nondeterministic: bool
    """Whether equal seeds and actions may give different episodes."""
    settings: dict[str, Any]
    """Keyword arguments of the environment, fit for JSON; the environment itself checks them."""


def read_environment(path: Path) -> EnvironmentFile:
    """Read one environment file.

    Raises:
        ConfigError: It is no TOML, or lacks a key; the text names the file.
    """
    try:
        data = read_toml(path, path.name)
        registration = {key: data.pop(key) for key in ("description", "max_episode_steps", "nondeterministic")}
    except KeyError as missing:
        raise ConfigError(f"{path.name}: the key {missing} is missing") from None
    return EnvironmentFile(id=path.stem, settings=data, **registration)


def environment_files() -> tuple[EnvironmentFile, ...]:
    """Read every environment file that ships with the package, in the order of their names."""
    return tuple(read_environment(path) for path in sorted(data_folder("envs").glob("*.toml")))
