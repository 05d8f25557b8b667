"""Turning what a configuration says of a topology into a ``Topology``: a name, a file, a table, or the thing itself.

Files are recognised by what is in them, not by their names. What a generator draws lives in ``generators``, the formats
of other programs in ``importers``.
"""

from __future__ import annotations

import gc
import inspect
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from lnsim_gym.errors import ConfigError, TopologyError, did_you_mean
from lnsim_gym.network.generators import GENERATORS
from lnsim_gym.network.importers.channels import ForeignNetwork, Report, announce, build_network
from lnsim_gym.network.importers.cloth import holds_cloth, read_cloth_files
from lnsim_gym.network.importers.documents import decoded, parse_json
from lnsim_gym.network.importers.graphs import is_graph, parse_graphml, read_graph
from lnsim_gym.network.importers.reading import as_utf8, unpacked
from lnsim_gym.network.importers.recognise import READABLE, Document, foreign_network, with_lists
from lnsim_gym.network.presets import PRESETS, preset
from lnsim_gym.network.topology import MAX_FUNDING_SAT, Topology, unconnected_is_fine
from lnsim_gym.paths import expanded
from lnsim_gym.schema import convert

__all__ = ["load_topology", "read_network"]

_NOTES: Final = Report("a topology of this package")
_PIPES: dict[tuple[int, int], tuple[Topology, Report]] = {}
"""What was read from pipes, which give it only once, by device and inode."""


def load_topology(value: Any, cuts: Sequence[str] = ()) -> Topology:
    """Return the topology that a configuration asks for, and warn once of what of a file could not be taken.

    Args:
        value: One of

            - a ``Topology``;
            - the name of a preset (``presets.PRESETS``);
            - a generator called in text, ``"scale_free(nodes = 100, channels = 400, seed = 7)"``;
            - a table with a generator, ``{"generator": "scale_free", "nodes": 100, "channels": 400, "seed": 7}``;
            - a table with ``nodes`` and ``channels`` (``Topology.from_dict``), or what a file of another program holds;
            - a table with ``files``, a list of paths or tables that tell of one network: ``describegraph`` and
              ``lncli listchannels`` of nodes of one's own, or Core Lightning's ``listchannels`` and ``listnodes``;
            - a graph of NetworkX;
            - the path of a file or pipe with any of the above (``READABLE`` names the formats), also one after the
              other, in any encoding, also compressed; or of a folder or zip archive with such
              files or with CLoTH's CSV files.

        cuts: What of it is kept; see ``Topology.cut``.

    Raises:
        TopologyError: There is no such preset, generator or file, the file is malformed, or the network impossible.
            The text names the file and the line or field.
        MissingDependency: A package that reads the file is not installed.
    """
    with unconnected_is_fine(), _collecting_paused():
        topology, report = read_network(value)
        loaded = topology.cut(*cuts)
    if report is not _NOTES:
        announce(str(value) if isinstance(value, (str, Path)) else "the topology", loaded, report)
    elif loaded is not value:
        loaded.warn_if_disconnected()
    return loaded


