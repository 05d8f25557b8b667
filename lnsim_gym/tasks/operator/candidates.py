"""Channels that the own node may open, as part of the network: arrays of a network never change their shape."""

from __future__ import annotations

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.limits import max_value_in_flight_msat
from lnsim_gym.tasks.operator.config import CandidateOptions

__all__ = ["with_candidates"]


def with_candidates(topology: Topology, own_node: str, options: CandidateOptions) -> Topology:
    """Return a network with the channels that its own node may open, behind all others.

    Each end has the policy of the node's own channel with its median fee rate, enabled and up to the channel's size.

    Args:
        topology: The network.
        own_node: The own node, by name.
        options: Which channels.

    Raises:
        ConfigError: A peer is no node of the network, or there are too few.
        TopologyError: The capacity is more than the network allows.
    """
    own = topology.node_index.get(own_node)
    if own is None:
        return topology  # which the task refuses, as it has no own node
    peers = _named(topology, own, options) if options.peers else _largest(topology, own, options.count)
    own_policy = _usual_policy(topology, own, options.capacity_sat)
    channels = tuple(
        Channel(
            initiator=own_node,
            peer=topology.nodes[peer],
            capacity_sat=options.capacity_sat,
            policies=ChannelPolicies(initiator=own_policy, peer=_usual_policy(topology, peer, options.capacity_sat)),
        )
        for peer in peers
    )
    filled = tuple(
        msgspec.structs.replace(channel, policies=policies)
        for channel, policies in zip(topology.channels, topology.policies, strict=True)
    )
    return msgspec.structs.replace(topology, channels=(*filled, *channels))


def _named(topology: Topology, own: int, options: CandidateOptions) -> list[int]:
    """Return the peers that are named."""
    peers = []
    for name in options.peers:
        peer = topology.node_index.get(name)
        if peer is None or peer == own:
            raise ConfigError(f"candidates.peers: expected names of other nodes of the network, got {name!r}")
        peers.append(peer)
    return peers


def _largest(topology: Topology, own: int, count: int) -> list[int]:
    """Return the nodes of largest capacity that a node has no channel with."""
    arrays = topology.arrays
    joined = np.union1d(arrays.destination[arrays.source == own], [own])
    by_size: Int64 = np.argsort(-topology.node_capacity_sat, kind="stable")
    free: list[int] = by_size[~np.isin(by_size, joined)][:count].tolist()
    if len(free) < count:
        raise ConfigError(
            f"candidates.count: the own node has no channel with {len(free)} nodes of the network, got {count}: "
            "ask for fewer, or name peers"
        )
    return free


def _usual_policy(topology: Topology, node: int, capacity_sat: int) -> Policy:
    """Return the policy of a node's channel with its median fee rate, for a channel of another size."""
    directions = np.flatnonzero(topology.arrays.source == node)
    rates = topology.arrays.fee_rate_ppm[directions]
    direction = int(directions[np.argsort(rates, kind="stable")[len(rates) // 2]])
    most_msat = int(max_value_in_flight_msat(capacity_sat))
    return msgspec.structs.replace(topology.policy(direction), max_htlc_msat=most_msat, disabled=False)
