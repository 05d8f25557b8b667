"""CLoTH's three CSV files: nodes, channels, and edges, the two directions of each channel with policy and balance.

Columns go by their position, as CLoTH itself reads them; the first line is a header. Units: capacity, balance, base fee
and smallest HTLC are in msat; ``fee_proportional`` in ppm; ``timelock`` in blocks.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.importers.channels import ForeignChannel, ForeignNetwork
from lnsim_gym.network.limits import DEFAULT_FEE_PER_KW, owned_total_sat
from lnsim_gym.network.policies import Policy

__all__ = ["holds_cloth", "read_cloth_files"]

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
_NOT_INPUT: Final = ("_template", "_output")
"""Ends of the names of files that lie beside a network: what CLoTH makes random ones of, and its results."""


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


def holds_cloth(names: Mapping[str, object]) -> bool:
    """Whether files of these names may be a network of CLoTH."""
    return any(name.startswith(stem) and name.endswith(".csv") for name in names for stem in ("nodes", "channels"))


def read_cloth_files(files: Mapping[str, str]) -> ForeignNetwork:
    """Read a network from CLoTH's ``nodes``, ``channels`` and ``edges`` CSV files.

    The names may have a suffix, first of all ``_ln``; templates and outputs beside them are left alone. Nodes are named
    ``n`` and their id. The richer end of a channel is taken for its initiator: commitment fee and anchors, which CLoTH
    does not have, come out of its balance.

    Args:
        files: Text of each file by its name.

    Raises:
        TopologyError: A file or column is missing; the text names the file.
    """
    foreign = ForeignNetwork("CLoTH's CSV files")
    odd_lines: list[str] = []
    network = _Network(
        nodes=_read(files, "nodes", _NODE, odd_lines),
        channels=_read(files, "channels", _CHANNEL, odd_lines),
        edges=_read(files, "edges", _EDGE, odd_lines),
    )
    foreign.aliases.update({str(node): f"n{node}" for node in network.nodes})
    if odd_lines:
        foreign.remarks.append(f"{len(odd_lines):,} lines that cannot be read, the first: {odd_lines[0]}")
    for row in network.channels.values():
        try:
            foreign.add(_channel(row, network))
        except TopologyError as problem:
            foreign.leave_out_malformed(str(problem))
    return foreign


def _find(names: Mapping[str, object], stem: str) -> str:
    """Find the one file that holds the nodes, channels or edges."""
    for exact in (f"{stem}.csv", f"{stem}_ln.csv"):
        if exact in names:
            return exact
    found = sorted(name for name in names if name.startswith(stem) and name.endswith(".csv"))
    inputs = [name for name in found if not name.removesuffix(".csv").endswith(_NOT_INPUT)]
    if len(inputs) != 1:
        raise TopologyError(f"expected one file {stem}.csv of CLoTH, found {', '.join(found) or 'none'}")
    return inputs[0]


def _read(files: Mapping[str, str], stem: str, columns: tuple[str, ...], odd_lines: list[str]) -> dict[int, _Row]:
    """Read a file of integers; of lines that cannot be read, note why."""
    name = _find(files, stem)
    lines = files[name].splitlines()
    header = lines[0] if lines else ""
    separator = max(",;\t", key=header.count)  # spreadsheets write others in some countries
    rows: dict[int, _Row] = {}
    try:
        for row in _rows(csv.reader(lines, delimiter=separator), name, columns, odd_lines):
            if row.values["id"] in rows:
                odd_lines.append(f"{row.where}: the id {row.values['id']} appears twice")
            else:
                rows[row.values["id"]] = row
    except csv.Error as problem:
        raise TopologyError(f"cannot read {name}: {problem}") from None
    return rows


def _rows(lines: Iterator[list[str]], name: str, columns: tuple[str, ...], odd_lines: list[str]) -> Iterator[_Row]:
    """Yield the lines of a file as integers by column."""
    header = next(lines, [])
    # The id columns were called differently over the years; the amounts were not, beyond a unit in brackets.
    amounts = [(place, column) for place, column in enumerate(columns) if not column.endswith("_id")]
    if len(header) < len(columns) or any(not header[place].strip().startswith(column) for place, column in amounts):
        raise TopologyError(f"{name}, line 1: expected the header {','.join(columns)}, got {','.join(header)!r:.200}")
    for number, cells in enumerate(lines, start=2):
        where = f"{name}, line {number}"
        if not any(cells):
            continue
        try:
            if len(cells) < len(columns):
                raise TopologyError(f"{where}: expected {len(columns)} columns, got {len(cells)}")
            yield _Row(where, {column: _integer(cells[place], column, where) for place, column in enumerate(columns)})
        except TopologyError as problem:
            odd_lines.append(str(problem))


def _integer(text: str, column: str, where: str) -> int:
    """Read an integer, also as spreadsheets write large ones."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text.replace(",", "."))
        if number.is_integer():
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise TopologyError(f"{where}: {column} must be an integer, got {text!r:.80}")


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
    capacity_sat = values["capacity"] // 1000
    balances_msat = (edges[0].values["balance"], edges[1].values["balance"])
    if sum(balances_msat) < 1000 * int(owned_total_sat(capacity_sat, DEFAULT_FEE_PER_KW)):
        balances_msat = (-1, -1)  # some of the capacity is nobody's, so that neither number can be trusted
    return ForeignChannel(
        ends=(str(ends[0]), str(ends[1])),
        capacity_sat=capacity_sat,
        policies=(_policy(edges[0].values), _policy(edges[1].values)),
        balances_msat=balances_msat,
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
