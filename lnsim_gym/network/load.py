"""Turning what a configuration says of a topology into a ``Topology``: a name, a file, a table, or the thing itself.

Files are recognised by what is in them, not by their names. What a generator draws lives in ``generators``.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from lnsim_gym.errors import ConfigError, TopologyError, did_you_mean
from lnsim_gym.network.generators import GENERATORS
from lnsim_gym.network.importers import from_describegraph, from_simln, read_cloth
from lnsim_gym.network.presets import PRESETS, preset
from lnsim_gym.network.topology import Topology
from lnsim_gym.schema import convert

__all__ = ["load_topology"]


def load_topology(value: str | Path | Mapping[str, Any] | Topology) -> Topology:
    """Return the topology that a configuration asks for.

    Args:
        value: One of

            - a ``Topology``, returned as it is;
            - the name of a preset (``presets.PRESETS``);
            - a generator called in text, ``"scale_free(nodes = 100, channels = 400, seed = 7)"``;
            - a table with a generator, ``{"generator": "scale_free", "nodes": 100, "channels": 400, "seed": 7}``;
            - a table with ``nodes`` and ``channels`` (``Topology.from_dict``);
            - the path of a file: TOML or JSON with either table, LND's ``describegraph`` JSON, sim-ln's ``sim_network``
              JSON; or of a folder with CLoTH's three CSV files.

    Raises:
        TopologyError: There is no such preset, generator or file, the file is malformed, or the network impossible.
            The text names the file and the line or field.
    """
    if isinstance(value, Topology):
        return value
    if isinstance(value, Mapping):
        return _from_table(value, "the topology")
    call = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", value, re.DOTALL) if isinstance(value, str) else None
    if call:
        return _from_call(call[1], call[2])
    if isinstance(value, str) and value in PRESETS:
        return preset(value)
    if not isinstance(value, (str, Path)):
        raise TopologyError(f"a topology must be a name, a path or a table, got {type(value).__name__}")
    return _from_path(value)


def _from_table(data: Mapping[str, Any], what: str) -> Topology:
    """Build a topology from plain data, by the keys it has."""
    if "sim_network" in data:
        return from_simln(data, what)
    if "edges" in data:
        return from_describegraph(data, what)
    if "generator" in data:
        arguments = {key: value for key, value in data.items() if key != "generator"}
        return _generate(str(data["generator"]), arguments)
    return Topology.from_dict(data)


def _from_call(name: str, arguments: str) -> Topology:
    """Run a generator given as text; arguments are written as in TOML."""
    try:
        return _generate(name, tomllib.loads(f"arguments = {{{arguments}}}")["arguments"])
    except tomllib.TOMLDecodeError as problem:
        raise TopologyError(
            f"cannot read the arguments of {name}({arguments}): {problem}; write them as in "
            '"scale_free(nodes = 100, channels = 400, seed = 7)"'
        ) from None


def _generate(name: str, arguments: Mapping[str, Any]) -> Topology:
    """Run a generator with checked arguments."""
    if name not in GENERATORS:
        raise TopologyError(
            f"unknown topology generator {name!r}.{did_you_mean(name, GENERATORS)} Known: {', '.join(GENERATORS)}"
        )
    checked = convert(arguments, _arguments_of(name), f"the topology generator {name!r}", TopologyError)
    return GENERATORS[name](**msgspec.structs.asdict(checked))


@cache
def _arguments_of(name: str) -> type[msgspec.Struct]:
    """Return a struct with the parameters of a generator as its fields."""
    hints = typing.get_type_hints(GENERATORS[name])
    fields: list[Any] = [
        (parameter.name, hints[parameter.name])
        if parameter.default is parameter.empty
        else (parameter.name, hints[parameter.name], parameter.default)
        for parameter in inspect.signature(GENERATORS[name]).parameters.values()
    ]
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


def _from_path(path: str | Path) -> Topology:
    """Read a file, or a folder of CLoTH's files."""
    place = Path(path).expanduser()
    if place.is_dir():
        return read_cloth(place)
    if not place.is_file():
        raise TopologyError(
            f"unknown topology {str(path)!r}: neither a preset nor a file.{did_you_mean(str(path), PRESETS)} "
            f"Presets: {', '.join(sorted(PRESETS))}. Generators: {', '.join(GENERATORS)}, called as in "
            '"ring(nodes = 5)"'
        )
    try:
        return _from_table(_parse(place.read_text(encoding="utf-8")), str(path))
    except (ConfigError, OSError, ValueError) as problem:
        raise TopologyError(f"{path}: {problem}") from None


def _parse(text: str) -> Mapping[str, Any]:
    """Parse a table from JSON, when the text begins with a brace, or from TOML."""
    data = json.loads(text) if text.lstrip().startswith(("{", "[")) else tomllib.loads(text)
    if not isinstance(data, dict):
        raise TopologyError(f"expected a table with nodes and channels, got a JSON {type(data).__name__}")
    return data
