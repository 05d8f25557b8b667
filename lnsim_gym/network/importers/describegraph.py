"""LND's ``describegraph``: the public graph as JSON, as ``lncli describegraph`` and the REST interface print it.

Units: ``capacity`` is in sat; ``min_htlc``, ``max_htlc_msat`` and ``fee_base_msat`` in msat; ``fee_rate_milli_msat`` in
ppm. All of them are 64-bit integers written as text. Neither balances nor initiators are public.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.importers.channels import ForeignChannel, build_topology, unique_names
from lnsim_gym.network.keys import stand_in_public_key
from lnsim_gym.network.policies import Policy
from lnsim_gym.network.topology import Topology
from lnsim_gym.schema import convert

__all__ = ["from_describegraph", "to_describegraph"]


class _Node(msgspec.Struct):
    """``lnrpc.LightningNode``, as far as it is used."""

    pub_key: str
    alias: str = ""


class _RoutingPolicy(msgspec.Struct):
    """``lnrpc.RoutingPolicy``, as far as it is used."""

    time_lock_delta: int
    min_htlc: int = 0
    fee_base_msat: int = 0
    fee_rate_milli_msat: int = 0
    disabled: bool = False
    max_htlc_msat: int = 0


class _Edge(msgspec.Struct):
    """``lnrpc.ChannelEdge``, as far as it is used."""

    node1_pub: str
    node2_pub: str
    capacity: int
    node1_policy: _RoutingPolicy | None = None
    node2_policy: _RoutingPolicy | None = None


def from_describegraph(data: Mapping[str, Any], what: str = "the graph") -> Topology:
    """Build a topology from LND's ``describegraph``.

    Nodes are named by their aliases where these are unique, else by their public keys. The graph does not say who
    funded a channel: ``node1``, the end with the smaller public key, is taken for the initiator, and owns everything.
    Inbound fees are ignored.

    Args:
        data: The parsed JSON.
        what: How to call it in the warning.

    Raises:
        TopologyError: A field is missing or of the wrong type, or no channel is usable.
    """
    nodes = [
        convert(node, _Node, f"nodes[{index}]", TopologyError, strict=False)
        for index, node in enumerate(_entries(data, "nodes"))
    ]
    edges = [
        convert(edge, _Edge, f"edges[{index}]", TopologyError, strict=False)
        for index, edge in enumerate(_entries(data, "edges"))
    ]
    aliases = {node.pub_key: node.alias for node in nodes}
    for edge in edges:
        aliases.setdefault(edge.node1_pub, "")
        aliases.setdefault(edge.node2_pub, "")
    channels = [
        ForeignChannel(
            ends=(edge.node1_pub, edge.node2_pub),
            capacity_sat=edge.capacity,
            policies=(_policy(edge.node1_policy), _policy(edge.node2_policy)),
        )
        for edge in edges
    ]
    return build_topology(unique_names(aliases), channels, what)


def to_describegraph(topology: Topology) -> dict[str, Any]:
    """Return a topology in the form of LND's ``describegraph``, initiators as ``node1``.

    Public keys are made up from the names; start balances and commitment fee rates have no place in the format.
    """
    keys = {name: stand_in_public_key(name) for name in topology.nodes}
    edges = [
        {
            "channel_id": str(index),
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
    return {"nodes": [{"pub_key": keys[name], "alias": name} for name in topology.nodes], "edges": edges}


def _entries(data: Mapping[str, Any], key: str) -> list[Any]:
    """Return a list of the graph."""
    entries = data.get(key)
    if not isinstance(entries, list):
        raise TopologyError(f"a graph of LND needs a list under {key!r}, got {type(entries).__name__}")
    return entries


def _policy(policy: _RoutingPolicy | None) -> Policy | None:
    """Convert a policy; a disabled one counts as missing, and a largest HTLC of 0 as not announced."""
    if policy is None or policy.disabled:
        return None
    return Policy(
        fee_base_msat=policy.fee_base_msat,
        fee_rate_ppm=policy.fee_rate_milli_msat,
        time_lock_delta=policy.time_lock_delta,
        min_htlc_msat=policy.min_htlc,
        max_htlc_msat=policy.max_htlc_msat or None,
    )


def _routing_policy(policy: Policy, max_htlc_msat: int) -> dict[str, Any]:
    """Return a policy as LND prints it."""
    return {
        "time_lock_delta": policy.time_lock_delta,
        "min_htlc": str(policy.min_htlc_msat),
        "fee_base_msat": str(policy.fee_base_msat),
        "fee_rate_milli_msat": str(policy.fee_rate_ppm),
        "disabled": False,
        "max_htlc_msat": str(max_htlc_msat),
    }
