"""Telling formats apart by what is in them, and putting together what several files tell of one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from lnsim_gym.errors import MissingDependency, TopologyError
from lnsim_gym.network.importers.channels import ForeignNetwork
from lnsim_gym.network.importers.core_lightning import add_nodes, add_peer_channels, read_listchannels
from lnsim_gym.network.importers.describegraph import add_own_channels, read_describegraph
from lnsim_gym.network.importers.documents import Document, decoded
from lnsim_gym.network.importers.graphs import read_graph
from lnsim_gym.network.importers.simln import read_simln

__all__ = ["READABLE", "Document", "foreign_network", "with_lists"]

READABLE: Final = (
    "LND's describegraph (with lncli listchannels of own nodes beside it), Core Lightning's listchannels (with "
    "listnodes and an own node's listpeerchannels), sim-ln's sim_network, GraphML, NetworkX graphs, a folder of "
    "CLoTH's CSV files, and TOML or JSON with nodes and channels"
)
_LISTS: Final = ("nodes", "edges", "links", "channels", "sim_network")
_OWN: Final = ("generator", "files")
_OTHERS: Final = {
    "forwarding_events": "lncli fwdinghistory",
    "forwards": "Core Lightning's listforwards",
    "identity_pubkey": "lncli getinfo",
    "num_nodes": "lncli getnetworkinfo",
    "channel_fees": "lncli feereport",
    "pending_open_channels": "lncli pendingchannels",
    "payments": "a list of payments",
    "invoices": "a list of invoices",
    "outputs": "Core Lightning's listfunds",
    "peers": "a list of peers",
}
"""What else people have in files, by a key that tells it."""
_DEEPEST_WRAPPER: Final = 3


def with_lists(document: Any) -> Document:
    """Return a JSON document as the table that holds the network, out of whatever wraps it; lists opened.

    Raises:
        TopologyError: It is no table.
    """
    if isinstance(document, list):
        keys = _keys(document)
        name = "edges" if "node1_pub" in keys else "channels" if "short_channel_id" in keys else None
        if name is None:
            raise TopologyError(f"expected a network, got a JSON list of something else: readable are {READABLE}")
        return {"nodes": [], name: document}
    if not isinstance(document, Mapping):
        raise TopologyError(f"expected a network, got {str(document)[:40]!r}: readable are {READABLE}")
    found: Any = document
    for _ in range(_DEEPEST_WRAPPER):
        if not isinstance(found, Mapping) or any(key in found for key in (*_LISTS, *_OWN)):
            break
        inner = [opened for value in found.values() if isinstance(opened := _opened(value), Mapping)]
        found = next((table for table in inner if any(key in table for key in _LISTS)), inner[0] if inner else None)
    if not isinstance(found, Mapping) or not any(key in found for key in (*_LISTS, *_OWN)):
        found = document
    return {key: _opened(value) if key in _LISTS else value for key, value in found.items()}


def foreign_network(documents: Sequence[Document]) -> ForeignNetwork | None:
    """Read a network that other programs wrote, from one document or from several that belong together.

    Args:
        documents: What ``with_lists`` returned.

    Returns:
        The network; None for one document that may be this package's own table.

    Raises:
        TopologyError: The documents are no network, or several.
    """
    kinds = [_kind(document) for document in documents]
    if kinds == ["table"]:
        return None
    main = [index for index, kind in enumerate(kinds) if kind in _READERS]
    if len(main) != 1:
        told = " and ".join(dict.fromkeys(_TOLD[kind] for kind in kinds))
        advice = _ADVICE.get(kinds[0], "") if not main else "give one network, with what belongs to it"
        raise TopologyError(f"this looks like {told}: {advice or 'no network'}; readable are {READABLE}")
    foreign = _READERS[kinds[main[0]]](documents[main[0]])
    for kind, document in zip(kinds, documents, strict=True):
        if kind == "listnodes":
            add_nodes(foreign, document)
        elif kind == "own channels":
            add_own_channels(foreign, document)
        elif kind == "peer channels":
            add_peer_channels(foreign, document)
        elif kind == "table":
            raise TopologyError(f"{_TOLD[kind]} does not go together with {foreign.format}: leave one of them out")
    return foreign


def _kind(document: Document) -> str:
    """Return what a document is."""
    nodes, channels = _keys(document.get("nodes")), _keys(document.get("channels"))
    edges = _keys(document.get("edges")) | _keys(document.get("links"))
    kind = "table"
    if "sim_network" in document:
        kind = "sim-ln"
    elif {"source", "target"} <= edges:
        kind = "node-link"
    elif "edges" in document:
        kind = "describegraph"
    elif {"source", "destination"} <= channels:
        kind = "listchannels"
    elif "remote_pubkey" in channels:
        kind = "own channels"
    elif "peer_id" in channels:
        kind = "peer channels"
    elif "nodeid" in nodes:
        kind = "listnodes"
    elif "pub_key" in nodes:
        raise TopologyError("this looks like LND's describegraph without its edges: give all of it")
    elif "nodes" not in document and (other := next((_OTHERS[key] for key in _OTHERS if key in document), None)):
        raise TopologyError(f"this looks like {other}, which is no network: readable are {READABLE}")
    return kind


def _keys(entries: Any) -> set[str]:
    """Return the keys of the first table of a list."""
    first = decoded(entries[0]) if isinstance(entries, list) and entries else None
    return set(first) if isinstance(first, Mapping) else set()


def _opened(value: Any) -> Any:
    """Return a value with its own values not decoded, where it is a list or a table."""
    if not isinstance(value, msgspec.Raw):
        return value
    kind: Any = {b"{": dict[str, msgspec.Raw], b"[": list[msgspec.Raw]}.get(bytes(memoryview(value)[:1]))
    return decoded(value) if kind is None else msgspec.json.decode(value, type=kind)


def _read_node_link(document: Document) -> ForeignNetwork:
    """Read what ``networkx.node_link_data`` wrote."""
    try:
        import networkx  # noqa: PLC0415
    except ImportError:
        raise MissingDependency('node-link JSON needs networkx: pip install "lnsim_gym[graphs]"') from None
    edges = "links" if "links" in document else "edges"
    plain = {key: decoded(value) for key, value in document.items()}
    try:
        graph = networkx.node_link_graph({"multigraph": True, **plain}, edges=edges)
    except (networkx.NetworkXError, LookupError, TypeError, ValueError, AttributeError) as problem:
        raise TopologyError(f"malformed node-link JSON of networkx: {problem!s:.200}") from None
    return read_graph(graph, "networkx's node-link JSON")


_READERS: Final = {
    "describegraph": read_describegraph,
    "listchannels": read_listchannels,
    "node-link": _read_node_link,
    "sim-ln": read_simln,
}
_TOLD: Final = {
    "describegraph": "LND's describegraph",
    "listchannels": "Core Lightning's listchannels",
    "listnodes": "Core Lightning's listnodes",
    "node-link": "networkx's node-link JSON",
    "own channels": "lncli listchannels of one node",
    "peer channels": "Core Lightning's listpeerchannels of one node",
    "sim-ln": "sim-ln's sim_network",
    "table": "a table with nodes and channels",
}
_ADVICE: Final = {
    "own channels": "it knows that node's own channels only, give its lncli describegraph beside it",
    "peer channels": "it knows that node's own channels only, give its listchannels beside it",
    "listnodes": "it has no channels, give listchannels beside it",
}
