"""The topology: which nodes exist, which channels join them, and which policies (``policies``) they have.

A ``Topology`` is validated when it is made and never changes. It offers itself as columns (``arrays``) to
whatever computes on it. Current balances are not part of it: those belong to the backends.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import InvalidAction, TopologyError, did_you_mean
from lnsim_gym.network.limits import (
    ANCHORS_SAT,
    DEFAULT_FEE_PER_KW,
    channel_reserve_sat,
    commit_fee_sat,
    max_value_in_flight_msat,
    owned_total_sat,
    spendable_msat,
)
from lnsim_gym.network.policies import ChannelPolicies, Policy, check_policy, default_fee_bases_msat
from lnsim_gym.schema import convert

__all__ = [
    "MAX_FUNDING_SAT",
    "MAX_WUMBO_FUNDING_SAT",
    "MIN_FUNDING_SAT",
    "Channel",
    "NetworkArrays",
    "Topology",
]

MIN_FUNDING_SAT: Final = 20_000
"""Smallest channel LND opens, in sat."""
MAX_FUNDING_SAT: Final = 16_777_215
"""Largest channel LND opens without wumbo channels, in sat."""
MAX_WUMBO_FUNDING_SAT: Final = 1_000_000_000
"""Largest channel LND opens with wumbo channels, in sat."""


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One public channel, opened and funded by its initiator."""

    initiator: str
    """Node that opened the channel; it pays the commitment fee and both anchors."""
    peer: str
    """The other node."""
    capacity_sat: int
    """Size of the funding output, in sat."""
    initiator_balance_sat: int | None = None
    """Start balance of the initiator in sat, as ``ListChannels`` shows it; by default everything."""
    policies: ChannelPolicies | None = None
    """Routing policies; by default each direction gets one of its own, so that no two routes tie."""
    fee_per_kw: int = DEFAULT_FEE_PER_KW
    """Commitment fee rate in sat per kilo-weight."""
    chan_id: int | None = None
    """Short channel id as LND writes it (block height, transaction, output in 64 bits), of a channel that exists."""


