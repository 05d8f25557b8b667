"""From started daemons to a ready network: coins, peers, channels, policies, and every node's graph complete.

Every wait looks at the nodes' own word and has a deadline. Bringing up a network that is right already changes
nothing; one that is wrong is an error. How daemons are started is known to the launchers alone.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from lnsim_gym.backends.lnd.network.claims import check_channels, check_pubkeys
from lnsim_gym.backends.lnd.network.connections import introduce
from lnsim_gym.backends.lnd.network.live import (
    ChannelEnds,
    ChannelKey,
    LiveChannel,
    LiveNetwork,
    channel_memo,
    match_channels,
)
from lnsim_gym.backends.lnd.network.policies import Repeater, announce_policies, policy_faults
from lnsim_gym.backends.lnd.network.settings import NetworkSettings
from lnsim_gym.backends.lnd.nodes.chain import ChainClient
from lnsim_gym.backends.lnd.nodes.launchers.base import Launcher
from lnsim_gym.backends.lnd.nodes.record import CHAIN
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient, RpcRefused
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.backends.lnd.rpc.thread import gather, run
from lnsim_gym.errors import BackendError, BackendLost, BringUpError, ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.network.limits import DEFAULT_FEE_PER_KW, owned_total_sat

__all__ = ["bring_up", "check_fee_rates", "wait_ready"]

_log = logging.getLogger(__name__)

_POLL_S: Final = 0.03
_RECONNECT_S: Final = 2.0
_PORT_TAKEN: Final = "address already in use"
_TRIES: Final = 3
_STALL_S: Final = 30.0
"""Time without any progress after which a new network is restarted, in seconds."""
_FUNDING_SAT_PER_VBYTE: Final = 20
_FUNDING_MARGIN_SAT: Final = 200_000
_LISTED: Final = 10
"""Most channels that an error names."""
_CONFIRMATIONS: Final = 6
"""Blocks after which LND announces a channel to nodes other than its ends."""


class _Stalled(BringUpError):
    """A network that is no use waiting for: busy nodes now and then hang, or lose a message."""


Check = Callable[[], Awaitable[str]]
"""Returns what is still missing, or an empty string."""


def bring_up(launcher: Launcher, topology: Topology, settings: NetworkSettings) -> LiveNetwork:
    """Bring a network up, or recognise it when it is up already; a new one that stalls is restarted, twice at most.

    Raises:
        ConfigError: The topology asks for what this network cannot do.
        BringUpError: It did not become ready; the message ends with the log of the node at fault.
    """
    check_fee_rates(topology)
    tries_left = _TRIES if launcher.managed and _is_new(launcher) else 1
    while True:
        tries_left -= 1
        try:
            return _bring_up_once(launcher, topology, settings, _STALL_S if tries_left else math.inf)
        except BringUpError as problem:
            # Another program may have taken a port between its choice and its use.
            has_lost_port = _PORT_TAKEN in str(problem)
            if tries_left == 0 or not (isinstance(problem, _Stalled) or has_lost_port):
                raise
            why = "another program took one of its ports" if has_lost_port else str(problem).partition("\n")[0]
            _log.warning("a new network is begun again: %s", why)
            launcher.stop()


def _bring_up_once(launcher: Launcher, topology: Topology, settings: NetworkSettings, stall_s: float) -> LiveNetwork:
    """Start the daemons, take all steps, and the snapshot when the channels are new."""
    try:
        launcher.start_chain(topology)
        if launcher.managed:
            _chain(launcher).mature()
        launcher.start_nodes()
        steps = _BringUp(launcher, topology, settings, stall_s)
        network = run(steps.ready())
        if steps.opened and settings.snapshot:
            launcher.snapshot()
    except BackendLost as problem:
        raise _Stalled(str(problem)) from None
    return network


def _is_new(launcher: Launcher) -> bool:
    """Whether a launcher has no network yet, running or kept."""
    try:
        launcher.record()
    except BackendError:
        return True
    return False


def check_fee_rates(topology: Topology) -> None:
    """Refuse channels with another commitment fee rate than the one that a live network is pinned to.

    Raises:
        ConfigError: A channel has one.
    """
    for index, channel in enumerate(topology.channels):
        if channel.fee_per_kw != DEFAULT_FEE_PER_KW:
            raise ConfigError(
                f"channels[{index}] ({channel.initiator}-{channel.peer}): real nodes are pinned to fee_per_kw = "
                f"{DEFAULT_FEE_PER_KW} sat/kw, got {channel.fee_per_kw}: leave it out or use the simulator"
            )


def wait_ready(launcher: Launcher, topology: Topology, settings: NetworkSettings) -> LiveNetwork:
    """From started daemons to a ready network; what is there already is kept.

    Raises:
        BringUpError: It did not become ready, or its channels are not the topology's.
        BackendLost: The chain backend is gone.
    """
    return run(_BringUp(launcher, topology, settings).ready())


def _chain(launcher: Launcher) -> ChainClient:
    """Return a client of the launcher's btcd."""
    endpoint = launcher.record().chain
    if endpoint is None:
        raise BackendError(f"expected the network {launcher.name!r} to have a {CHAIN} of its own, it has none")
    return ChainClient(endpoint)


