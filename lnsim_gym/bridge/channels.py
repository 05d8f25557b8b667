"""What the bridge knows of the channels: balances in sat, payments so far, and their JSON, made anew only on change."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from lnsim_gym.bridge.frames import encode
from lnsim_gym.bridge.messages import ChannelEnd
from lnsim_gym.bridge.names import WireNames

__all__ = ["WINDOW", "ChannelBook"]

WINDOW: Final = 100
"""Payments over which the rolling success rate and mean amount of a channel end are taken."""

Int64 = npt.NDArray[np.int64]


class _Traffic:
    """Payments whose first hop was one channel end."""

    __slots__ = ("_amounts", "_settled", "_window", "count")

    def __init__(self) -> None:
        self.count = self._settled = self._amounts = 0
        self._window: deque[tuple[bool, int]] = deque(maxlen=WINDOW)

    def add(self, settled: bool, amount: int) -> None:
        """Count a payment of an amount in sat."""
        if len(self._window) == WINDOW:
            old_settled, old_amount = self._window[0]
            self._settled -= old_settled
            self._amounts -= old_amount
        self._window.append((settled, amount))
        self.count += 1
        self._settled += settled
        self._amounts += amount

    def fields(self) -> dict[str, Any]:
        """Return the rolling fields of the envelope."""
        payments = len(self._window) or 1
        return {
            "tx_count": self.count,
            "success_rate": self._settled / payments,
            "avg_amount": self._amounts / payments,
        }


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
        self._end_json = [b""] * len(names.ends)
        self._node_json: list[bytes | None] = [None] * len(names.nodes)

    def set_balances(self, balances_msat: Int64) -> list[int]:
        """Take over all balances, shape (channels, 2), and return the ends that changed by a sat or more."""
        return self._take((balances_msat.reshape(-1) // 1000).tolist(), range(len(self._sat)))

    def update(self, channels: Iterable[int], balances_msat: Int64) -> None:
        """Take over the balances of some channels."""
        flat_sat = {end: int(balances_msat[end >> 1, end & 1]) // 1000 for c in channels for end in (2 * c, 2 * c + 1)}
        self._take(flat_sat, flat_sat)

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
        name = self.names.ends[end]
        local = self._sat[end]
        return {
            "node": name.node,
            "channel_id": name.channel_id,
            "remote_pubkey": name.remote_pubkey,
            "capacity": name.capacity,
            "local_balance": local,
            "remote_balance": self._sat[end ^ 1],
            "balance_ratio": local / name.capacity,
            **self._traffic[end].fields(),
        }

    def channels_json(self, *nodes: int) -> Any:
        """Return the channels of some nodes, already encoded, to stand in a message."""
        return msgspec.Raw(b"{" + b",".join([self._node(node) for node in nodes]) + b"}")

    def _take(self, sat: Any, ends: Iterable[int]) -> list[int]:
        """Take over balances by channel end, in sat, and forget the JSON of those that changed."""
        changed = [end for end in ends if self._sat[end] != sat[end]]
        for end in changed:
            self._sat[end] = sat[end]
        # Each end's JSON holds both balances, so both ends are made anew when either changed.
        for end in {end ^ flip for end in changed for flip in (0, 1)}:
            self._end_json[end] = b""
            self._node_json[self._source[end]] = None
        return changed

    def _node(self, node: int) -> bytes:
        """Return ``"name":[ends]`` of a node."""
        known = self._node_json[node]
        if known is None:
            ends = b",".join([self._end_json[end] or self._encode_end(end) for end in self.names.ends_of[node]])
            known = self._node_json[node] = encode(self.names.nodes[node]) + b":[" + ends + b"]"
        return known

    def _encode_end(self, end: int) -> bytes:
        """Encode a channel end."""
        name = self.names.ends[end]
        encoded = self._end_json[end] = encode(
            ChannelEnd(
                channel_id=name.channel_id,
                remote_pubkey=name.remote_pubkey,
                remote_alias=name.remote_alias,
                capacity=name.capacity,
                local_balance=self._sat[end],
                remote_balance=self._sat[end ^ 1],
            )
        )
        return encoded
