"""A live network at hand: one client per node, and which LND channel is which channel of the topology.

Reading belongs here: channels, balances, policies, whether the network is quiet. Changing it does not.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.backends.lnd.rpc.thread import gather
from lnsim_gym.errors import BackendError, BackendLost, BackendTimeout
from lnsim_gym.network import Policy, Topology

__all__ = ["ChannelEnds", "ChannelKey", "LiveChannel", "LiveNetwork", "channel_memo", "channel_name", "match_channels"]

POLL_S: Final = 0.01
ChannelKey = tuple[str, str, int]
"""Names of initiator and peer, and capacity in sat: what tells channels apart unless they are parallel."""


@dataclass(frozen=True)
class LiveChannel:
    """What LND calls a channel of the topology."""

    chan_id: int
    """Short channel id."""
    channel_point: str
    """``txid:index`` of the funding output."""


@dataclass(frozen=True)
class ChannelEnds:
    """One channel as its two ends see it at one moment."""

    initiator: lightning_pb2.Channel
    peer: lightning_pb2.Channel

    @property
    def is_quiet(self) -> bool:
        """Whether no HTLC is pending and both ends agree on both balances."""
        one = self.initiator
        other = self.peer
        return not (
            one.pending_htlcs
            or other.pending_htlcs
            or one.local_balance != other.remote_balance
            or one.remote_balance != other.local_balance
        )

    @property
    def is_active(self) -> bool:
        """Whether both ends may use the channel."""
        return self.initiator.active and self.peer.active


def channel_name(topology: Topology, index: int) -> str:
    """Name a channel for an error."""
    channel = topology.channels[index]
    name = f"channel {channel.initiator}-{channel.peer}"
    ends = {channel.initiator, channel.peer}
    alone = sum({each.initiator, each.peer} == ends for each in topology.channels) == 1
    return name if alone else f"{name} (channels[{index}])"


def channel_memo(index: int) -> str:
    """Return the note-to-self with which a channel is opened, so that it is known among parallel ones."""
    return f"channels[{index}]"


def match_channels(
    topology: Topology, found: Mapping[ChannelKey, Sequence[lightning_pb2.Channel]]
) -> dict[int, lightning_pb2.Channel]:
    """Match the channels of nodes with those of a topology.

    Parallel ones of the same initiator and size are known by the memo they were opened with, or by a channel id that
    the topology has; what is left is taken in the order of channel ids.

    Args:
        topology: The network.
        found: Channels as their initiators list them.

    Returns:
        Channel by index; those that were not found are missing.
    """
    wanted: defaultdict[ChannelKey, list[int]] = defaultdict(list)
    for index, channel in enumerate(topology.channels):
        wanted[channel.initiator, channel.peer, channel.capacity_sat].append(index)
    matched: dict[int, lightning_pb2.Channel] = {}
    for key, indices in wanted.items():
        left = sorted(found.get(key, ()), key=lambda channel: channel.chan_id)
        known_by = {
            index: [each for each in left if each.memo == channel_memo(index)]
            or [each for each in left if each.chan_id == topology.channels[index].chan_id]
            for index in indices
        }
        for index in sorted(indices, key=lambda index: not known_by[index]):
            choices = [each for each in known_by[index] if each in left] or left
            if choices:
                matched[index] = choices[0]
                left.remove(choices[0])
    return matched


class LiveNetwork:
    """Clients and channel ids of a network that is up.

    Args:
        topology: What the network is; replaced by one of the same channels when policies change.
        clients: One per node, in the order of ``topology.nodes``, their endpoints with public keys.
        channels: LND's names of the channels, in the order of ``topology.channels``.
    """

    def __init__(self, topology: Topology, clients: tuple[NodeClient, ...], channels: tuple[LiveChannel, ...]) -> None:
        self.topology = topology
        self.clients = clients
        self.channels = channels

    @cached_property
    def pubkeys(self) -> tuple[str, ...]:
        """Identity public keys in hex, in node order."""
        return tuple(client.endpoint.pubkey for client in self.clients)

    @cached_property
    def _direction_to(self) -> dict[tuple[int, str], int]:
        """Direction index by short channel id and public key of the node it leads to."""
        arrays = self.topology.arrays
        return {
            (self.channels[direction // 2].chan_id, self.pubkeys[node]): direction
            for direction, node in enumerate(arrays.destination.tolist())
        }

    @cached_property
    def _beside(self) -> tuple[tuple[int, ...], ...]:
        """Channels between the same two nodes as each channel, itself among them."""
        by_ends: defaultdict[frozenset[int], list[int]] = defaultdict(list)
        for index, pair in enumerate(self.neighbours()):
            by_ends[frozenset(pair)].append(index)
        return tuple(tuple(by_ends[frozenset(pair)]) for pair in self.neighbours())

    @property
    def has_parallel_channels(self) -> bool:
        """Whether some two nodes share more than one channel."""
        return any(len(channels) > 1 for channels in self._beside)

    def beside(self, direction: int) -> tuple[int, ...]:
        """Return the channels between the ends of a direction, among them its own."""
        return self._beside[direction // 2]

    def within_reach(self, directions: Sequence[int]) -> set[int]:
        """Return the channels that an HTLC sent over a route may be on: forwarders may take parallel ones."""
        first = {direction // 2 for direction in directions[:1]}
        return first.union(*(self.beside(direction) for direction in directions[1:]))

    def direction_to(self, chan_id: int, node: int) -> int:
        """Return the direction of a channel that leads to a node, -1 when the channel does not."""
        return self._direction_to.get((chan_id, self.pubkeys[node]), -1)

    def directions(self, route: lightning_pb2.Route) -> list[int]:
        """Return the direction index of every hop of a route, as its sender chose it.

        Raises:
            BackendError: The route uses a channel outside the topology.
        """
        try:
            return [self._direction_to[hop.chan_id, hop.pub_key] for hop in route.hops]
        except KeyError as problem:
            raise BackendError(
                f"expected routes over the topology's channels only, got one over {problem}: "
                "close the channels that do not belong to the topology"
            ) from None

    def other_policies(self, topology: Topology) -> list[int]:
        """Return the directions that have another policy in a topology of the same channels."""
        mine = self.topology.arrays
        its = topology.arrays
        differs = [getattr(mine, name) != getattr(its, name) for name in Policy.__struct_fields__]
        return [int(direction) for direction in np.flatnonzero(np.any(differs, axis=0))]

    async def ends(
        self, channels: Iterable[int] | None = None, deadline_s: float | None = None
    ) -> dict[int, ChannelEnds]:
        """Read channels from both their ends.

        Args:
            channels: Channel indices; by default all of them.
            deadline_s: In seconds, instead of the clients' own.

        Returns:
            Both views by channel index.

        Raises:
            BackendError: A channel is gone.
        """
        wanted = list(range(len(self.channels)) if channels is None else channels)
        ends = self.topology.arrays.source.reshape(-1, 2)
        nodes = sorted({int(node) for node in ends[wanted].ravel()})
        listings = await gather(self.clients[node].call(rpc.LIST_CHANNELS, deadline_s=deadline_s) for node in nodes)
        views = {
            (node, channel.chan_id): channel
            for node, listing in zip(nodes, listings, strict=True)
            for channel in listing.channels
        }
        return {index: self._both(index, views) for index in wanted}

    def _both(self, index: int, views: dict[tuple[int, int], lightning_pb2.Channel]) -> ChannelEnds:
        """Pick the two views of one channel."""
        initiator, peer = self.topology.arrays.source[2 * index : 2 * index + 2].tolist()
        chan_id = self.channels[index].chan_id
        if (initiator, chan_id) not in views or (peer, chan_id) not in views:
            raise BackendError(f"expected {self.describe(index)} to be open, it is not: rebuild the network")
        return ChannelEnds(views[initiator, chan_id], views[peer, chan_id])

    async def quiet(
        self, timeout_s: float, channels: Iterable[int] | None = None, *, pause_first: bool = False
    ) -> dict[int, ChannelEnds]:
        """Wait until no HTLC is pending on the channels and their ends agree; all must be active.

        Args:
            timeout_s: Longest wait in seconds.
            channels: Channel indices; by default all of them.
            pause_first: Whether they are surely not quiet yet, so that looking at once is wasted.

        Raises:
            BackendTimeout: HTLCs are still pending after that.
            BackendLost: A channel is inactive, so that payments went elsewhere.
        """
        busy = list(range(len(self.channels)) if channels is None else channels)
        deadline = time.monotonic() + timeout_s
        ends: dict[int, ChannelEnds] = {}
        if pause_first:
            await asyncio.sleep(POLL_S)
        while True:
            # Listing channels costs lnd as much as a hop of a payment: look only at those not found quiet before.
            ends |= await self.ends(busy)
            self._refuse_inactive(ends)
            busy = [index for index in busy if not ends[index].is_quiet]
            if not busy:
                return ends
            if time.monotonic() > deadline:
                raise BackendTimeout(
                    f"expected no HTLC pending after {timeout_s:g} s, found some on "
                    f"{', '.join(map(self.describe, busy))}: a node on them hangs; reset the network"
                )
            await asyncio.sleep(POLL_S)

    def _refuse_inactive(self, ends: Mapping[int, ChannelEnds]) -> None:
        """Take channels that are inactive for a loss."""
        inactive = [self.describe(index) for index, both in ends.items() if not both.is_active]
        if inactive:
            raise BackendLost(
                f"expected active channels, {', '.join(inactive)} is not: its ends lost their connection, or lnd gave "
                "it up (as on a full disk, see its log), and payments avoid it; reset() makes it active again"
            )

    def balances_sat(self, ends: dict[int, ChannelEnds]) -> Int64:
        """Return balances in sat as the initiators see them, shape (channels, 2), initiator first."""
        rows = [(ends[index].initiator.local_balance, ends[index].initiator.remote_balance) for index in sorted(ends)]
        return np.array(rows, np.int64).reshape(-1, 2)

    def describe(self, index: int) -> str:
        """Name a channel for an error."""
        return channel_name(self.topology, index)

    def neighbours(self) -> Iterator[tuple[int, int]]:
        """Yield the node indices (initiator, peer) of every channel."""
        yield from zip(*self.topology.arrays.source.reshape(-1, 2).T.tolist(), strict=True)

    async def probe(self, timeout_s: float) -> None:
        """Ask every node for a sign of life, and whether its channels are active.

        Raises:
            BackendTimeout: A node hangs.
            BackendLost: A node is gone, or a channel is inactive: what is under way on it may never end.
        """
        await gather(client.call(rpc.GET_INFO, deadline_s=timeout_s) for client in self.clients)
        self._refuse_inactive(await self.ends(deadline_s=timeout_s))

    async def forget(self, nodes: Iterable[int] | None = None) -> None:
        """Reset mission control of some nodes, by default of all."""
        chosen = range(len(self.clients)) if nodes is None else nodes
        await gather(self.clients[node].call(rpc.RESET_MISSION_CONTROL) for node in chosen)

    async def close(self) -> None:
        """Drop all connections."""
        await gather(client.close() for client in self.clients)
