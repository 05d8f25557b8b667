"""What a network looks like right now: its nodes, its channels and balances, for people and for other programs.

Reading only, with short deadlines: a network that is broken has a status, too.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import msgspec

from lnsim_gym.backends.lnd.network.live import ChannelKey, match_channels
from lnsim_gym.backends.lnd.nodes.launchers.choose import connect_launcher
from lnsim_gym.backends.lnd.nodes.record import CHAIN, NetworkRecord
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient, RpcRefused
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.backends.lnd.rpc.thread import gather, run
from lnsim_gym.errors import BackendError, BackendLost
from lnsim_gym.network import Topology

__all__ = ["ChannelStatus", "NetworkStatus", "NodeStatus", "network_status"]

_DEADLINE_S: Final = 4.0


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One lnd: how it is, and all that any LND client needs to connect to it."""

    name: str
    state: str
    """``"up"``, ``"starting"`` (its RPC refuses), ``"silent"`` (it runs but does not answer), or ``"stopped"``."""
    host: str
    port: int
    """Port of the gRPC listener."""
    tls_cert_path: str
    macaroon_path: str
    pubkey: str
    block_height: int
    synced_to_chain: bool
    local_balance_sat: int
    """Sum over its channels."""
    active_channels: int
    """Number of its channels that are active."""


class ChannelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One channel, as its initiator reports it; balances are 0 while the initiator is not up."""

    initiator: str
    peer: str
    capacity_sat: int
    initiator_balance_sat: int
    peer_balance_sat: int
    active: bool
    pending_htlcs: int
    chan_id: int


class NetworkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A network at one moment."""

    name: str
    launcher: str
    folder: str
    chain_running: bool
    nodes: tuple[NodeStatus, ...]
    channels: tuple[ChannelStatus, ...]

    @property
    def is_up(self) -> bool:
        """Whether every daemon is up and every channel active."""
        nodes_up = all(node.state == "up" for node in self.nodes)
        return self.chain_running and nodes_up and all(channel.active for channel in self.channels)


class _Answers(msgspec.Struct, frozen=True):
    """What one node said."""

    state: str
    info: lightning_pb2.GetInfoResponse | None = None
    channels: tuple[lightning_pb2.Channel, ...] = ()


def network_status(record: NetworkRecord) -> NetworkStatus:
    """Ask every daemon of a network how it is."""
    launcher = connect_launcher(record)
    alive = launcher.alive()
    launcher.detach()
    answers = run(_ask_all(record, alive))
    pubkeys = {
        (said.info.identity_pubkey if said.info else endpoint.pubkey): endpoint.name
        for endpoint, said in zip(record.nodes, answers, strict=True)
    }
    return NetworkStatus(
        name=record.name,
        launcher=record.launcher,
        folder=record.folder,
        # The chain of attached nodes is run by others, and not known.
        chain_running=alive.get(CHAIN, record.chain is None),
        nodes=tuple(_node(endpoint, said) for endpoint, said in zip(record.nodes, answers, strict=True)),
        channels=_channels(record, answers, pubkeys),
    )


async def _ask_all(record: NetworkRecord, alive: dict[str, bool]) -> list[_Answers]:
    return await gather(_ask(endpoint, alive.get(endpoint.name, False)) for endpoint in record.nodes)


async def _ask(endpoint: NodeEndpoint, alive: bool) -> _Answers:
    """Ask one node, unless it does not run."""
    if not alive:
        return _Answers("stopped")
    try:
        client = NodeClient(endpoint, _DEADLINE_S)
    except BackendError:
        return _Answers("starting")
    try:
        info = await client.call(rpc.GET_INFO)
        listing = await client.call(rpc.LIST_CHANNELS)
    except BackendLost:
        return _Answers("silent")
    except RpcRefused:
        return _Answers("starting")
    finally:
        await client.close()
    return _Answers("up", info, tuple(listing.channels))


def _node(endpoint: NodeEndpoint, said: _Answers) -> NodeStatus:
    """Put together what is known of a node."""
    info = said.info or lightning_pb2.GetInfoResponse()
    return NodeStatus(
        name=endpoint.name,
        state=said.state,
        host=endpoint.host,
        port=endpoint.port,
        tls_cert_path=endpoint.tls_cert_path,
        macaroon_path=endpoint.macaroon_path,
        pubkey=info.identity_pubkey or endpoint.pubkey,
        block_height=info.block_height,
        synced_to_chain=info.synced_to_chain,
        local_balance_sat=sum(channel.local_balance for channel in said.channels),
        active_channels=sum(channel.active for channel in said.channels),
    )


def _channels(record: NetworkRecord, answers: list[_Answers], pubkeys: dict[str, str]) -> tuple[ChannelStatus, ...]:
    """Find every channel of the topology in the answer of its initiator."""
    reported: defaultdict[ChannelKey, list[lightning_pb2.Channel]] = defaultdict(list)
    for endpoint, said in zip(record.nodes, answers, strict=True):
        for channel in said.channels:
            if channel.initiator:
                reported[endpoint.name, pubkeys.get(channel.remote_pubkey, ""), channel.capacity].append(channel)
    topology = Topology.from_dict(record.topology)
    matched = match_channels(topology, reported)
    missing = lightning_pb2.Channel()
    rows = []
    for index, wanted in enumerate(topology.channels):
        seen = matched.get(index, missing)
        rows.append(
            ChannelStatus(
                initiator=wanted.initiator,
                peer=wanted.peer,
                capacity_sat=wanted.capacity_sat,
                initiator_balance_sat=seen.local_balance,
                peer_balance_sat=seen.remote_balance,
                active=seen.active,
                pending_htlcs=len(seen.pending_htlcs),
                chan_id=seen.chan_id,
            )
        )
    return tuple(rows)
