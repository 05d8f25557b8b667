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

__all__ = ["HasSpec"]


class _Spec(EnvSpec):
    """A spec whose keyword ``topology`` may be anything that environments take."""

    def to_json(self) -> str:
        """Return the spec as JSON, topologies written out.

        Raises:
            ConfigError: A topology was read from a pipe, which nobody can read again.
        """
        topology = _plain(self.kwargs["topology"])
        return EnvSpec.to_json(dataclasses.replace(self, kwargs={**self.kwargs, "topology": topology}))


class HasSpec:
    """Keeps the spec that Gymnasium gives an environment."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """What Gymnasium knows of the environment; None for one that it did not make."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and "topology" in spec.kwargs and not isinstance(spec, _Spec):
            given = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec) if field.init}
            spec = _Spec(**given)
        self._spec = spec


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
    place = Path(source).expanduser()
    if place.exists() and not (place.is_file() or place.is_dir()):
        raise ConfigError(f"the topology was read from the pipe {source}, which cannot be read again: give a file")
    return str(source)
