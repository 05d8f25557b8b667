"""GraphML files and NetworkX graphs: networkx reads them, this finds the channels in them.

Every program calls its attributes otherwise; ``_NAMES`` holds the names that are known, with their units. An edge of a
directed graph is one direction of a channel, with the policy of the node it leads from; edges are joined to channels by
their channel ids, else by their two nodes. An edge of an undirected graph is a channel, and its policy that of both
ends, unless it has a ``node1_policy`` and a ``node2_policy``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lnsim_gym.errors import MissingDependency, TopologyError
from lnsim_gym.network.importers.channels import ForeignChannel, ForeignNetwork, channel_number
from lnsim_gym.network.policies import Policy

__all__ = ["is_graph", "parse_graphml", "read_graph"]

Attributes = Mapping[str, Any]

PLAIN_CAPACITY_SAT: Final = 1_000_000
"""Capacity of every channel of a graph that has no capacities at all."""
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "capacity_sat": ("capacity", "capacity_sat", "satoshis", "cap"),
    "capacity_msat": ("capacity_msat", "amount_msat"),
    "fee_base_msat": ("fee_base_msat", "base_fee_msat", "base_fee_millisatoshi", "fee_base", "base_fee"),
    "fee_rate_ppm": (
        *("fee_rate_milli_msat", "fee_rate_ppm", "fee_proportional_millionths", "fee_per_millionth"),
        *("fee_proportional", "fee_rate", "ppm"),
    ),
    "time_lock_delta": ("time_lock_delta", "cltv_expiry_delta", "cltv_delta", "delay", "timelock"),
    "min_htlc_msat": ("min_htlc_msat", "min_htlc", "htlc_minimum_msat"),
    "max_htlc_msat": ("max_htlc_msat", "max_htlc", "htlc_maximum_msat"),
    "inbound_fee_base_msat": ("inbound_fee_base_msat",),
    "inbound_fee_rate_ppm": ("inbound_fee_rate_milli_msat", "inbound_fee_rate_ppm"),
    "chan_id": ("channel_id", "chan_id", "short_channel_id", "scid", "id"),
    "balance_msat": ("balance_msat",),
    "balance_sat": ("balance_sat", "balance"),
    "alias": ("alias", "name", "label"),
}
_CAPACITY: Final = ("capacity_sat", "capacity_msat")
_POLICY: Final[tuple[str, ...]] = (
    *("fee_base_msat", "fee_rate_ppm", "time_lock_delta", "min_htlc_msat", "max_htlc_msat"),
    *("inbound_fee_base_msat", "inbound_fee_rate_ppm"),
)


def is_graph(value: object) -> bool:
    """Whether a value is a graph of NetworkX, whose import is not needed to tell."""
    return all(hasattr(value, name) for name in ("is_directed", "is_multigraph", "edges", "nodes", "adj"))


def parse_graphml(data: bytes) -> Any:
    """Return the graph of a GraphML file.

    Raises:
        MissingDependency: networkx is not installed.
        TopologyError: It is malformed.
    """
    try:
        import networkx  # noqa: PLC0415
    except ImportError:
        raise MissingDependency('GraphML needs networkx: pip install "lnsim_gym[graphs]"') from None
    try:
        return networkx.read_graphml(io.BytesIO(data), force_multigraph=True)
    except (SyntaxError, networkx.NetworkXError, LookupError, ValueError, TypeError, AttributeError) as problem:
        raise TopologyError(f"malformed GraphML: {problem!s:.200}") from None


def read_graph(graph: Any, format_name: str = "a NetworkX graph") -> ForeignNetwork:
    """Read a graph of NetworkX.

    Args:
        graph: ``Graph``, ``DiGraph`` or one of their multigraphs.
        format_name: How to call it.
    """
    foreign = ForeignNetwork(format_name)
    for node, attributes in graph.nodes(data=True):
        alias = _attribute(attributes, "alias")
        foreign.aliases[str(node)] = "" if alias is None else str(alias)
    pairs = _directed(graph) if graph.is_directed() else [_undirected(*edge) for edge in graph.edges(data=True)]
    has_policies = any(_has_policy(policy) for pair in pairs for policy in (pair.there, pair.back))
    has_capacities = any(_capacity_sat(pair) is not None for pair in pairs)
    if pairs and not has_capacities:
        foreign.remarks.append(f"without capacities: {PLAIN_CAPACITY_SAT:,} sat each")
    elif not any(_attribute(pair.channel, name) is not None for pair in pairs for name in _CAPACITY):
        foreign.remarks.append("without capacities: the largest HTLCs stand in for them")
    for pair in pairs:
        try:
            foreign.add(_channel(pair, has_policies=has_policies, has_capacities=has_capacities))
        except (TypeError, ValueError, OverflowError) as problem:
            foreign.leave_out_malformed(f"the edge {pair.ends[0]:.66}-{pair.ends[1]:.66}: {problem!s:.100}")
    return foreign


class _Pair(NamedTuple):
    """The two directions of a channel, as attributes by name."""

    ends: tuple[str, str]
    channel: Attributes
    """What both directions share."""
    there: Attributes | None
    """Policy of the first end."""
    back: Attributes | None
    """Policy of the second end."""
    balances: bool = False
    """Whether ``there`` and ``back`` tell what each end holds."""


def _undirected(source: Any, destination: Any, attributes: Attributes) -> _Pair:
    """Return the channel of an undirected edge."""
    ends = (str(source), str(destination))
    if "node1_policy" in attributes or "node2_policy" in attributes:
        if "node1_pub" in attributes and "node2_pub" in attributes:  # which of the two the edge begins with is chance
            ends = (str(attributes["node1_pub"]), str(attributes["node2_pub"]))
        return _Pair(ends, attributes, attributes.get("node1_policy"), attributes.get("node2_policy"))
    return _Pair(ends, attributes, attributes, attributes)


def _directed(graph: Any) -> list[_Pair]:
    """Join the edges of a directed graph: each direction of a channel with the other one, where there is one."""
    pairs: list[_Pair] = []
    waiting: dict[tuple[str, str, str], list[int]] = {}
    for one, other, attributes in graph.edges(data=True):
        source, destination = str(one), str(other)
        number = _number(attributes)
        if partners := waiting.get((number, destination, source)):
            place = partners.pop(0)
            pairs[place] = pairs[place]._replace(back=attributes, balances=True)
        else:
            waiting.setdefault((number, source, destination), []).append(len(pairs))
            pairs.append(_Pair((source, destination), attributes, attributes, None))
    return pairs


def _channel(pair: _Pair, *, has_policies: bool, has_capacities: bool) -> ForeignChannel:
    """Convert the two directions of a channel."""
    capacity_sat = _capacity_sat(pair) if has_capacities else PLAIN_CAPACITY_SAT
    return ForeignChannel(
        ends=pair.ends,
        capacity_sat=0 if capacity_sat is None else capacity_sat,
        policies=(_policy(pair.there), _policy(pair.back)) if has_policies else None,
        balances_msat=_balances_msat(pair),
        chan_id=channel_number(_number(pair.channel)),
    )


def _attribute(attributes: Attributes, what: str) -> Any:
    """Return an attribute by any of the names it is known by, None when there is none."""
    return next((attributes[name] for name in _NAMES[what] if attributes.get(name) is not None), None)


def _number(attributes: Attributes) -> str:
    """Return the channel id of an edge; some programs mark the direction behind it, as in 700000x1x0/1."""
    number = _attribute(attributes, "chan_id")
    return "" if number is None else str(number).partition("/")[0]


def _capacity_sat(pair: _Pair) -> int | None:
    """Return the capacity of a channel, for which its largest HTLC stands in where it has none."""
    every = [attributes for attributes in (pair.channel, pair.there, pair.back) if attributes]
    for what, unit in (("capacity_sat", 1), ("capacity_msat", 1000), ("max_htlc_msat", 1000)):
        found = [_integer(value) // unit for of in every if (value := _attribute(of, what)) is not None]
        if found:
            return max(found)
    return None


def _balances_msat(pair: _Pair) -> tuple[int, int] | None:
    """Return what each end holds, where both directions tell it."""
    if not (pair.balances and pair.there and pair.back):
        return None
    for what, unit in (("balance_msat", 1), ("balance_sat", 1000)):
        own, other = (_attribute(attributes, what) for attributes in (pair.there, pair.back))
        if own is not None and other is not None:
            return unit * _integer(own), unit * _integer(other)
    return None


def _has_policy(attributes: Attributes | None) -> bool:
    """Whether attributes tell a fee or a time lock."""
    return bool(attributes) and any(_attribute(attributes or {}, what) is not None for what in _POLICY[:3])


def _policy(attributes: Attributes | None) -> Policy | None:
    """Convert a policy; what it does not tell is as by default."""
    if attributes is None or not _has_policy(attributes):
        return None
    found = {what: _attribute(attributes, what) for what in _POLICY}
    numbers = {what: _integer(value) for what, value in found.items() if value is not None}
    disabled = str(attributes.get("disabled", False)).lower() in {"1", "true"} or (
        str(attributes.get("active", True)).lower() in {"0", "false"}
    )
    return Policy(**numbers, disabled=disabled)


def _integer(value: Any) -> int:
    """Read an integer; attributes of GraphML may be text or floating-point numbers.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str):
        value = value.removesuffix("msat")
        value = int(value) if value.lstrip("-").isdecimal() else float(value)
    try:
        number = int(value)
    except (TypeError, OverflowError):
        raise ValueError(f"expected an integer, got {value!r:.100}") from None
    if value != number:
        raise ValueError(f"expected an integer, got {value!r}")
    return number
