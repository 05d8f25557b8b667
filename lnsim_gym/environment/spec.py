"""What Gymnasium knows of an environment that was made, as JSON also where its topology was given as an object."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gymnasium.envs.registration import EnvSpec

from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.network.load import load_topology
from lnsim_gym.paths import expanded
from lnsim_gym.tasks.config import plain_settings

__all__ = ["PlainSpec"]


class _Spec(EnvSpec):
    """A spec whose keyword ``topology`` may be anything that environments take."""

    def to_json(self) -> str:
        """Return the spec as JSON, topologies written out.

        Raises:
            ConfigError: A topology was read from a pipe, which nobody can read again.
        """
        written = {name: _plain(value) for name, value in self.kwargs.items() if name == "topology"}
        return EnvSpec.to_json(dataclasses.replace(self, kwargs=self.kwargs | written))


class PlainSpec:
    """The attribute ``spec`` of an environment: its keywords are kept as plain data, so that ``to_json`` takes them."""

    def __get__(self, env: Any, owner: type | None = None) -> EnvSpec | None:
        """Return the spec, or None for an environment that Gymnasium did not make."""
        return None if env is None else vars(env).get("spec")

    def __set__(self, env: Any, spec: EnvSpec | None) -> None:
        """Keep a spec."""
        if spec is not None and not isinstance(spec, _Spec):
            given = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec) if field.init}
            spec = _Spec(**given | {"kwargs": plain_settings(spec.kwargs)})
        vars(env)["spec"] = spec


def _plain(source: Any) -> Any:
    """Return what is said of a topology as plain data."""
    if isinstance(source, (list, tuple)):
        return [_plain(one) for one in source]
    if isinstance(source, Topology):
        return source.to_dict()
    if isinstance(source, Mapping):
        return dict(source)
    if not isinstance(source, (str, Path)):
        return load_topology(source).to_dict()
    place = expanded(source)
    if place.exists() and not (place.is_file() or place.is_dir()):
        raise ConfigError(f"the topology was read from the pipe {source}, which cannot be read again: give a file")
    return str(source)
