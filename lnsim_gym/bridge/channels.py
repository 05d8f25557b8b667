"""What the bridge knows of the channels: balances in sat, payments so far, and their JSON, rebuilt only on change."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.bridge.frames import encode
from lnsim_gym.bridge.names import ChannelEndName, WireNames

__all__ = ["MANY_ENDS", "WINDOW", "ChannelBook"]

WINDOW: Final = 100
"""Payments over which the rolling success rate and mean amount of a channel end are taken."""


MANY_ENDS: Final = 250
"""Channels of a node beyond which messages hold only those of its channels that they are about."""


class _Traffic:
    """Payments whose first hop was one channel end."""

    __slots__ = ("_amounts", "_settled", "_window", "avg_amount", "count", "success_rate")

    def __init__(self) -> None:
        self.count = self._settled = self._amounts = 0
        self.success_rate = self.avg_amount = 0.0
        self._window: deque[tuple[bool, int]] = deque(maxlen=WINDOW)

    def add(self, settled: bool, amount: int) -> None:
        """Count a payment of an amount in sat."""
        window = self._window
        if len(window) == WINDOW:
            old_settled, old_amount = window[0]
            self._settled -= old_settled
            self._amounts -= old_amount
        window.append((settled, amount))
        self.count += 1
        self._settled += settled
        self._amounts += amount
        self.success_rate = self._settled / len(window)
        self.avg_amount = self._amounts / len(window)


class ChannelBook:
    """Balances and traffic of every channel end, as the clients are told.

    Args:
        names: The names of the network.
    """

    def __init__(self, names: WireNames) -> None:
        self.names = names
        arrays = names.topology.arrays
        self._source: list[int] = arrays.source.tolist()
        self._traffic: defaultdict[int, _Traffic] = defaultdict(_Traffic)
        self._sat: Int64 = np.full(len(names.ends), -1, np.int64)
        self._fixed_json: list[bytes] = [b""] * len(names.ends)
        self._end_template: list[bytes] = [b""] * len(names.ends)
        self._end_json = [b""] * len(names.ends)
        self._node_json: list[bytes | None] = [None] * len(names.nodes)

    def set_balances(self, balances_msat: Int64) -> list[int]:
        """Take over all balances, shape (channels, 2), and return the ends that changed by a sat or more."""
        told = self._sat
        self._sat = balances_msat.reshape(-1) // 1000
        changed: list[int] = np.flatnonzero(told != self._sat).tolist()
        for end in changed:
            self._forget(end & ~1)
        return changed

    def update(self, channels: Iterable[int], balances_msat: Int64) -> None:
        """Take over the balances of some channels."""
        for channel in channels:
            end = 2 * channel
            local = balances_msat.item(end) // 1000
            remote = balances_msat.item(end + 1) // 1000
            if self._sat.item(end) != local or self._sat.item(end + 1) != remote:
                self._sat[end] = local
                self._sat[end + 1] = remote
                self._forget(end)

    def balances_sat(self) -> Int64:
        """Return a copy of the balances by channel end, in sat, shape (ends,)."""
        return self._sat.copy()

    def count_payment(self, end: int, settled: bool, amount: int) -> None:
        """Count a payment whose first hop was a channel end."""
        self._traffic[end].add(settled, amount)

    def first_hop(self, source: int, destination: int) -> int:
        """Return the channel end that speaks for a payment without a route.

        That is the sender's end of the channel to the receiver; failing that, its fullest; for a sender without
        channels, the first end of the network.
        """
        direct = self.names.direction(source, destination)
        if direct is not None:
            return direct
        return max(self.names.ends_of[source], key=self._sat.item, default=0)

    def flat(self, end: int) -> dict[str, Any]:
        """Return the flat fields of a channel end."""
        fields: dict[str, Any] = msgspec.json.decode(b"{" + self.flat_json(end) + b"}")
        return fields

    def flat_json(self, end: int) -> bytes:
        """Return the flat fields of a channel end as the members of a JSON object, without its braces."""
        local = self._sat.item(end)
        traffic = self._traffic[end]
        if not self._fixed_json[end]:
            name = self.names.ends[end]
            fixed = {"node": name.node, "channel_id": name.channel_id, "remote_pubkey": name.remote_pubkey}
            self._fixed_json[end] = encode({**fixed, "capacity": name.capacity})[1:-1]
        return (
            b'%b,"local_balance":%d,"remote_balance":%d,"balance_ratio":%a,'
            b'"tx_count":%d,"success_rate":%a,"avg_amount":%a'
        ) % (
            self._fixed_json[end],
            local,
            self._sat.item(end ^ 1),
            local / self.names.ends[end].capacity,
            traffic.count,
            traffic.success_rate,
            traffic.avg_amount,
        )

    def channels_json(self, *nodes: int, about: Iterable[int] = ()) -> bytes:
        """Return the channels of some nodes by name.

        Args:
            nodes: The nodes, by index.
            about: Channel ends to tell of nodes with more than ``MANY_ENDS`` of them; of others, all are told.
        """
        return b"{%b}" % b",".join([self._node(node, about) for node in nodes])

    def parts_json(self, ends_per_part: int) -> Iterator[bytes]:
        """Yield the channels of all nodes by name, at most so many channel ends at a time."""
        part: list[bytes] = []
        room = ends_per_part
        for node, ends in enumerate(self.names.ends_of):
            for first in range(0, max(len(ends), 1), ends_per_part):
                rest = ends[first : first + ends_per_part]
                if len(rest) > room:
                    yield b"{%b}" % b",".join(part)
                    part, room = [], ends_per_part
                part.append(self._named(node, rest))
                room -= len(rest)
        yield b"{%b}" % b",".join(part)

    def _forget(self, end: int) -> None:
        """Forget the JSON of a channel, given by its initiator's end; each end's holds both balances."""
        self._end_json[end] = self._end_json[end + 1] = b""
        self._node_json[self._source[end]] = self._node_json[self._source[end + 1]] = None

    def _node(self, node: int, about: Iterable[int]) -> bytes:
        """Return ``"name":[ends]`` of a node."""
        ends = self.names.ends_of[node]
        if len(ends) > MANY_ENDS:
            return self._named(node, [end for end in about if self._source[end] == node])
        known = self._node_json[node]
        if known is None:
            known = self._node_json[node] = self._named(node, ends)
        return known

    def _named(self, node: int, ends: list[int]) -> bytes:
        """Return ``"name":[ends]`` for some ends of a node."""
        encoded = b",".join([self._end_json[end] or self._encode_end(end) for end in ends])
        return encode(self.names.nodes[node]) + b":[" + encoded + b"]"

    def _encode_end(self, end: int) -> bytes:
        """Encode a channel end."""
        if not self._end_template[end]:
            self._end_template[end] = _end_template(self.names.ends[end])
        encoded = self._end_json[end] = self._end_template[end] % (self._sat.item(end), self._sat.item(end ^ 1))
        return encoded


def _end_template(name: ChannelEndName) -> bytes:
    """Return what makes the JSON of a ``ChannelEnd`` from its two balances."""
    names = ("channel_id", "remote_pubkey", "remote_alias", "capacity")
    fixed = encode({key: getattr(name, key) for key in names})[:-1].replace(b"%", b"%%")
    return fixed + b',"local_balance":%d,"remote_balance":%d}'
