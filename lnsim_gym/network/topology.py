"""The topology: which nodes exist, which channels join them, and which policies (``policies``) they have.

A ``Topology`` is validated when it is made and never changes. It offers itself as columns (``arrays``) to
whatever computes on it. Current balances are not part of it: those belong to the backends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.errors import InvalidAction, TopologyError, did_you_mean, warn
from lnsim_gym.network import cutting
from lnsim_gym.network.channel import (
    MAX_FUNDING_SAT,
    MAX_WUMBO_FUNDING_SAT,
    MIN_FUNDING_SAT,
    Channel,
    check_channel,
)
from lnsim_gym.network.columns import NetworkArrays, are_integers, columns_of, unsound_channels
from lnsim_gym.network.limits import max_value_in_flight_msat, owned_total_sat, spendable_msat
from lnsim_gym.network.names import unprintable, without_surrogates
from lnsim_gym.network.policies import ChannelPolicies, Policy, check_policy, default_fee_bases_msat
from lnsim_gym.schema import convert

__all__ = [
    "MAX_FUNDING_SAT",
    "MAX_WUMBO_FUNDING_SAT",
    "MIN_FUNDING_SAT",
    "Channel",
    "NetworkArrays",
    "Topology",
    "unconnected_is_fine",
]

_unconnected_is_fine: ContextVar[bool] = ContextVar("unconnected_is_fine", default=False)


@contextmanager
def unconnected_is_fine() -> Iterator[None]:
    """Let topologies be disconnected without a warning, while more is done to them."""
    token = _unconnected_is_fine.set(True)
    try:
        yield
    finally:
        _unconnected_is_fine.reset(token)


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
        for index in _suspects(self):
            channel, where = self.channels[index], f"channels[{index}]"
            for name in (channel.initiator, channel.peer):
                _require_node(name, self, where)
            check_channel(f"{where} ({channel.initiator}-{channel.peer})", channel, wumbo=self.wumbo)
        if not _unconnected_is_fine.get():
            self.warn_if_disconnected()

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return itself, which never changes."""
        return self

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

    def warn_if_disconnected(self) -> None:
        """Warn of a network in several parts."""
        if not self.is_connected:
            warn("the topology is disconnected: some payments can never succeed")

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
        return not cutting.component_of(self.ends, len(self.nodes)).any()

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
        if all(channel.policies is not None for channel in self.channels):
            return tuple(channel.policies for channel in self.channels if channel.policies is not None)
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
        return columns_of(self.channels, self.policies, self.node_index)

    @cached_property
    def node_capacity_sat(self) -> Float64:
        """Capacity of all channels of each node in sat, shape (nodes,)."""
        arrays = self.arrays
        total = np.bincount(arrays.source, np.repeat(arrays.capacity_sat, 2), minlength=len(self.nodes))
        return total.astype(np.float64)

    def policy(self, direction: int) -> Policy:
        """Return the policy of a direction."""
        both = self.policies[direction // 2]
        return both.initiator if direction % 2 == 0 else both.peer

    @property
    def ends(self) -> Int64:
        """Indices of the initiator and the peer of each channel, shape (channels, 2)."""
        return self.arrays.source.reshape(-1, 2)

    @cached_property
    def owned_total_msat(self) -> Int64:
        """Msat that both sides of each idle channel own together, shape (channels,): the conserved quantity."""
        arrays = self.arrays
        total: Int64 = 1000 * owned_total_sat(arrays.capacity_sat, arrays.fee_per_kw)
        return total

    @cached_property
    def given_initiator_msat(self) -> Int64:
        """Start balance of each initiator in msat where one is given, else -1, shape (channels,)."""
        given = (channel.initiator_balance_sat for channel in self.channels)
        return np.array([-1 if sat is None else 1000 * sat for sat in given], np.int64)

    def start_balances_msat(self) -> Int64:
        """Balances at channel open in msat, shape (channels, 2), initiator first."""
        given_msat = self.given_initiator_msat
        initiator_msat = np.where(given_msat == -1, self.owned_total_msat, given_msat)
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
        return self.with_policies({direction: policy})

    def with_policies(self, policies: Mapping[int, Policy]) -> Topology:
        """Return this network with other policies of some directions.

        Raises:
            InvalidAction: There is no such direction.
            TopologyError: A field of a policy is out of LND's limits.
        """
        channels = list(self.channels)
        changed: dict[int, ChannelPolicies] = {}
        for direction, policy in policies.items():
            checked = self.checked_policy(direction, policy)
            index, side = divmod(direction, 2)
            both = changed.get(index, self.policies[index])
            changed[index] = msgspec.structs.replace(both, **{("initiator", "peer")[side]: checked})
        for index, both in changed.items():
            channels[index] = msgspec.structs.replace(channels[index], policies=both)
        return msgspec.structs.replace(self, channels=tuple(channels)) if changed else self

    def find_node(self, text: str) -> int:
        """Return the index of a node by its name, its public key or its alias.

        Raises:
            TopologyError: No node is called so, or several have that alias.
        """
        if text in self.node_index:
            return self.node_index[text]
        if text.lower() in self.public_keys:
            return self.public_keys.index(text.lower())
        found = [index for index, alias in enumerate(self.aliases) if alias == text]
        if len(found) > 1:
            raise TopologyError(f"{len(found)} nodes have the alias {text!r}: choose one by its public key")
        if not found:
            _require_node(text, self, "the request")
        return found[0]

    def cut(self, *cuts: str) -> Topology:
        """Return the part of the network that some cuts leave, one after the other; nodes without a channel go.

        What stays is as it was: policies, default ones too, balances, keys and the order.

        Args:
            cuts: ``"around(NODE, hops)"``, the channels between nodes at most so many hops from one (named by its
                name, public key or alias); ``"core(k)"``, between nodes that each have k peers among themselves;
                ``"largest(n)"``, between the n nodes of largest capacity; ``"component"``, of the largest connected
                part; ``"min_capacity(sat)"``, of at least that capacity.

        Raises:
            TopologyError: A cut is unknown or leaves nothing.
        """
        with unconnected_is_fine():
            topology = self
            for text in cuts:
                topology = topology._keep(_kept(topology, cutting.parse_cut(text)), text)
        if topology is not self and not _unconnected_is_fine.get():
            topology.warn_if_disconnected()
        return topology

    def around(self, node: str, hops: int) -> Topology:
        """Return the part within some hops of a node; see ``cut``."""
        return self.cut(f"around({node}, {hops})")

    def core(self, degree: int) -> Topology:
        """Return the part in which every node has at least so many peers; see ``cut``."""
        return self.cut(f"core({degree})")

    def largest(self, nodes: int) -> Topology:
        """Return the part between the nodes of largest capacity; see ``cut``."""
        return self.cut(f"largest({nodes})")

    def component(self) -> Topology:
        """Return the largest connected part; see ``cut``."""
        return self.cut("component")

    def min_capacity(self, capacity_sat: int) -> Topology:
        """Return the part of channels with at least some capacity in sat; see ``cut``."""
        return self.cut(f"min_capacity({capacity_sat})")

    def _keep(self, kept: Bool, cut: str) -> Topology:
        """Return the network of some of the channels, mask of shape (channels,)."""
        if kept.all() and len(np.unique(self.ends)) == len(self.nodes):
            return self
        if not kept.any():
            raise TopologyError(
                f"the cut {cut!r} leaves nothing of {len(self.nodes):,} nodes and {len(self.channels):,} channels: "
                "ask for less"
            )
        nodes = np.unique(self.ends[kept]).tolist()
        policies = self.policies

        def chosen(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[node] for node in nodes) if values else ()

        return msgspec.structs.replace(
            self,
            nodes=chosen(self.nodes),
            channels=tuple(
                msgspec.structs.replace(self.channels[index], policies=policies[index])
                for index in np.flatnonzero(kept).tolist()
            ),
            public_keys=chosen(self.public_keys),
            aliases=chosen(self.aliases),
        )

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


def _kept(topology: Topology, cut: cutting.Cut) -> Bool:
    """Return the channels that a cut leaves, mask of shape (channels,)."""
    ends, nodes, capacity_sat = topology.ends, len(topology.nodes), topology.arrays.capacity_sat
    if cut.name == "around":
        return cutting.around(ends, nodes, topology.find_node(cut.node), cut.number)
    if cut.name == "core":
        return cutting.core(ends, nodes, cut.number)
    if cut.name == "largest":
        return cutting.largest(ends, nodes, cut.number, capacity_sat)
    if cut.name == "component":
        parts = cutting.component_of(ends, nodes)
        largest: Bool = parts[ends[:, 0]] == np.bincount(parts).argmax()
        return largest
    large: Bool = capacity_sat >= cut.number
    return large


def _validate_nodes(nodes: tuple[str, ...]) -> None:
    """Refuse an empty network, and node names that are empty, repeated or not printable."""
    if len(nodes) < 2:
        raise TopologyError(f"a network needs at least 2 nodes, got {len(nodes)}")
    seen: set[str] = set()
    for index, name in enumerate(nodes):
        if not name.strip():
            raise TopologyError(f"nodes[{index}] is empty: give every node a name")
        if name in seen:
            raise TopologyError(f"nodes[{index}] repeats the name {name!r}: node names must be unique")
        if (character := unprintable(name)) is not None:
            raise TopologyError(
                f"nodes[{index}] is named {name!a:.100} with the character U+{ord(character):04X}, which cannot be "
                "printed: name it without, and keep what it calls itself in aliases"
            )
        seen.add(name)


def _validate_identities(topology: Topology) -> None:
    """Refuse keys or aliases that are not one for each node, and keys that are repeated or none."""
    count = len(topology.nodes)
    for field in ("public_keys", "aliases"):
        given = len(getattr(topology, field))
        if given not in {0, count}:
            raise TopologyError(f"{field} must be empty or one for each of the {count:,} nodes, got {given:,}")
    for index, alias in enumerate(topology.aliases):
        if without_surrogates(alias) != alias:
            raise TopologyError(
                f"aliases[{index}] holds half a character, got {alias!a:.100}: write U+FFFD in its place"
            )
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


def _suspects(topology: Topology) -> Iterable[int]:
    """Return the channels that need a closer look: all of them, unless the columns can tell which are unsound."""
    try:
        arrays = topology.arrays
        if are_integers(topology.channels, topology.policies):
            start_msat = topology.start_balances_msat()
            return unsound_channels(arrays, topology.owned_total_msat, start_msat[:, 0], wumbo=topology.wumbo)
    except (KeyError, TypeError, ValueError, OverflowError):
        pass  # whatever no column can hold is refused with its place when the channels are looked at one by one
    return range(len(topology.channels))
