"""LND's ``describegraph``: the public graph as JSON, as ``lncli describegraph`` and the REST interface print it.

Units: ``capacity`` is in sat; ``min_htlc``, ``max_htlc_msat`` and the base fees in msat; the fee rates
(``..._milli_msat``) in ppm. All of them are 64-bit integers, written as text by most versions. Neither balances nor
initiators are public; a node's own ``lncli listchannels`` knows both of its own channels (``add_own_channels``).
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from lnsim_gym.network.channel import MAX_FEE_PER_KW, MIN_FEE_PER_KW
from lnsim_gym.network.importers.channels import ForeignChannel, ForeignNetwork, channel_number
from lnsim_gym.network.importers.documents import Document, decode_entries, entries_of
from lnsim_gym.network.keys import public_keys_of
from lnsim_gym.network.limits import DEFAULT_FEE_PER_KW
from lnsim_gym.network.policies import Policy
from lnsim_gym.network.topology import Topology

__all__ = ["add_own_channels", "read_describegraph", "to_describegraph"]

S = TypeVar("S", bound=msgspec.Struct)

_GRAPH: Final = "a graph of LND"


class _Node(msgspec.Struct):
    """``lnrpc.LightningNode``, as far as it is used."""

    pub_key: str = ""
    id: str = ""
    alias: str | None = ""


class _RoutingPolicy(msgspec.Struct):
    """``lnrpc.RoutingPolicy``, as far as it is used."""

    time_lock_delta: int = 0
    min_htlc: int = 0
    fee_base_msat: int = 0
    fee_rate_milli_msat: int = 0
    disabled: bool = False
    max_htlc_msat: int = 0
    inbound_fee_base_msat: int = 0
    inbound_fee_rate_milli_msat: int = 0


class _Edge(msgspec.Struct):
    """``lnrpc.ChannelEdge``, as far as it is used."""

    node1_pub: str
    node2_pub: str
    capacity: int
    node1_policy: _RoutingPolicy | None = None
    node2_policy: _RoutingPolicy | None = None
    channel_id: str | int = ""
    chan_point: str = ""


def _camel(kind: type[S], **others: Any) -> type[S]:
    """Return a struct whose fields are called as protobuf's own JSON calls them."""
    hints = {**typing.get_type_hints(kind), **others}
    fields = [
        (field.name, hints[field.name], *([] if field.default is msgspec.NODEFAULT else [field.default]))
        for field in msgspec.structs.fields(kind)
    ]
    return typing.cast("type[S]", msgspec.defstruct(kind.__name__, fields, rename="camel"))


_CamelNode = _camel(_Node)
_CamelPolicy = _camel(_RoutingPolicy)
_CamelEdge = _camel(_Edge, node1_policy=_CamelPolicy | None, node2_policy=_CamelPolicy | None)


class _OwnChannel(msgspec.Struct):
    """``lnrpc.Channel``, as far as it is used."""

    remote_pubkey: str
    local_balance: int
    remote_balance: int
    chan_id: str | int = ""
    channel_point: str = ""
    initiator: bool | None = None
    fee_per_kw: int = DEFAULT_FEE_PER_KW


def read_describegraph(document: Document) -> ForeignNetwork:
    """Read LND's ``describegraph``.

    The graph does not say who funded a channel: ``node1``, the end with the smaller public key, is taken for the
    initiator.

    Raises:
        TopologyError: It has no list of nodes or edges.
    """
    foreign = ForeignNetwork("LND's describegraph")
    nodes = entries_of(document, "nodes", _GRAPH)
    edges = entries_of(document, "edges", _GRAPH)
    is_camel = bool(edges) and "node1Pub" in (
        bytes(edges[0]).decode(errors="replace") if isinstance(edges[0], msgspec.Raw) else edges[0]
    )
    odd_nodes: list[str] = []
    for node in decode_entries(nodes, _CamelNode if is_camel else _Node, "nodes", odd_nodes.append):
        foreign.aliases[node.pub_key or node.id] = node.alias or ""
    foreign.aliases.pop("", None)
    if odd_nodes:
        foreign.remarks.append(f"{len(odd_nodes):,} nodes that cannot be read, the first: {odd_nodes[0]:.200}")
    for edge in decode_entries(edges, _CamelEdge if is_camel else _Edge, "edges", foreign.leave_out_malformed):
        foreign.add(
            ForeignChannel(
                ends=(edge.node1_pub, edge.node2_pub),
                capacity_sat=edge.capacity,
                policies=(_policy(edge.node1_policy), _policy(edge.node2_policy)),
                chan_id=channel_number(edge.channel_id),
                funding=edge.chan_point,
            )
        )
    return foreign