class NetworkArrays(NamedTuple):
    """A topology as read-only columns.

    Direction ``d = 2 * channel + side`` carries HTLCs from the initiator (side 0) or from the peer (side 1), so
    ``d ^ 1`` is the reverse direction, and a balance array of shape (channels, 2) lies in direction order when
    flattened.
    """

    capacity_sat: Int64  # (channels,)
    fee_per_kw: Int64  # (channels,)
    reserve_msat: Int64  # (channels,)
    source: Int64  # (directions,) node index
    destination: Int64  # (directions,) node index
    fee_base_msat: Int64  # (directions,)
    fee_rate_ppm: Int64  # (directions,)
    time_lock_delta: Int64  # (directions,) blocks
    min_htlc_msat: Int64  # (directions,)
    max_htlc_msat: Int64  # (directions,)
    inbound_fee_base_msat: Int64  # (directions,) charged by the source on what arrives over the reverse direction
    inbound_fee_rate_ppm: Int64  # (directions,) likewise
    disabled: Int64  # (directions,) 1 where senders are told not to use it, else 0

    @property
    def is_plain(self) -> bool:
        """Whether no channels are parallel, no direction is disabled and no inbound fee charged."""
        ends = np.sort(np.stack([self.source[::2], self.destination[::2]]), axis=0)
        has_parallel = len(ends.T) > 0 and np.unique(ends, axis=1).shape[1] < ends.shape[1]
        return not (
            has_parallel or self.disabled.any() or self.inbound_fee_base_msat.any() or self.inbound_fee_rate_ppm.any()
        )


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """A Lightning network: named nodes joined by channels. Immutable, validated on creation.

    Several channels may join the same two nodes; a channel is known by its index, a pair of nodes is not enough.

    Raises:
        TopologyError: A node is unknown or repeated, a channel out of LND's limits, a start balance or a policy
            impossible. The text names the offending entry.
    """

    nodes: tuple[str, ...]
    """Node names, in the order of their indices; unique and printable."""
    channels: tuple[Channel, ...]
    """Channels, in the order of every balance array and observation."""
    wumbo: bool = False
    """Allow channels above 16,777,215 sat, as LND does with ``--protocol.wumbo-channels``."""
    public_keys: tuple[str, ...] = ()
    """Public keys of the nodes in their order, 66 hexadecimal digits each; empty where nodes have none yet."""
    aliases: tuple[str, ...] = ()
    """Aliases that the nodes announce, in their order; text of strangers, for showing only. Empty: the names."""

    def __post_init__(self) -> None:
        """Validate every entry and warn of a disconnected graph."""
        _validate_nodes(self.nodes)
        _validate_identities(self)
        for index, channel in enumerate(self.channels):
            _validate_channel(index, channel, self)
        if not self.is_connected:
            warnings.warn("the topology is disconnected: some payments can never succeed", stacklevel=2)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Topology:
        """Build a topology from plain data, as found in TOML or JSON.

        Args:
            data: ``{"nodes": [names], "channels": [{"initiator", "peer", "capacity_sat", ...}]}``.

        Raises:
            TopologyError: A key is unknown, missing or of the wrong type, or the network is impossible.
        """
        return convert(data, cls, "the topology", TopologyError)

    def to_dict(self) -> dict[str, Any]:
        """Return the topology as plain data that ``from_dict`` accepts, all policies spelled out."""
        filled = msgspec.structs.replace(
            self,
            channels=tuple(
                msgspec.structs.replace(channel, policies=policies)
                for channel, policies in zip(self.channels, self.policies, strict=True)
            ),
        )
        plain: dict[str, Any] = msgspec.to_builtins(filled)
        return plain

    @cached_property
    def node_index(self) -> dict[str, int]:
        """Index of each node by name."""
        return {name: index for index, name in enumerate(self.nodes)}

    @cached_property
    def is_plain(self) -> bool:
        """Whether no channels are parallel, no direction is disabled and no inbound fee charged."""
        return self.arrays.is_plain

    @cached_property
    def is_connected(self) -> bool:
        """Whether every node can reach every other through some channels."""
        neighbours: dict[str, list[str]] = {name: [] for name in self.nodes}
        for channel in self.channels:
            neighbours[channel.initiator].append(channel.peer)
            neighbours[channel.peer].append(channel.initiator)
        frontier = [self.nodes[0]]
        reached = {self.nodes[0]}
        while frontier:
            fresh = [name for name in neighbours[frontier.pop()] if name not in reached]
            reached.update(fresh)
            frontier.extend(fresh)
        return len(reached) == len(self.nodes)

    def has_channels_of(self, other: Topology) -> bool:
        """Whether another topology has the same nodes and channels in the same order, whatever their policies."""
        mine = self.arrays
        its = other.arrays
        return (
            self.nodes == other.nodes
            and np.array_equal(mine.source, its.source)
            and np.array_equal(mine.capacity_sat, its.capacity_sat)
        )

    @cached_property
    def policies(self) -> tuple[ChannelPolicies, ...]:
        """Policies of every channel, defaults filled in, in channel order."""
        defaults = default_fee_bases_msat(2 * len(self.channels))
        return tuple(
            channel.policies
            or ChannelPolicies(
                initiator=Policy(fee_base_msat=defaults[2 * index]),
                peer=Policy(fee_base_msat=defaults[2 * index + 1]),
            )
            for index, channel in enumerate(self.channels)
        )

    @cached_property
    def arrays(self) -> NetworkArrays:
        """The topology as read-only int64 columns."""
        index = self.node_index
        capacity_sat = np.array([channel.capacity_sat for channel in self.channels], np.int64)
        ends = [(index[channel.initiator], index[channel.peer]) for channel in self.channels]
        directed = [policy for both in self.policies for policy in (both.initiator, both.peer)]
        default_max_msat = np.repeat(max_value_in_flight_msat(capacity_sat), 2)
        columns = NetworkArrays(
            capacity_sat=capacity_sat,
            fee_per_kw=np.array([channel.fee_per_kw for channel in self.channels], np.int64),
            reserve_msat=1000 * channel_reserve_sat(capacity_sat),
            source=np.array([node for pair in ends for node in pair], np.int64),
            destination=np.array([node for pair in ends for node in reversed(pair)], np.int64),
            fee_base_msat=np.array([policy.fee_base_msat for policy in directed], np.int64),
            fee_rate_ppm=np.array([policy.fee_rate_ppm for policy in directed], np.int64),
            time_lock_delta=np.array([policy.time_lock_delta for policy in directed], np.int64),
            min_htlc_msat=np.array([policy.min_htlc_msat for policy in directed], np.int64),
            max_htlc_msat=np.array(
                [
                    default if policy.max_htlc_msat is None else policy.max_htlc_msat
                    for policy, default in zip(directed, default_max_msat, strict=True)
                ],
                np.int64,
            ),
            inbound_fee_base_msat=np.array([policy.inbound_fee_base_msat for policy in directed], np.int64),
            inbound_fee_rate_ppm=np.array([policy.inbound_fee_rate_ppm for policy in directed], np.int64),
            disabled=np.array([policy.disabled for policy in directed], np.int64),
        )
        for column in columns:
            column.flags.writeable = False
        return columns

    @cached_property
    def owned_total_msat(self) -> Int64:
        """Msat that both sides of each idle channel own together, shape (channels,): the conserved quantity."""
        arrays = self.arrays
        total: Int64 = 1000 * owned_total_sat(arrays.capacity_sat, arrays.fee_per_kw)
        return total

    def start_balances_msat(self) -> Int64:
        """Balances at channel open in msat, shape (channels, 2), initiator first."""
        given = [channel.initiator_balance_sat for channel in self.channels]
        initiator_msat = np.array(
            [
                total if sat is None else 1000 * sat
                for sat, total in zip(given, self.owned_total_msat.tolist(), strict=True)
            ],
            np.int64,
        )
        return np.stack([initiator_msat, self.owned_total_msat - initiator_msat], axis=1)

    def spendable_msat(self, balances_msat: Int64) -> Int64:
        """Largest HTLC in msat each channel end can add, for balances of the same shape (..., channels, 2)."""
        return spendable_msat(balances_msat, self.arrays.capacity_sat, self.arrays.fee_per_kw)

    def check_balances_msat(self, balances_msat: npt.ArrayLike) -> Int64:
        """Return balances as an int64 array after checking that the network can hold them.

        Args:
            balances_msat: Balances in msat, shape (channels, 2), initiator first.

        Raises:
            TopologyError: The shape is wrong, an amount is negative, or a channel's sum is not what it holds.
        """
        balances = np.asarray(balances_msat)
        wanted = (len(self.channels), 2)
        if balances.shape != wanted or balances.dtype.kind not in "iu":
            raise TopologyError(f"expected integer balances of shape {wanted}, got {balances.dtype} {balances.shape}")
        wrong = (balances < 0).any(axis=1) | (balances.sum(axis=1) != self.owned_total_msat)
        if wrong.any():
            index = int(wrong.argmax())
            raise TopologyError(
                f"balances of channels[{index}] must be >= 0 and add up to {self.owned_total_msat[index]:,} msat, "
                f"got {balances[index].tolist()}"
            )
        return balances.astype(np.int64)

    def nodes_of(self, route: Sequence[int]) -> list[int]:
        """Return the node indices that a route visits, the sender first.

        Args:
            route: Direction indices in order, at least one.
        """
        arrays = self.arrays
        return [int(arrays.source[route[0]]), *(int(arrays.destination[direction]) for direction in route)]

    def checked_policy(self, direction: int, policy: Policy) -> Policy:
        """Return a policy with its largest HTLC filled in, after checking that LND accepts it for a direction.

        Raises:
            InvalidAction: There is no such direction.
            TopologyError: A field is out of LND's limits.
        """
        known = 2 * len(self.channels)
        if not 0 <= direction < known:
            raise InvalidAction(
                f"expected a direction in 0..{known - 1}, got {direction}: read Topology.direction for the numbers"
            )
        channel = self.channels[direction // 2]
        ends = (channel.initiator, channel.peer) if direction % 2 == 0 else (channel.peer, channel.initiator)
        check_policy(f"the policy from {ends[0]} to {ends[1]}", policy, channel.capacity_sat)
        fields = msgspec.structs.asdict(policy)
        if policy.max_htlc_msat is None:
            fields["max_htlc_msat"] = max_value_in_flight_msat(channel.capacity_sat)
        del fields["disabled"]
        return Policy(**{field: int(value) for field, value in fields.items()}, disabled=bool(policy.disabled))

    def with_policy(self, direction: int, policy: Policy) -> Topology:
        """Return this network with another policy of one direction.

        Raises:
            InvalidAction: There is no such direction.
            TopologyError: A field of the policy is out of LND's limits.
        """
        checked = self.checked_policy(direction, policy)
        index, side = divmod(direction, 2)
        both = msgspec.structs.replace(self.policies[index], **{("initiator", "peer")[side]: checked})
        channels = list(self.channels)
        channels[index] = msgspec.structs.replace(channels[index], policies=both)
        return msgspec.structs.replace(self, channels=tuple(channels))

    def direction(self, source: str, destination: str) -> int:
        """Return the direction index of the one channel from a node to another.

        Raises:
            TopologyError: A node is unknown, no channel joins the two, or several do.
        """
        found = self.directions(source, destination)
        if len(found) > 1:
            raise TopologyError(
                f"{len(found)} channels join {source} and {destination}: choose one of the directions "
                f"{', '.join(map(str, found[:20]))}, which Topology.directions returns"
            )
        return found[0]

    def directions(self, source: str, destination: str) -> tuple[int, ...]:
        """Return the direction indices of all channels from a node to another, in channel order.

        Raises:
            TopologyError: A node is unknown, or no channel joins the two.
        """
        for name in (source, destination):
            _require_node(name, self, "a direction")
        ends = (self.node_index[source], self.node_index[destination])
        found = np.flatnonzero((self.arrays.source == ends[0]) & (self.arrays.destination == ends[1]))
        if not found.size:
            raise TopologyError(f"no channel joins {source} and {destination}")
        return tuple(found.tolist())


def _validate_nodes(nodes: tuple[str, ...]) -> None:
    """Refuse an empty network, and empty or repeated node names."""
    if len(nodes) < 2:
        raise TopologyError(f"a network needs at least 2 nodes, got {len(nodes)}")
    seen: set[str] = set()
    for index, name in enumerate(nodes):
        if not name.strip():
            raise TopologyError(f"nodes[{index}] is empty: give every node a name")
        if name in seen:
            raise TopologyError(f"nodes[{index}] repeats the name {name!r}: node names must be unique")
        seen.add(name)


def _validate_identities(topology: Topology) -> None:
    """Refuse keys or aliases that are not one for each node, and keys that are repeated or none."""
    count = len(topology.nodes)
    for field in ("public_keys", "aliases"):
        given = len(getattr(topology, field))
        if given not in {0, count}:
            raise TopologyError(f"{field} must be empty or one for each of the {count:,} nodes, got {given:,}")
    seen: set[str] = set()
    for index, key in enumerate(topology.public_keys):
        if not re.fullmatch("0[23][0-9a-f]{64}", key):
            raise TopologyError(
                f"public_keys[{index}] must be a compressed key of 66 lower-case hexadecimal digits, got {key!r:.80}"
            )
        if key in seen:
            raise TopologyError(f"public_keys[{index}] repeats the key {key}: every node has its own")
        seen.add(key)


def _require_node(name: str, topology: Topology, where: str) -> None:
    """Refuse a node name the topology does not have."""
    if name not in topology.node_index:
        raise TopologyError(
            f"{where} names an unknown node {name!r}.{did_you_mean(name, topology.nodes)} "
            f"Known nodes: {', '.join(topology.nodes[:20])}"
        )


def _validate_channel(index: int, channel: Channel, topology: Topology) -> None:
    """Refuse a channel that LND would not open, or start balances it would not allow."""
    where = f"channels[{index}]"
    for name in (channel.initiator, channel.peer):
        _require_node(name, topology, where)
    where += f" ({channel.initiator}-{channel.peer})"
    if channel.initiator == channel.peer:
        raise TopologyError(f"{where} joins a node to itself: a channel needs two different nodes")
    largest_sat = MAX_WUMBO_FUNDING_SAT if topology.wumbo else MAX_FUNDING_SAT
    if not MIN_FUNDING_SAT <= channel.capacity_sat <= largest_sat:
        wumbo_helps = largest_sat < channel.capacity_sat <= MAX_WUMBO_FUNDING_SAT
        raise TopologyError(
            f"{where}: capacity_sat must lie in {MIN_FUNDING_SAT:,}..{largest_sat:,}, got {channel.capacity_sat:,}"
            + ("; set wumbo = true for larger channels" if wumbo_helps else "")
        )
    if not 253 <= channel.fee_per_kw <= 100_000:
        raise TopologyError(f"{where}: fee_per_kw must lie in 253..100,000 sat/kw, got {channel.fee_per_kw:,}")
    _validate_start_balance(where, channel)
    if channel.policies is not None:
        for end in ("initiator", "peer"):
            check_policy(f"{where}: policies.{end}", getattr(channel.policies, end), channel.capacity_sat)


def _validate_start_balance(where: str, channel: Channel) -> None:
    """Refuse start balances below a reserve or above what the channel holds."""
    reserve_sat = int(channel_reserve_sat(channel.capacity_sat))
    total_sat = int(owned_total_sat(channel.capacity_sat, channel.fee_per_kw))
    initiator_sat = total_sat if channel.initiator_balance_sat is None else channel.initiator_balance_sat
    if not reserve_sat <= initiator_sat <= total_sat:
        raise TopologyError(
            f"{where}: initiator_balance_sat must lie between the reserve of {reserve_sat:,} sat and {total_sat:,} sat "
            f"(capacity less {commit_fee_sat(channel.fee_per_kw):,} commitment fee and {ANCHORS_SAT} anchors), "
            f"got {initiator_sat:,}"
        )
    if 0 < total_sat - initiator_sat < reserve_sat:
        raise TopologyError(
            f"{where}: initiator_balance_sat {initiator_sat:,} leaves the peer {total_sat - initiator_sat:,} sat, "
            f"below its reserve of {reserve_sat:,}: use at most {total_sat - reserve_sat:,}, or all {total_sat:,}"
        )
