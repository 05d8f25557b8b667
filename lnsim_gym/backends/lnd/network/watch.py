"""What a node sees of the HTLCs that come through it: its ForwardingHistory, and its SubscribeHtlcEvents.

Both come a moment after a payment ended. How many there must be is known from the senders, whose attempts say which
forwarder failed them: counts are complete when the node has told of as many.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.lnd.network.forwards import ForwardingHistory
from lnsim_gym.backends.lnd.network.live import POLL_S, LiveNetwork
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2, router_pb2
from lnsim_gym.errors import BackendError, BackendLost, BackendTimeout, LedgerMismatch
from lnsim_gym.payments import (
    FAILED_AFTERWARDS,
    FAILED_FEE,
    FAILED_LIQUIDITY,
    FAILED_OTHERWISE,
    FEE_EARNED_MSAT,
    FEE_SOURCED_MSAT,
    FORWARD_COUNTS,
    FORWARDED_IN,
    FORWARDED_IN_MSAT,
    FORWARDED_OUT,
    FORWARDED_OUT_MSAT,
)

__all__ = ["NodeWatch"]

_BY_FAILURE: Final = {15: FAILED_LIQUIDITY, 12: FAILED_FEE}
"""Column by failure code (BOLT 4): temporary_channel_failure, fee_insufficient."""


class NodeWatch:
    """Counts what one node forwards, by its own account.

    Args:
        network: The network.
        node: Index of the node.
    """

    def __init__(self, network: LiveNetwork, node: int) -> None:
        self._network = network
        self._node = node
        self._client = network.clients[node]
        self._history = ForwardingHistory(self._client)
        self._channel_by_id = {channel.chan_id: index for index, channel in enumerate(network.channels)}
        self._counts = self._nothing()
        self._expected = np.zeros(3, np.int64)
        """HTLCs that the node settled, refused, and saw refused by others, as their senders say."""
        self._subscribed = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    async def begin(self, timeout_s: float) -> None:
        """Listen from now on, and leave what was forwarded until now out of account.

        Args:
            timeout_s: Longest wait in seconds until the node says that it tells of its HTLCs.

        Raises:
            BackendTimeout: It does not say so in time.
            BackendLost: The node is gone or hangs.
        """
        await self._history.fresh()
        self._listener = asyncio.create_task(self._listen())
        waiting = asyncio.create_task(self._subscribed.wait())
        done, _ = await asyncio.wait({self._listener, waiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not done:
            raise BackendTimeout(
                f"expected {self._client.name} to begin to tell of its HTLCs within {timeout_s:g} s, it did not: "
                "the node hangs; reset the network"
            )
        self._refuse_silence()

    def expect(self, attempts: Iterable[lightning_pb2.HTLCAttempt]) -> None:
        """Take in what a sender says of its attempts."""
        source = self._network.topology.arrays.source
        for attempt in attempts:
            nodes = source[self._network.directions(attempt.route)].tolist()
            if self._node not in nodes[1:]:
                continue
            hop, failed_at = nodes.index(self._node, 1), attempt.failure.failure_source_index
            if attempt.status == lightning_pb2.HTLCAttempt.SUCCEEDED:
                self._expected[0] += 1
            elif failed_at >= hop:
                self._expected[1 if failed_at == hop else 2] += 1

    async def take(self, timeout_s: float) -> Int64:
        """Return what was counted since this was called last, and begin anew.

        Args:
            timeout_s: Longest wait in seconds until the node has told of all.

        Returns:
            Shape (channels, len(FORWARD_COUNTS)).

        Raises:
            LedgerMismatch: The node tells of fewer or more than the senders.
            BackendLost: It is gone or hangs.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._refuse_silence()
            for event in (await self._history.fresh()).values():
                self._count_settled(event)
            told = self._told()
            if np.array_equal(told, self._expected):
                break
            if time.monotonic() > deadline:
                raise LedgerMismatch(
                    f"expected {self._client.name} to tell of {self._expected.tolist()} HTLCs that it settled, refused "
                    f"and saw refused by others, it tells of {told.tolist()}: payments were made from outside, or it "
                    "hangs; reset the network"
                )
            await asyncio.sleep(POLL_S)
        counts, self._counts = self._counts, self._nothing()
        self._expected[:] = 0
        return counts

    async def close(self) -> None:
        """Stop listening; harmless when that was done already."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})
            self._listener = None

    async def _listen(self) -> None:
        """Count what the node tells of HTLCs that failed, until it is gone."""
        events = self._client.stream(rpc.SUBSCRIBE_HTLC_EVENTS, router_pb2.SubscribeHtlcEventsRequest(), None, None)
        async for event in events:
            kind = event.WhichOneof("event")
            if kind == "subscribed_event":
                self._subscribed.set()
            channel = self._channel_by_id.get(event.outgoing_channel_id)
            if event.event_type != router_pb2.HtlcEvent.FORWARD or channel is None:
                continue
            if kind == "link_fail_event":
                column = _BY_FAILURE.get(event.link_fail_event.wire_failure, FAILED_OTHERWISE)
                self._counts[channel, column] += 1
            elif kind == "forward_fail_event":
                self._counts[channel, FAILED_AFTERWARDS] += 1

    def _count_settled(self, event: lightning_pb2.ForwardingEvent) -> None:
        """Count an HTLC that settled."""
        fee_msat = event.amt_in_msat - event.amt_out_msat
        into = self._counts[self._channel_by_id[event.chan_id_in]]
        out = self._counts[self._channel_by_id[event.chan_id_out]]
        into[[FORWARDED_IN, FORWARDED_IN_MSAT, FEE_SOURCED_MSAT]] += (1, event.amt_in_msat, fee_msat)
        out[[FORWARDED_OUT, FORWARDED_OUT_MSAT, FEE_EARNED_MSAT]] += (1, event.amt_out_msat, fee_msat)

    def _told(self) -> Int64:
        """Return how many HTLCs the node told of, as ``_expected`` has them."""
        total = self._counts.sum(axis=0)
        refused = total[[FAILED_LIQUIDITY, FAILED_FEE, FAILED_OTHERWISE]].sum()
        return np.array([total[FORWARDED_OUT], refused, total[FAILED_AFTERWARDS]], np.int64)

    def _refuse_silence(self) -> None:
        """Take a node that tells no more for a loss."""
        if self._listener is None or not self._listener.done():
            return
        fault = None if self._listener.cancelled() else self._listener.exception()
        if isinstance(fault, BackendError):
            raise fault
        raise BackendLost(f"expected {self._client.name} to go on telling of its HTLCs, it stopped: reset the network")

    def _nothing(self) -> Int64:
        return np.zeros((len(self._network.channels), len(FORWARD_COUNTS)), np.int64)
