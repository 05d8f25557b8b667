"""Reading networks that other programs wrote: LND, Core Lightning, CLoTH, sim-ln, and what networkx reads.

Each module knows one format and its units; ``channels`` turns what they read into a ``Topology``, ``reading`` unpacks
files, and ``recognise`` tells the formats apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.importers.channels import ForeignNetwork, announce, build_network
from lnsim_gym.network.importers.cloth import read_cloth_files
from lnsim_gym.network.importers.core_lightning import read_listchannels
from lnsim_gym.network.importers.describegraph import read_describegraph, to_describegraph
from lnsim_gym.network.importers.graphs import read_graph
from lnsim_gym.network.importers.reading import as_utf8
from lnsim_gym.network.importers.simln import read_simln
from lnsim_gym.network.topology import Topology

__all__ = [
    "from_describegraph",
    "from_graph",
    "from_listchannels",
    "from_simln",
    "read_cloth",
    "to_describegraph",
]


def from_describegraph(data: Mapping[str, Any], what: str = "the graph") -> Topology:
    """Build a topology from LND's ``describegraph``; see ``describegraph.read_describegraph``.

    Args:
        data: The parsed JSON.
        what: How to call it in the warning.

    Raises:
        TopologyError: No channel is usable.
    """
    return _built(read_describegraph(data), what)


def from_listchannels(data: Mapping[str, Any], what: str = "the channels") -> Topology:
    """Build a topology from Core Lightning's ``listchannels``; see ``core_lightning.read_listchannels``.

    Args:
        data: The parsed JSON.
        what: How to call it in the warning.

    Raises:
        TopologyError: No channel is usable.
    """
    return _built(read_listchannels(data), what)


def from_simln(data: Mapping[str, Any], what: str = "the sim-ln network") -> Topology:
    """Build a topology from a sim-ln configuration with a ``sim_network``; see ``simln.read_simln``.

    Args:
        data: The parsed JSON.
        what: How to call it in the warning.

    Raises:
        TopologyError: No channel is usable.
    """
    return _built(read_simln(data), what)


def from_graph(graph: Any, what: str = "the graph") -> Topology:
    """Build a topology from a graph of NetworkX; see ``graphs``.

    Args:
        graph: The graph.
        what: How to call it in the warning.

    Raises:
        TopologyError: No channel is usable.
    """
    return _built(read_graph(graph), what)


def read_cloth(folder: Path) -> Topology:
    """Read a network from a folder with CLoTH's CSV files; see ``cloth.read_cloth_files``.

    Args:
        folder: Where the files lie.

    Raises:
        TopologyError: A file or column is missing, or no channel usable; the text names the file.
    """
    try:
        texts = {path.name: as_utf8(path.read_bytes()).decode() for path in sorted(folder.glob("*.csv"))}
        return _built(read_cloth_files(texts), str(folder))
    except (OSError, TopologyError) as problem:
        raise TopologyError(f"{folder}: {problem}") from None


def _built(foreign: ForeignNetwork, what: str) -> Topology:
    """Build a topology, and warn once of what was lost."""
    topology, report = build_network(foreign)
    announce(what, topology, report)
    return topology