@contextmanager
def _collecting_paused() -> Iterator[None]:
    """Keep Python from looking for garbage while millions of objects are made, none of which is."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_network(value: Any) -> tuple[Topology, Report]:
    """Return a topology, and what became of the channels where another program wrote it; see ``load_topology``."""
    if isinstance(value, Topology):
        return value, _NOTES
    if isinstance(value, Mapping):
        return _from_documents([with_lists(value)])
    if is_graph(value):
        return build_network(read_graph(value))
    if not isinstance(value, (str, Path)):
        raise TopologyError(
            f"a topology must be a name, a path or a table, got {type(value).__name__}; "
            "a Topology and a graph of NetworkX are taken too"
        )
    call = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", value, re.DOTALL) if isinstance(value, str) else None
    if call and (call[1] in GENERATORS or not _exists(Path(str(value)))):
        return _from_call(call[1], call[2]), _NOTES
    if isinstance(value, str) and value in PRESETS:
        return preset(value), _NOTES
    return _from_path(value)


def _from_documents(documents: Sequence[Document]) -> tuple[Topology, Report]:
    """Build a topology from plain data, by the keys it has."""
    foreign = foreign_network(documents)
    if foreign is not None:
        return build_network(foreign)
    data = {key: decoded(value) for key, value in documents[0].items()}
    if "files" in data:
        return _from_files(data)
    if "generator" in data:
        arguments = {key: value for key, value in data.items() if key != "generator"}
        return _generate(str(data["generator"]), arguments), _NOTES
    if not {"nodes", "channels", "wumbo"} & data.keys():
        raise TopologyError(
            f"the keys {', '.join(list(data)[:10]) or '(none)'} are no network's: readable are {READABLE}"
        )
    return Topology.from_dict({"wumbo": _has_large_channels(data), **data}), _NOTES


def _has_large_channels(data: Mapping[str, Any]) -> bool:
    """Whether a table that does not say so needs large channels to be allowed."""
    channels = data.get("channels")
    listed = channels if isinstance(channels, (list, tuple)) else ()
    capacities = [channel.get("capacity_sat") for channel in listed if isinstance(channel, Mapping)]
    return any(isinstance(sat, int) and sat > MAX_FUNDING_SAT for sat in capacities)


def _from_files(data: Mapping[str, Any]) -> tuple[Topology, Report]:
    """Put together what several files tell of one network."""
    files = data["files"]
    if len(data) > 1 or not isinstance(files, (list, tuple)):
        raise TopologyError("expected a table with nothing but files, a list of the paths that tell of one network")
    documents: list[Document] = []
    for file in files:
        if isinstance(file, Mapping):
            documents.append(with_lists(file))
            continue
        if not isinstance(file, (str, Path)):
            raise TopologyError(f"expected files as paths or tables, got {type(file).__name__}")
        found = _documents(_contents(expanded(file)))
        if isinstance(found, ForeignNetwork):
            raise TopologyError(f"{file}: {found.format} stand alone: give them as the topology itself")
        documents.extend(found)
    return _from_documents(documents)


def _from_call(name: str, arguments: str) -> Topology:
    """Run a generator given as text; arguments are written as in TOML."""
    try:
        return _generate(name, tomllib.loads(f"arguments = {{{arguments}}}")["arguments"])
    except (ValueError, RecursionError) as problem:
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


def _from_path(path: str | Path) -> tuple[Topology, Report]:
    """Read a file, a pipe, or a folder of files."""
    place = expanded(path)
    if not _exists(place):
        raise TopologyError(
            f"unknown topology {str(path)!r}: neither a preset nor a file.{did_you_mean(str(path), PRESETS)} "
            f"Presets: {', '.join(sorted(PRESETS))}. Generators: {', '.join(GENERATORS)}, called as in "
            '"ring(nodes = 5)"'
        )
    try:
        if place.is_file() or place.is_dir():
            return _from_contents(_contents(place))
        if not place.is_fifo():
            raise TopologyError("is neither a file, a folder nor a pipe")
        pipe = (place.stat().st_dev, place.stat().st_ino)
        if pipe not in _PIPES:
            _PIPES[pipe] = _from_contents(_contents(place))
        return _PIPES[pipe]
    except RecursionError:
        raise TopologyError(f"{path}: nested too deeply for a network") from None
    except (ConfigError, OSError, ValueError) as problem:
        raise TopologyError(f"{path}: {problem}") from None


def _exists(place: Path) -> bool:
    """Whether there is a file, whatever text was given for its name."""
    try:
        return place.exists()
    except (OSError, ValueError):
        return False


def _contents(place: Path) -> dict[str, bytes]:
    """Return the text of a file, or of each file of a folder or archive that may belong to a network, as UTF-8."""
    if place.is_dir():
        paths = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
        tables = [path for path in paths if path.suffix == ".csv"]
        others = [path for path in paths if ".json" in path.suffixes]
        files = [(path.name, path.read_bytes()) for path in tables or others]
    else:
        files = [(place.name, place.read_bytes())]
    found = {inner: as_utf8(data) for name, packed in files for inner, data in unpacked(packed, name).items()}
    if files and not any(data.strip() for data in found.values()):
        raise TopologyError(f"holds nothing: readable are {READABLE}")
    return found


def _from_contents(files: Mapping[str, bytes]) -> tuple[Topology, Report]:
    """Build the topology that files hold."""
    found = _documents(files)
    return build_network(found) if isinstance(found, ForeignNetwork) else _from_documents(found)


def _documents(files: Mapping[str, bytes]) -> ForeignNetwork | list[Document]:
    """Return the tables in files, or the network where these hold one in another form."""
    if not files or (len(files) > 1 and holds_cloth(files)):
        return read_cloth_files({name: data.decode() for name, data in files.items()})
    documents: list[Document] = []
    for name, data in files.items():
        begin = data[:1000].lstrip()
        if begin.startswith(b"<"):
            return _from_markup(name, data, begin)
        documents.extend(map(with_lists, _parsed(name, data, begin)))
    return documents


def _from_markup(name: str, data: bytes, begin: bytes) -> ForeignNetwork:
    """Read GraphML, the one form of markup that is a network."""
    if b"<graphml" not in begin:
        what = "a web page" if b"<html" in begin.lower() or b"<!doctype" in begin.lower() else "XML"
        raise TopologyError(f"{name} looks like {what}: readable are {READABLE}")
    return read_graph(parse_graphml(data), "GraphML")


def _parsed(name: str, data: bytes, begin: bytes) -> Iterable[Any]:
    """Parse tables from JSON, when the text begins with a brace, or from TOML."""
    if begin.startswith((b"{", b"[")) and not re.match(rb"\[\[?\s*[A-Za-z_][\w.-]*\s*\]", begin):
        return parse_json(data)
    if re.search(rb"[\x00-\x08\x0e-\x1f]", begin):
        raise TopologyError(f"{name} looks like a binary file: readable are {READABLE}")
    if name.endswith(".csv"):
        raise TopologyError("this looks like one of CLoTH's CSV files: give the folder that holds all three")
    try:
        return [tomllib.loads(data.decode())]
    except tomllib.TOMLDecodeError as problem:
        if name.endswith(".toml"):
            raise
        raise TopologyError(f"{name} looks like text, and is no TOML ({problem}): readable are {READABLE}") from None