def add_own_channels(foreign: ForeignNetwork, document: Document) -> None:
    """Set the balances of one node's channels as its ``lncli listchannels`` tells them.

    Channels are known by their ids, else by their funding, else by the two nodes where these share one channel.

    Args:
        foreign: The graph, changed in place.
        document: The parsed JSON.

    Raises:
        TopologyError: There is no list of channels.
    """
    by_id: dict[Any, ForeignChannel] = {}
    by_ends: dict[frozenset[str], list[ForeignChannel]] = {}
    for channel in foreign.channels:
        by_id[channel.chan_id] = by_id[channel.funding] = channel
        by_ends.setdefault(frozenset(channel.ends), []).append(channel)
    by_id.pop(None, None)
    by_id.pop("", None)
    odd: list[str] = []
    unknown: list[_OwnChannel] = []
    own_key = ""
    for own in decode_entries(
        entries_of(document, "channels", "lncli listchannels"), _OwnChannel, "channels", odd.append
    ):
        found = by_id.get(channel_number(own.chan_id)) or by_id.get(own.channel_point)
        if found is None or own.remote_pubkey not in found.ends:
            unknown.append(own)
            continue
        own_key = found.ends[1 - found.ends.index(own.remote_pubkey)]
        _set_balances(found, own)
    for own in list(unknown):
        shared = by_ends.get(frozenset((own_key, own.remote_pubkey)), [])
        if len(shared) == 1 and shared[0].balances_msat is None:
            _set_balances(shared[0], own)
            unknown.remove(own)
    if count := len(unknown) + len(odd):
        foreign.remarks.append(f"{count:,} channels of lncli listchannels that the graph does not have")


def _set_balances(channel: ForeignChannel, own: _OwnChannel) -> None:
    """Set what one end knows of its channel."""
    remote = channel.ends.index(own.remote_pubkey)
    local_msat, remote_msat = 1000 * own.local_balance, 1000 * own.remote_balance
    channel.balances_msat = (remote_msat, local_msat) if remote == 0 else (local_msat, remote_msat)
    if own.initiator is not None:
        channel.initiator = 1 - remote if own.initiator else remote
    channel.fee_per_kw = min(max(own.fee_per_kw, MIN_FEE_PER_KW), MAX_FEE_PER_KW)


def to_describegraph(topology: Topology) -> dict[str, Any]:
    """Return a topology in the form of LND's ``describegraph``, initiators as ``node1``.

    Nodes without a public key get one that is made up from their names; start balances and commitment fee rates have
    no place in the format.
    """
    keys = public_keys_of(topology)
    aliases = topology.aliases or topology.nodes
    edges = [
        {
            "channel_id": str(index if channel.chan_id is None else channel.chan_id),
            "chan_point": f"{index:064x}:0",
            "node1_pub": keys[channel.initiator],
            "node2_pub": keys[channel.peer],
            "capacity": str(channel.capacity_sat),
            "node1_policy": _routing_policy(both.initiator, max_htlc_msat[0]),
            "node2_policy": _routing_policy(both.peer, max_htlc_msat[1]),
        }
        for index, (channel, both, max_htlc_msat) in enumerate(
            zip(
                topology.channels,
                topology.policies,
                topology.arrays.max_htlc_msat.reshape(-1, 2).tolist(),
                strict=True,
            )
        )
    ]
    nodes = [{"pub_key": key, "alias": alias} for key, alias in zip(keys.values(), aliases, strict=True)]
    return {"nodes": nodes, "edges": edges}


def _policy(policy: _RoutingPolicy | None) -> Policy | None:
    """Convert a policy; one without a time lock is none, and a largest HTLC of 0 was not announced."""
    if policy is None or not (policy.time_lock_delta or policy.min_htlc or policy.max_htlc_msat):
        return None
    return Policy(
        fee_base_msat=policy.fee_base_msat,
        fee_rate_ppm=policy.fee_rate_milli_msat,
        time_lock_delta=policy.time_lock_delta,
        min_htlc_msat=policy.min_htlc,
        max_htlc_msat=policy.max_htlc_msat or None,
        inbound_fee_base_msat=policy.inbound_fee_base_msat,
        inbound_fee_rate_ppm=policy.inbound_fee_rate_milli_msat,
        disabled=policy.disabled,
    )


def _routing_policy(policy: Policy, max_htlc_msat: int) -> Mapping[str, Any]:
    """Return a policy as LND prints it."""
    return {
        "time_lock_delta": policy.time_lock_delta,
        "min_htlc": str(policy.min_htlc_msat),
        "fee_base_msat": str(policy.fee_base_msat),
        "fee_rate_milli_msat": str(policy.fee_rate_ppm),
        "disabled": policy.disabled,
        "max_htlc_msat": str(max_htlc_msat),
        "inbound_fee_base_msat": policy.inbound_fee_base_msat,
        "inbound_fee_rate_milli_msat": policy.inbound_fee_rate_ppm,
    }
