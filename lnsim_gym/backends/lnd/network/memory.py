"""What senders remember, by the clock of the simulator.

LND's failures fade with wall clock time, in which a payment takes a moment, while it stands for ``payment_ms`` of
simulated time. So a sender's mission control is read after all that it sends, and given back before the next with
failures as old as simulated time has made them since.
"""

from __future__ import annotations

import math
import time
from typing import Final

from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient
from lnsim_gym.backends.lnd.rpc.proto import router_pb2

__all__ = ["SendersMemory"]

ANY_AMOUNT_MSAT: Final = 1
"""Stands for a failure whatever the amount, which LND reports as 0 and does not take back."""


class SendersMemory:
    """Keeps what the senders of a network remember, and simulated time since the reset.

    Args:
        payment_ms: Simulated time from one payment to the next in ms; None for wall clock time, which leaves the
            memories to the nodes.
    """

    def __init__(self, payment_ms: int | None) -> None:
        self._payment_ms = payment_ms
        self.restart()

    def restart(self) -> None:
        """Begin anew: time at 0, and everything forgotten."""
        self._started_s = time.monotonic()
        self._now_ms = 0
        self._pairs: dict[str, list[router_pb2.PairHistory]] = {}
        """Pairs of nodes that a sender knows, by its name."""
        self._failures: dict[tuple[str, bytes, bytes], tuple[int, int]] = {}
        """By sender and pair: when it failed, as LND says in Unix seconds and in ms of simulated time."""

    @property
    def now_ms(self) -> int:
        """Simulated time in ms since the reset, at which the next payment is made."""
        return self._now_ms if self._payment_ms else int(1000 * (time.monotonic() - self._started_s))

    def set_time(self, time_ms: int) -> None:
        """Let simulated time be as given from now on."""
        self._now_ms = time_ms

    def pass_time(self) -> None:
        """Let the time of a payment pass."""
        self._now_ms += self._payment_ms or 0

    async def recall(self, sender: NodeClient) -> None:
        """Give a sender its memories as they are now."""
        pairs = self._pairs.get(sender.name)
        if pairs:
            request = router_pb2.XImportMissionControlRequest(pairs=[self._aged(sender.name, pair) for pair in pairs])
            await sender.call(rpc.RESET_MISSION_CONTROL)
            await sender.call(rpc.IMPORT_MISSION_CONTROL, request)

    async def note(self, sender: NodeClient) -> None:
        """Take down what a sender remembers; what it did not before, it learned now."""
        if not self._payment_ms:
            return
        known = (await sender.call(rpc.QUERY_MISSION_CONTROL)).pairs
        for pair in known:
            key = sender.name, pair.node_from, pair.node_to
            failed_s = pair.history.fail_time
            if failed_s and (key not in self._failures or self._failures[key][0] != failed_s):
                self._failures[key] = failed_s, self._now_ms
        self._pairs[sender.name] = [pair for pair in known if pair.history.fail_time or pair.history.success_amt_msat]

    def _aged(self, sender: str, pair: router_pb2.PairHistory) -> router_pb2.PairHistory:
        """Return a pair as old as it is by now, at most a second too old: LND takes whole seconds."""
        aged = router_pb2.PairHistory()
        aged.CopyFrom(pair)
        history = aged.history
        if history.fail_time:
            key = sender, pair.node_from, pair.node_to
            failed_ms = self._failures[key][1]
            history.fail_time = math.floor(time.time() - (self._now_ms - failed_ms) / 1000)
            history.fail_amt_msat = history.fail_amt_msat or ANY_AMOUNT_MSAT
            self._failures[key] = history.fail_time, failed_ms
        if not history.success_amt_msat:
            history.success_time = 0
        return aged
