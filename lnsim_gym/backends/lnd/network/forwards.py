"""Which channels settled HTLCs really went over, from the forwarding histories of the nodes that passed them on.

A forwarder takes any of its channels to the next node that can carry an HTLC, at random (LND's ``handlePacketAdd`` in
htlcswitch/switch.go): where channels are parallel, a sender's route says which nodes and amounts, not which channels.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.backends.lnd.rpc.thread import gather
from lnsim_gym.errors import BackendError, BackendTimeout, LedgerMismatch

__all__ = ["ForwardingHistory", "Forwards", "HtlcKey"]

_PAGE: Final = 50_000
"""Most events that LND returns at once."""
_OVERLAP_S: Final = 5
"""Events are not written down exactly in the order of their times, and asked for from a whole second on."""
_READ_WITHIN_S: Final = 60.0
"""Longest time that all pages of a history may take: millions of events."""
_WRITTEN_WITHIN_S: Final = 2.0
"""Longest wait for events that lnd is just writing to its database."""

HtlcKey = tuple[int, int]
"""Short channel id, and the HTLC's number among those that one end added to that channel."""


class ForwardingHistory:
    """What a node forwarded, each event told once.

    Args:
        client: The node.
    """

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self._seen_s: dict[HtlcKey, int] = {}
        """The events seen lately by their incoming HTLC, with the second in which they happened."""
        self._asking = asyncio.Lock()

    async def fresh(self) -> dict[HtlcKey, lightning_pb2.ForwardingEvent]:
        """Return the events that were not told before, by their incoming HTLC, one question after the other.

        Whoever asks while events are on their way to lnd's database gets those before them only.

        Raises:
            BackendLost: The node is gone or hangs.
        """
        async with self._asking:
            return await self._ask()

    async def _ask(self) -> dict[HtlcKey, lightning_pb2.ForwardingEvent]:
        """Ask for the latest events, and return those not seen before."""
        latest_s = max(self._seen_s.values(), default=0)
        request = lightning_pb2.ForwardingHistoryRequest(start_time=max(0, latest_s - _OVERLAP_S), num_max_events=_PAGE)
        fresh: dict[HtlcKey, lightning_pb2.ForwardingEvent] = {}
        deadline = time.monotonic() + _READ_WITHIN_S
        while True:
            answer = await self._client.call(rpc.FORWARDING_HISTORY, request)
            for event in answer.forwarding_events:
                key = (event.chan_id_in, self._incoming_id(event))
                if key not in self._seen_s:
                    self._seen_s[key] = event.timestamp_ns // 10**9
                    fresh[key] = event
            if len(answer.forwarding_events) < _PAGE:
                break
            if answer.last_offset_index <= request.index_offset or time.monotonic() > deadline:
                raise BackendTimeout(
                    f"expected {self._client.name} to tell of all that it forwarded within {_READ_WITHIN_S:g} s, it "
                    "goes on without end: see that it is an lnd"
                )
            request.index_offset = answer.last_offset_index
        latest_s = max(self._seen_s.values(), default=0)
        self._seen_s = {key: second for key, second in self._seen_s.items() if second >= latest_s - _OVERLAP_S}
        return fresh

    def _incoming_id(self, event: lightning_pb2.ForwardingEvent) -> int:
        """Return the number of an event's incoming HTLC, which lnd tells since v0.20."""
        if not event.HasField("incoming_htlc_id"):
            raise BackendError(
                f"expected {self._client.name} to number the HTLCs in its forwarding history, it does not: parallel "
                "channels and a node of one's own need lnd v0.20 or newer, and no forwards of older ones in its history"
            )
        return event.incoming_htlc_id


class Forwards:
    """Finds the channels of settled HTLCs; costs nothing where no channels are parallel.

    Args:
        network: The network.
    """

    def __init__(self, network: LiveNetwork) -> None:
        self._network = network
        self._pending: dict[int, dict[HtlcKey, lightning_pb2.ForwardingEvent]] = {}
        self._histories: dict[int, ForwardingHistory] = {}

    async def skip_past(self) -> None:
        """Leave what was forwarded until now out of account."""
        if self._network.has_parallel_channels:
            await gather(self._read(node) for node in range(len(self._network.clients)))
            self.forget()

    def forget(self) -> None:
        """Drop events that belong to no route asked about; what is asked about next settles later than now."""
        self._pending.clear()

    async def directions(self, route: lightning_pb2.Route) -> list[int]:
        """Return the direction index of every hop that a settled HTLC made, each HTLC once.

        HTLCs of the same amounts over the same nodes may be taken for each other: balances are the same either way.

        Args:
            route: As its sender chose it.

        Raises:
            LedgerMismatch: The forwarders do not know the HTLC.
            BackendLost: A forwarder is gone or hangs.
        """
        planned = self._network.directions(route)
        left_open = [hop for hop in range(1, len(planned)) if len(self._network.beside(planned[hop])) > 1]
        if not left_open:
            return planned
        source = self._network.topology.arrays.source
        choosing = planned[1 : left_open[-1] + 1]
        forwarders = [int(source[direction]) for direction in choosing]
        amounts_msat = [route.total_amt_msat, *(hop.amt_to_forward_msat for hop in route.hops)]
        deadline = time.monotonic() + _WRITTEN_WITHIN_S
        while not (chosen := self._find(planned[0], choosing, amounts_msat)):
            if time.monotonic() > deadline:
                raise LedgerMismatch(
                    f"expected {', '.join(self._network.clients[node].name for node in forwarders)} to know over which "
                    f"channels they forwarded {amounts_msat[0]:,} msat, their histories do not: reset the network"
                )
            await gather(self._read(node) for node in forwarders)
        return [planned[0], *chosen, *planned[left_open[-1] + 1 :]]

    def _find(self, first: int, planned: list[int], amounts_msat: list[int]) -> list[int] | None:
        """Take the events of an HTLC of these amounts, and return the directions chosen; None when some are missing."""
        arrays = self._network.topology.arrays
        first_chan_id = self._network.channels[first // 2].chan_id
        for key in list(self._pending.get(int(arrays.destination[first]), ())):
            if key[0] == first_chan_id and (chosen := self._follow(key, planned, amounts_msat)):
                return chosen
        return None

    def _follow(self, key: HtlcKey, planned: list[int], amounts_msat: list[int]) -> list[int] | None:
        """Follow an HTLC from forwarder to forwarder, and take its events; None when it is another one."""
        arrays = self._network.topology.arrays
        taken: list[tuple[int, HtlcKey]] = []
        chosen: list[int] = []
        for hop, direction in enumerate(planned):
            node = int(arrays.source[direction])
            event = self._pending.get(node, {}).get(key)
            if event is None or [event.amt_in_msat, event.amt_out_msat] != amounts_msat[hop : hop + 2]:
                return None
            taken.append((node, key))
            chosen.append(self._network.direction_to(event.chan_id_out, int(arrays.destination[direction])))
            if chosen[-1] < 0:
                return None
            key = (event.chan_id_out, event.outgoing_htlc_id)
        for node, mine in taken:
            del self._pending[node][mine]
        return chosen

    async def _read(self, node: int) -> None:
        """Add what a node forwarded since it was asked last."""
        history = self._histories.setdefault(node, ForwardingHistory(self._network.clients[node]))
        self._pending.setdefault(node, {}).update(await history.fresh())
