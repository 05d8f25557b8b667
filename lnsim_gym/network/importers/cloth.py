"""CLoTH's three CSV files: nodes, channels, and edges, the two directions of each channel with policy and balance.

Columns go by their position, as CLoTH itself reads them; the first line is a header. Units: capacity, balance, base fee
and smallest HTLC are in msat; ``fee_proportional`` in ppm; ``timelock`` in blocks.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.importers.channels import ForeignChannel, build_topology
from lnsim_gym.network.policies import Policy
from lnsim_gym.network.topology import Topology

__all__ = ["read_cloth"]

_NODE: Final = ("id",)
_CHANNEL: Final = ("id", "edge1_id", "edge2_id", "node1_id", "node2_id", "capacity")
_EDGE: Final = (
    "id",
    "channel_id",
    "counter_edge_id",
    "from_node_id",
    "to_node_id",
    "balance",
    "fee_base",
    "fee_proportional",
    "min_htlc",
    "timelock",
)


class _Row(NamedTuple):
    """One line of a file."""

    where: str
    """File and line, for messages."""
    values: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Network:
    """The three files, by id."""

    nodes: dict[int, _Row]
    channels: dict[int, _Row]
    edges: dict[int, _Row]


def read_cloth(folder: Path) -> Topology:
    """Read a network from a folder with CLoTH's ``nodes``, ``channels`` and ``edges`` CSV files.

    The names may have a suffix (``nodes_ln.csv``). Nodes are named ``n`` and their id. The richer end of a channel is
    taken for its initiator: commitment fee and anchors, which CLoTH does not have, come out of its balance.

    Args:
        folder: Where the files lie.

    Raises:
        TopologyError: A file or column is missing, a line malformed, or no channel usable; the text names file and
            line.
    """
    network = _Network(
        nodes=_read(_find(folder, "nodes"), _NODE),
        channels=_read(_find(folder, "channels"), _CHANNEL),
        edges=_read(_find(folder, "edges"), _EDGE),
    )
    channels = [_channel(row, network) for row in network.channels.values()]
    return build_topology({str(node): f"n{node}" for node in network.nodes}, channels, str(folder))


def _find(folder: Path, stem: str) -> Path:
    """Find the one file that holds the nodes, channels or edges."""
    exact = folder / f"{stem}.csv"
    found = [exact] if exact.is_file() else sorted(folder.glob(f"{stem}*.csv"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise TopologyError(f"{folder}: expected one file {stem}.csv of CLoTH, found {names}")
    return found[0]


def _read(path: Path, columns: tuple[str, ...]) -> dict[int, _Row]:
    """Read a file of integers."""
    rows: dict[int, _Row] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in _rows(csv.reader(file), path.name, columns):
                if row.values["id"] in rows:
                    raise TopologyError(f"{row.where}: the id {row.values['id']} appears twice")
                rows[row.values["id"]] = row
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise TopologyError(f"cannot read {path}: {problem}") from None
    return rows


def _rows(lines: Iterator[list[str]], name: str, columns: tuple[str, ...]) -> Iterator[_Row]:
    """Yield the lines of a file as integers by column."""
    header = next(lines, [])
    # The id columns were called differently over the years; the amounts were not, beyond a unit in brackets.
    amounts = [(place, column) for place, column in enumerate(columns) if not column.endswith("_id")]
    if len(header) < len(columns) or any(not header[place].strip().startswith(column) for place, column in amounts):
        raise TopologyError(f"{name}, line 1: expected the header {','.join(columns)}, got {','.join(header)!r}")
    for number, cells in enumerate(lines, start=2):
        where = f"{name}, line {number}"
        if not cells:
            continue
        if len(cells) < len(columns):
            raise TopologyError(f"{where}: expected {len(columns)} columns, got {len(cells)}")
        yield _Row(where, {column: _integer(cells[place], column, where) for place, column in enumerate(columns)})


def _integer(text: str, column: str, where: str) -> int:
    """Read an integer."""
    try:
        return int(text)
    except ValueError:
        raise TopologyError(f"{where}: {column} must be an integer, got {text!r}") from None


def _channel(row: _Row, network: _Network) -> ForeignChannel:
    """Join a channel with its two edges."""
    values = row.values
    ends = (values["node1_id"], values["node2_id"])
    for node in ends:
        if node not in network.nodes:
            raise TopologyError(f"{row.where}: there is no node {node}")
    edges = (
        _edge(values["edge1_id"], ends, row, network),
        _edge(values["edge2_id"], (ends[1], ends[0]), row, network),
    )
    return ForeignChannel(
        ends=(str(ends[0]), str(ends[1])),
        capacity_sat=values["capacity"] // 1000,
        policies=(_policy(edges[0].values), _policy(edges[1].values)),
        balances_msat=(edges[0].values["balance"], edges[1].values["balance"]),
    )


def _edge(edge_id: int, ends: tuple[int, int], channel: _Row, network: _Network) -> _Row:
    """Return an edge of a channel, once it joins the right nodes."""
    if edge_id not in network.edges:
        raise TopologyError(f"{channel.where}: there is no edge {edge_id}")
    edge = network.edges[edge_id]
    given = (edge.values["from_node_id"], edge.values["to_node_id"])
    if given != ends:
        raise TopologyError(
            f"{edge.where}: edge {edge_id} should lead from node {ends[0]} to node {ends[1]}, as {channel.where} says; "
            f"it leads from {given[0]} to {given[1]}"
        )
    return edge


def _policy(edge: dict[str, int]) -> Policy:
    """Convert the policy of an edge."""
    return Policy(
        fee_base_msat=edge["fee_base"],
        fee_rate_ppm=edge["fee_proportional"],
        time_lock_delta=edge["timelock"],
        min_htlc_msat=edge["min_htlc"],
    )
