"""Routing policies: set at the nodes that forward, and known to every node that must find a route."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Final

from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient, RpcRefused
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2, router_pb2
from lnsim_gym.backends.lnd.rpc.thread import gather
from lnsim_gym.errors import BackendError, BackendTimeout, ConfigError
from lnsim_gym.network import Policy, Topology

__all__ = ["Repeater", "announce_policies", "change_policies", "policy_faults"]

_POLL_S: Final = 0.03
_AGAIN_S: Final = 5.0
"""Time after which a policy that some node still lacks is announced again, in seconds."""
PolicyKey = tuple[int, ...]
"""The fields of a policy, in the order of ``Policy``."""
Until = Callable[[str, str, Callable[[], Awaitable[str]]], Coroutine[Any, Any, None]]


class Repeater:
    """Has policies announced again that a node still lacks after some time: now and then gossip loses one for good.

    Args:
        network: The network.
    """

    def __init__(self, network: LiveNetwork) -> None:
        self._network = network
        self._due_s = time.monotonic() + _AGAIN_S

    async def missed(self, directions: Iterable[int]) -> None:
        """Announce directions again unless that was done lately, where their own nodes know both policies already."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + _AGAIN_S
        for direction in directions:
            known = await _known(self._network.clients[int(self._network.topology.arrays.source[direction])])
            if {_key(self._network, direction), _key(self._network, direction ^ 1)} <= known.keys():
                await _update(self._network, direction)


async def announce_policies(network: LiveNetwork, until: Until, repeater: Repeater) -> None:
    """Set the policy of every direction whose own node has another one.

    Args:
        network: The network.
        repeater: Helps where a node hears nothing of an edge.
        until: Waits, on behalf of a node and for a purpose, until a check finds nothing missing.
    """
    # An lnd that gets a policy for an edge which its graph does not have in full yet may stop answering for good,
    # and one that hears a new policy of an edge before it knows the edge may never take it in.
    await gather(
        until(client.name, "all edges", partial(_edge_faults, network, client, repeater)) for client in network.clients
    )
    known = await gather(_known(client) for client in network.clients)
    arrays = network.topology.arrays
    source = arrays.source.tolist()

    async def announce(direction: int) -> None:
        client = network.clients[source[direction]]
        before = known[source[direction]].get(_key(network, direction), ())
        wanted = _wanted(network, direction)
        what = f"it to accept the policy of {network.describe(direction // 2)}"
        if before[:-1] != wanted[:-1]:
            await until(client.name, what, lambda: _update(network, direction))
        # Said again to a node that says so already: one that was restarted would enable the direction by itself.
        if arrays.disabled[direction] or before[-1:] != wanted[-1:]:
            await until(client.name, what, lambda: _switch(network, direction))

    await gather(announce(direction) for direction in range(len(source)))


async def change_policies(
    network: LiveNetwork, topology: Topology, directions: Sequence[int], timeout_s: float
) -> None:
    """Give some directions of a ready network the policies of a topology, and wait until every node knows them.

    Args:
        network: The network; it gets the topology.
        topology: One of the same channels.
        directions: Direction indices.
        timeout_s: Longest wait in seconds for the nodes to hear of them.

    Raises:
        BackendError: LND refused.
        BackendTimeout: A node did not hear of them in time, or hangs.
        BackendLost: A node is gone.
    """
    were_disabled = network.topology.arrays.disabled
    network.topology = topology
    source = topology.arrays.source.tolist()

    async def change(direction: int) -> str:
        refused = await _update(network, direction)
        if not refused and were_disabled[direction] != topology.arrays.disabled[direction]:
            refused = await _switch(network, direction)
        return refused

    for direction, refused in zip(directions, await gather(map(change, directions)), strict=True):
        if refused:
            raise BackendError(
                f"expected {network.clients[source[direction]].name} to accept the policy of "
                f"{network.describe(direction // 2)}, LND refused: {refused}; reset the network"
            )
    deadline = time.monotonic() + timeout_s
    repeater = Repeater(network)
    await gather(_hear(network, client, directions, deadline, repeater) for client in network.clients)


async def _hear(
    network: LiveNetwork, client: NodeClient, directions: Sequence[int], deadline: float, repeater: Repeater
) -> None:
    """Wait until a node knows the policies of those directions that gossip brings to it."""
    wanted = set(directions).intersection(_in_reach(network, client))
    while wanted:
        known = await _known(client)
        wanted = {d for d in wanted if known.get(_key(network, d)) != _wanted(network, d)}
        if wanted and time.monotonic() > deadline:
            raise BackendTimeout(
                f"expected {client.name} to hear of the policies of {len(wanted)} directions in time, it did not: "
                "its gossip is slow or it hangs; reset the network"
            )
        if wanted:
            await repeater.missed(wanted)
            await asyncio.sleep(_POLL_S)