class _BringUp:
    """One pass from started daemons to a ready network; every method is a step."""

    def __init__(
        self, launcher: Launcher, topology: Topology, settings: NetworkSettings, stall_s: float = math.inf
    ) -> None:
        self._stall_s = stall_s
        self._launcher = launcher
        self._topology = topology
        self._settings = settings
        self._clients: tuple[NodeClient, ...] = ()
        self.opened = False
        """Whether the channels were opened in this pass."""

    async def ready(self) -> LiveNetwork:
        """Take all steps."""
        try:
            self._clients = tuple(await gather(self._connect(name) for name in self._topology.nodes))
            check_pubkeys({client.name: client.endpoint.pubkey for client in self._clients})
            height = await asyncio.to_thread(_chain(self._launcher).height) if self._launcher.managed else 0
            await self._each("its chain to be synced", lambda client: self._unsynced(client, height))
            found = await self._find_channels()
            if found is None:
                await self._open_channels()
                self.opened = True
                found = await self._find_channels()
            if found is None:
                raise BringUpError("expected the channels just opened, found none: rebuild the network")
            network = LiveNetwork(self._topology, self._clients, found)
            await self._settle_down(network)
        except BaseException:
            await asyncio.gather(*(client.close() for client in self._clients), return_exceptions=True)
            raise
        return network

    async def _connect(self, name: str) -> NodeClient:
        """Wait until a node's RPC server is active, and learn its public key."""
        endpoint = self._launcher.endpoints[name]
        files = (Path(endpoint.tls_cert_path), Path(endpoint.macaroon_path))

        async def no_credentials() -> str:
            return "" if all(file.is_file() and file.stat().st_size for file in files) else "its credential files"

        await self._until(name, "its credential files", no_credentials)
        client = NodeClient(endpoint, self._settings.rpc_timeout_s)

        async def not_active() -> str:
            state = (await client.call(rpc.GET_STATE)).state
            named = {number: name for name, number in lightning_pb2.WalletState.items()}
            return "" if state == lightning_pb2.SERVER_ACTIVE else f"state {named.get(state, state)}"

        try:
            await self._until(name, "its RPC server to be active", not_active)
            info = await client.call(rpc.GET_INFO)
        finally:
            await client.close()
        self._refuse_mainnet(name, info)
        known = msgspec.structs.replace(endpoint, pubkey=info.identity_pubkey)
        return NodeClient(known, self._settings.rpc_timeout_s)

    def _refuse_mainnet(self, name: str, info: lightning_pb2.GetInfoResponse) -> None:
        """Never touch real money."""
        if any(chain.network == "mainnet" for chain in info.chains):
            raise ConfigError(f"expected node {name!r} on a test network, it is on mainnet: nothing was done with it")

    async def _unsynced(self, client: NodeClient, height: int) -> str:
        info = await client.call(rpc.GET_INFO)
        if info.block_height < height:
            return f"it is at block {info.block_height} of {height}"
        return "" if info.synced_to_chain else "it is not synced"

    async def _find_channels(self) -> tuple[LiveChannel, ...] | None:
        """Match the nodes' channels with the topology's; None when there are none yet.

        Raises:
            BringUpError: They are other channels than the topology's.
        """
        listings = await gather(client.call(rpc.LIST_CHANNELS) for client in self._clients)
        names = {client.endpoint.pubkey: client.name for client in self._clients}
        found: defaultdict[ChannelKey, list[lightning_pb2.Channel]] = defaultdict(list)
        for client, listing in zip(self._clients, listings, strict=True):
            for channel in listing.channels:
                peer = names.get(channel.remote_pubkey, f"{channel.remote_pubkey[:8]!r}")
                if channel.initiator or channel.remote_pubkey not in names:
                    found[client.name, peer, channel.capacity].append(channel)
        wanted = [(channel.initiator, channel.peer, channel.capacity_sat) for channel in self._topology.channels]
        if not found and wanted and self._launcher.managed:
            return None
        self._refuse_difference(Counter(wanted), Counter({key: len(channels) for key, channels in found.items()}))
        matched = match_channels(self._topology, found)
        check_channels(matched.values())
        return tuple(LiveChannel(matched[i].chan_id, matched[i].channel_point) for i in range(len(wanted)))

    def _refuse_difference(self, wanted: Counter[ChannelKey], found: Counter[ChannelKey]) -> None:
        """Raise when the nodes have other channels than the topology's."""
        missing = sorted((wanted - found).elements())
        surplus = sorted((found - wanted).elements())
        if missing or surplus:
            raise BringUpError(
                "expected the network to have the topology's channels; "
                f"missing: {_list(missing)}; not in the topology: {_list(surplus)}. "
                "Use the topology it was made with, or `lnsim down` it and bring it up again"
            )

    async def _open_channels(self) -> None:
        """Give every node coins, connect peers, open all channels and confirm them."""
        chain = _chain(self._launcher)
        await self._fund(chain)
        await gather(self._open(index) for index in range(len(self._topology.channels)))

        async def not_broadcast() -> str:
            waiting = await asyncio.to_thread(chain.mempool_size)
            return "" if waiting >= len(self._topology.channels) else f"{waiting} funding transactions"

        await self._until(CHAIN, "all funding transactions", not_broadcast)
        height = await asyncio.to_thread(chain.generate, _CONFIRMATIONS)
        await self._each("the funding blocks", lambda client: self._unsynced(client, height))
        await self._each("its channels to be open", self._pending)

    async def _fund(self, chain: ChainClient) -> None:
        """Pay every node confirmed coins: one output for each channel it opens, and one to spare."""
        outputs: dict[str, int] = {}
        expected: list[int] = []
        for client in self._clients:
            sizes = [channel.capacity_sat for channel in self._topology.channels if channel.initiator == client.name]
            each = max(sizes, default=0) + _FUNDING_MARGIN_SAT
            for _ in range(len(sizes) + 1):
                outputs[(await client.call(rpc.NEW_ADDRESS)).address] = each
            expected.append(each * (len(sizes) + 1))
        await asyncio.to_thread(chain.fund, outputs)
        await asyncio.to_thread(chain.generate, 1)
        wanted = dict(zip(self._topology.nodes, expected, strict=True))

        async def poor(client: NodeClient) -> str:
            balance = (await client.call(rpc.WALLET_BALANCE)).confirmed_balance
            return "" if balance >= wanted[client.name] else f"{balance} of {wanted[client.name]} sat confirmed"

        await self._each("its coins", poor)

    async def _open(self, index: int) -> None:
        """Connect the two ends of one channel and open it; a refusal opened nothing and may be retried."""
        channel = self._topology.channels[index]
        one, other = (self._clients[self._topology.node_index[name]] for name in (channel.initiator, channel.peer))
        total_sat = int(owned_total_sat(channel.capacity_sat, channel.fee_per_kw))
        kept_sat = total_sat if channel.initiator_balance_sat is None else channel.initiator_balance_sat
        request = lightning_pb2.OpenChannelRequest(
            node_pubkey=bytes.fromhex(other.endpoint.pubkey),
            local_funding_amount=channel.capacity_sat,
            push_sat=total_sat - kept_sat,
            sat_per_vbyte=_FUNDING_SAT_PER_VBYTE,
            memo=channel_memo(index),
        )

        async def refused() -> str:
            try:
                await introduce(one, other)
                await one.call(rpc.OPEN_CHANNEL, request)
            except RpcRefused as problem:
                return problem.details
            return ""

        await self._until(one.name, f"it to open a channel to {other.name}", refused)

    async def _pending(self, client: NodeClient) -> str:
        waiting = (await client.call(rpc.GET_INFO)).num_pending_channels
        return f"{waiting} channels are pending" if waiting else ""

    async def _reconnect(self, ends: Mapping[int, ChannelEnds]) -> None:
        """Connect the ends of inactive channels: a node that was restarted may have another address than before."""
        await gather(self._meet(index) for index, both in ends.items() if not both.is_active)

    async def _meet(self, index: int) -> None:
        """Connect the two ends of one channel, as soon as the initiator is ready for it."""
        channel = self._topology.channels[index]
        one, other = (self._clients[self._topology.node_index[name]] for name in (channel.initiator, channel.peer))

        async def refused() -> str:
            try:
                await introduce(one, other)
            except RpcRefused as problem:
                return problem.details
            return ""

        await self._until(one.name, f"it to connect to {other.name}", refused)

    async def _settle_down(self, network: LiveNetwork) -> None:
        """Wait until channels are active and quiet, set the policies, wait until every node knows them."""
        reconnected = -math.inf

        async def sleepy() -> str:
            nonlocal reconnected
            ends = await network.ends()
            if self._launcher.managed and time.monotonic() - reconnected > _RECONNECT_S:
                await self._reconnect(ends)
                reconnected = time.monotonic()
            idle = [network.describe(index) for index, both in ends.items() if not (both.is_active and both.is_quiet)]
            return f"{', '.join(idle)} inactive or busy" if idle else ""

        await self._until(CHAIN, "all channels to be active", sleepy)
        repeater = Repeater(network)
        await announce_policies(network, self._until, repeater)
        await self._each("its graph to be complete", lambda client: policy_faults(network, client, repeater))

    async def _each(self, what: str, check: Callable[[NodeClient], Awaitable[str]]) -> None:
        """Wait for the same thing on every node, side by side."""

        async def one(client: NodeClient) -> None:
            await self._until(client.name, what, lambda: check(client))

        await gather(one(client) for client in self._clients)

    async def _until(self, node: str, what: str, check: Check) -> None:
        """Ask repeatedly until nothing is missing.

        Raises:
            BringUpError: Something is, after the deadline, or the node is gone; with the end of its log.
        """
        deadline = time.monotonic() + self._settings.bring_up_timeout_s
        last_look = changed = time.monotonic()
        before = ""
        while True:
            try:
                missing = await check()
            except BackendLost as problem:
                missing = str(problem)
            if not missing:
                return
            if missing != before:
                before = missing
                changed = time.monotonic()
            dead = False
            if time.monotonic() - last_look > 0.5:
                last_look = time.monotonic()
                dead = not (await asyncio.to_thread(self._launcher.alive)).get(node, True)
            if dead or time.monotonic() > deadline:
                limit_s = self._settings.bring_up_timeout_s
                raise BringUpError(self._explain(node, what, limit_s, "its process is gone" if dead else missing))
            if time.monotonic() - changed > self._stall_s:
                raise _Stalled(self._explain(node, what, self._stall_s, missing))
            await asyncio.sleep(_POLL_S)

    def _explain(self, node: str, what: str, limit_s: float, got: str) -> str:
        """Say what was expected of whom, and show the end of its log."""
        return (
            f"node {node!r}: expected {what} within {limit_s:g} s, got: {got}. "
            f"Its log ends:\n{self._launcher.log_tail(node) or '(no log)'}"
        )


def _list(keys: list[ChannelKey]) -> str:
    """Name the first of some channels, and say how many more there are."""
    named = [f"{initiator}-{peer} ({capacity:,} sat)" for initiator, peer, capacity in keys[:_LISTED]]
    more = [f"and {len(keys) - _LISTED:,} more"] if len(keys) > _LISTED else []
    return ", ".join(named + more) or "none"
