"""How nodes and channel ends are called on the wire, and back.

A node ``alice`` is ``lnd-alice``, the name of its container. A channel end is called after its node and the first 8
hex digits of the peer's public key. Nothing here knows balances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.network.keys import public_keys_of

__all__ = ["ChannelEndName", "WireNames"]

_PREFIX = "lnd-"


@dataclass(frozen=True, slots=True)
class ChannelEndName:
    """What never changes about one end of a channel."""

    node: str
    """Wire name of the node whose end it is."""
    channel_id: str
    remote_pubkey: str
    remote_alias: str
    """Wire name of the peer."""
    capacity: int
    """In sat."""


class WireNames:
    """The names of a topology on the wire.

    A channel end has the index of the direction that it sends over, as in ``NetworkArrays``.

    A node whose public key is not known has a stable stand-in, which is never a real key.

    Args:
        topology: The network.

    Raises:
        ConfigError: Two nodes would be called the same.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.nodes = tuple(name if name.startswith(_PREFIX) else _PREFIX + name for name in topology.nodes)
        if len(set(self.nodes)) < len(self.nodes):
            raise ConfigError(f"expected node names that differ with the prefix {_PREFIX!r}, got {topology.nodes}")
        self.public_keys: tuple[str, ...] = ()
        """Public keys by node index, in hex."""
        self.ends: tuple[ChannelEndName, ...] = ()
        """Names by channel end."""
        self.learn({})
        arrays = topology.arrays
        pairs = list(zip(arrays.source.tolist(), arrays.destination.tolist(), strict=True))
        self._direction = {pair: direction for direction, pair in enumerate(pairs)}
        self.ends_of: tuple[list[int], ...] = tuple([] for _ in self.nodes)
        """Channel ends of each node, in the order of the channels."""
        for direction, (source, _) in enumerate(pairs):
            self.ends_of[source].append(direction)
        self._index = {**topology.node_index, **{name: index for index, name in enumerate(self.nodes)}}

    def learn(self, public_keys: Mapping[str, str]) -> bool:
        """Take over public keys by node name; return whether anything is called otherwise than before."""
        known = tuple(public_keys.get(name) or key for name, key in public_keys_of(self.topology).items())
        changed = known != self.public_keys
        if changed:
            self.public_keys = known
            self.ends = tuple(self._end(direction) for direction in range(2 * len(self.topology.channels)))
        return changed

    def node_index(self, name: str) -> int | None:
        """Return the index of a node by its wire name or its plain name, None when there is none."""
        return self._index.get(name)

    def direction(self, source: int, destination: int) -> int | None:
        """Return the direction from a node to another over the channel they share, None when they share none."""
        return self._direction.get((source, destination))

    def route(self, directions: tuple[int, ...]) -> list[str]:
        """Return the nodes of a route in order, none for an empty route."""
        return [self.nodes[node] for node in self.topology.nodes_of(directions)] if directions else []

    def _end(self, direction: int) -> ChannelEndName:
        """Name a channel end."""
        arrays = self.topology.arrays
        node = int(arrays.source[direction])
        peer = int(arrays.destination[direction])
        return ChannelEndName(
            node=self.nodes[node],
            channel_id=f"{self.nodes[node]}_{self.public_keys[peer][:8]}",
            remote_pubkey=self.public_keys[peer],
            remote_alias=self.nodes[peer],
            capacity=int(arrays.capacity_sat[direction // 2]),
        )