async def _edge_faults(network: LiveNetwork, client: NodeClient, repeater: Repeater) -> str:
    """Say which directions of its component a node's graph lacks, whatever their policies say."""
    known = await _known(client)
    wanted = _in_reach(network, client)
    missing = [direction for direction in wanted if _key(network, direction) not in known]
    await repeater.missed(missing)
    return f"{len(missing)} of {len(wanted)} directions are missing" if missing else ""


async def policy_faults(network: LiveNetwork, client: NodeClient, repeater: Repeater) -> str:
    """Say what a node's graph lacks of its component of the topology; an empty string when it is complete."""
    known = await _known(client)
    wanted = _in_reach(network, client)
    wrong = [direction for direction in wanted if known.get(_key(network, direction)) != _wanted(network, direction)]
    await repeater.missed(wrong)
    return f"{len(wrong)} of {len(wanted)} policies are missing or old" if wrong else ""


async def _update(network: LiveNetwork, direction: int) -> str:
    """Set one policy with all its fields, because LND takes an absent field for zero; return what went wrong."""
    arrays = network.topology.arrays
    request = lightning_pb2.PolicyUpdateRequest(
        chan_point=_channel_point(network, direction),
        base_fee_msat=int(arrays.fee_base_msat[direction]),
        fee_rate_ppm=int(arrays.fee_rate_ppm[direction]),
        time_lock_delta=int(arrays.time_lock_delta[direction]),
        min_htlc_msat=int(arrays.min_htlc_msat[direction]),
        min_htlc_msat_specified=True,
        max_htlc_msat=int(arrays.max_htlc_msat[direction]),
        inbound_fee=lightning_pb2.InboundFee(
            base_fee_msat=int(arrays.inbound_fee_base_msat[direction]),
            fee_rate_ppm=int(arrays.inbound_fee_rate_ppm[direction]),
        ),
    )
    client = network.clients[int(arrays.source[direction])]
    try:
        answer = await client.call(rpc.UPDATE_CHANNEL_POLICY, request)
    except RpcRefused as problem:
        if "positive values for inbound" in problem.details:
            raise ConfigError(
                f"expected {client.name} to accept the inbound fee of {network.describe(direction // 2)}, LND refused: "
                f"{problem.details}; start it with --accept-positive-inbound-fees"
            ) from None
        raise
    return ", ".join(failed.update_error for failed in answer.failed_updates)


async def _switch(network: LiveNetwork, direction: int) -> str:
    """Disable or enable a direction, until told otherwise; return what went wrong."""
    arrays = network.topology.arrays
    request = router_pb2.UpdateChanStatusRequest(
        chan_point=_channel_point(network, direction),
        action=router_pb2.DISABLE if arrays.disabled[direction] else router_pb2.ENABLE,
    )
    try:
        await network.clients[int(arrays.source[direction])].call(rpc.UPDATE_CHAN_STATUS, request)
    except RpcRefused as problem:
        return problem.details
    return ""


def _channel_point(network: LiveNetwork, direction: int) -> lightning_pb2.ChannelPoint:
    """Return the channel of a direction as LND's requests name it."""
    txid, _, index = network.channels[direction // 2].channel_point.partition(":")
    return lightning_pb2.ChannelPoint(funding_txid_str=txid, output_index=int(index))


async def _known(client: NodeClient) -> dict[tuple[int, str], PolicyKey]:
    """Return the policies in a node's graph by channel id and public key of the announcing node."""
    graph = await client.call(rpc.DESCRIBE_GRAPH)
    known: dict[tuple[int, str], PolicyKey] = {}
    for edge in graph.edges:
        for pubkey, field in ((edge.node1_pub, "node1_policy"), (edge.node2_pub, "node2_policy")):
            if edge.HasField(field):
                known[edge.channel_id, pubkey] = _fields(getattr(edge, field))
    return known


def _fields(policy: lightning_pb2.RoutingPolicy) -> PolicyKey:
    """Return what a policy says, leaving out when it was said."""
    return (
        policy.fee_base_msat,
        policy.fee_rate_milli_msat,
        policy.time_lock_delta,
        policy.min_htlc,
        policy.max_htlc_msat,
        policy.inbound_fee_base_msat,
        policy.inbound_fee_rate_milli_msat,
        policy.disabled,
    )


def _wanted(network: LiveNetwork, direction: int) -> PolicyKey:
    """Return what the topology wants a direction's policy to say."""
    arrays = network.topology.arrays
    return tuple(int(getattr(arrays, field)[direction]) for field in Policy.__struct_fields__)


def _key(network: LiveNetwork, direction: int) -> tuple[int, str]:
    return network.channels[direction // 2].chan_id, network.pubkeys[int(network.topology.arrays.source[direction])]


def _in_reach(network: LiveNetwork, client: NodeClient) -> list[int]:
    """Return the directions between nodes that a node can reach through channels: gossip comes no further."""
    reached = {network.topology.node_index[client.name]}
    before = 0
    while before != len(reached):
        before = len(reached)
        reached |= {node for pair in network.neighbours() if reached.intersection(pair) for node in pair}
    return [direction for direction, node in enumerate(network.topology.arrays.source.tolist()) if node in reached]
