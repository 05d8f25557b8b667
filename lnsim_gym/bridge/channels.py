"""What the bridge knows of the channels: balances in sat, payments so far, and their JSON, rebuilt only on change."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from lnsim_gym.arrays import Int64
from lnsim_gym.bridge.frames import encode
from lnsim_gym.bridge.names import ChannelEndName, WireNames

__all__ = ["WINDOW", "ChannelBook"]

WINDOW: Final = 100
"""Payments over which the rolling success rate and mean amount of a channel end are taken."""


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
        self._traffic = [_Traffic() for _ in names.ends]
        self._sat = [-1] * len(names.ends)
        self._fixed_json = [
            encode({name: getattr(end, name) for name in ("node", "channel_id", "remote_pubkey", "capacity")})[1:-1]
            for end in names.ends
        ]
        self._end_template = [_end_template(end) for end in names.ends]
        self._end_json = [b""] * len(names.ends)
        self._node_json: list[bytes | None] = [None] * len(names.nodes)

    def set_balances(self, balances_msat: Int64) -> list[int]:
        """Take over all balances, shape (channels, 2), and return the ends that changed by a sat or more."""
        told = self._sat
        self._sat = (balances_msat.reshape(-1) // 1000).tolist()
        changed = [end for end, (before, after) in enumerate(zip(told, self._sat, strict=True)) if before != after]
        for end in changed:
            self._forget(end & ~1)
        return changed

    def update(self, channels: Iterable[int], balances_msat: Int64) -> None:
        """Take over the balances of some channels."""
        for channel in channels:
            end = 2 * channel
            local = balances_msat.item(end) // 1000
            remote = balances_msat.item(end + 1) // 1000
            if self._sat[end] != local or self._sat[end + 1] != remote:
                self._sat[end] = local
                self._sat[end + 1] = remote
                self._forget(end)

    def balances_sat(self) -> list[int]:
        """Return the balances by channel end, in sat."""
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
        return max(self.names.ends_of[source], key=self._sat.__getitem__, default=0)

    def flat(self, end: int) -> dict[str, Any]:
        """Return the flat fields of a channel end."""
        fields: dict[str, Any] = msgspec.json.decode(b"{" + self.flat_json(end) + b"}")
        return fields

    def flat_json(self, end: int) -> bytes:
        """Return the flat fields of a channel end as the members of a JSON object, without its braces."""
        local = self._sat[end]
        traffic = self._traffic[end]
        return (
            b'%b,"local_balance":%d,"remote_balance":%d,"balance_ratio":%a,'
            b'"tx_count":%d,"success_rate":%a,"avg_amount":%a'
        ) % (
            self._fixed_json[end],
            local,
            self._sat[end ^ 1],
            local / self.names.ends[end].capacity,
            traffic.count,
            traffic.success_rate,
            traffic.avg_amount,
        )

    def channels_json(self, *nodes: int) -> bytes:
        """Return the channels of some nodes as a JSON object."""
        return b"{%b}" % b",".join([self._node(node) for node in nodes])

    def _forget(self, end: int) -> None:
        """Forget the JSON of a channel, given by its initiator's end; each end's holds both balances."""
        self._end_json[end] = self._end_json[end + 1] = b""
        self._node_json[self._source[end]] = self._node_json[self._source[end + 1]] = None

    def _node(self, node: int) -> bytes:
        """Return ``"name":[ends]`` of a node."""
        known = self._node_json[node]
        if known is None:
            ends = b",".join([self._end_json[end] or self._encode_end(end) for end in self.names.ends_of[node]])
            known = self._node_json[node] = encode(self.names.nodes[node]) + b":[" + ends + b"]"
        return known

    def _encode_end(self, end: int) -> bytes:
        """Encode a channel end."""
        encoded = self._end_json[end] = self._end_template[end] % (self._sat[end], self._sat[end ^ 1])
        return encoded


def _end_template(name: ChannelEndName) -> bytes:
    """Return what makes the JSON of a ``ChannelEnd`` from its two balances."""
    names = ("channel_id", "remote_pubkey", "remote_alias", "capacity")
    fixed = encode({key: getattr(name, key) for key in names})[:-1].replace(b"%", b"%%")
    return fixed + b',"local_balance":%d,"remote_balance":%d}'
