"""Paying a batch on real nodes: an invoice at the receiver, ``SendPaymentV2`` at the sender, outcomes as arrays.

With ``concurrency`` 1 outcomes are a function of balances and policies: a payment starts only when no HTLC is pending
on any channel that matters to it. A payment is sent once; in doubt it is looked up by its hash.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.lnd.network.claims import check_payment, settled_attempts
from lnsim_gym.backends.lnd.network.forecast import Forecaster
from lnsim_gym.backends.lnd.network.forwards import Forwards
from lnsim_gym.backends.lnd.network.ledger import Ledger
from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.backends.lnd.network.memory import SendersMemory
from lnsim_gym.backends.lnd.network.patience import patiently
from lnsim_gym.backends.lnd.network.settings import NetworkSettings
from lnsim_gym.backends.lnd.network.stopwatch import Stopwatch
from lnsim_gym.backends.lnd.network.turns import NOWHERE, Turns, footprints
from lnsim_gym.backends.lnd.network.watch import NodeWatch
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient, RpcRefused
from lnsim_gym.backends.lnd.rpc.proto import invoices_pb2, lightning_pb2, router_pb2
from lnsim_gym.backends.lnd.rpc.thread import gather
from lnsim_gym.errors import BackendError, BackendLost
from lnsim_gym.payments import (
    DESCRIPTIONS,
    MAX_ROUTE_HOPS,
    FailureReason,
    PaymentBatch,
    PaymentOptions,
    PaymentOutcomes,
)

__all__ = ["Payer"]

_log = logging.getLogger(__name__)

_LOOKUP_S: Final = 2.0
_INVOICES_AHEAD: Final = 16
"""Payments that wait for their turn with an invoice at hand."""
_MAX_INVOICE_MSAT: Final = 100_000 * 100_000_000_000
"""Largest amount that LND makes an invoice for: 100,000 BTC (lnrpc/invoicesrpc/addinvoice.go, ``maxInvoiceAmt``)."""


@dataclass(frozen=True)
class _Outcome:
    """What became of one payment."""

    payment: lightning_pb2.Payment
    reason: int
    payment_hash: str
    duration_s: float
    time_ms: int
    """Simulated time since the reset at which it was made."""
    routes: tuple[tuple[int, ...], ...]
    """Directions that each settled part went over."""


class Payer:
    """Makes payments on a live network and books what settles.

    Args:
        network: The network.
        ledger: Booked after every settled payment.
        forwards: Tells which channels settled payments went over.
        options: How payments are sent.
        settings: Deadlines.
        memory: What senders remember, where they do.
        side_by_side: Whether payments that cannot meet may run side by side, see ``turns``.
    """

    def __init__(
        self,
        network: LiveNetwork,
        ledger: Ledger,
        forwards: Forwards,
        options: PaymentOptions,
        settings: NetworkSettings,
        memory: SendersMemory,
        *,
        side_by_side: bool,
    ) -> None:
        self._network = network
        self._ledger = ledger
        self._forwards = forwards
        self._options = options
        self._settings = settings
        self._memory = memory
        self._remember = options.mission_control == "per_episode"
        self._forecaster = Forecaster(options)
        sure = options.max_parts == 1 and not self._remember and not network.has_parallel_channels
        self._is_forecast = side_by_side and options.concurrency == 1 and sure
        """Whether it is known beforehand where payments go, and no forecast was wrong yet."""
        self.stopwatch = Stopwatch()
        self.watch: NodeWatch | None = None
        """Who counts what a node forwards, where one is watched."""

    async def pay(
        self, batch: PaymentBatch, time_ms: Int64 | None = None, fee_limit_msat: Int64 | None = None
    ) -> PaymentOutcomes:
        """Make the payments of a batch; see ``Backend.pay``.

        Raises:
            BackendLost: A node is gone or hangs; payments that settled before are booked.
            LedgerMismatch: LND's balances differ from the routes of settled payments.
        """
        fee_limits = self._options.fee_limit_msat(batch.amount_msat) if fee_limit_msat is None else fee_limit_msat
        expected = await asyncio.to_thread(self._forecast, batch, fee_limits)
        turns = self._turns(batch, expected)
        outcomes: list[_Outcome | None] = [None] * len(batch.amount_msat)
        waiting = iter(range(len(outcomes)))
        one_by_one = self._options.concurrency == 1

        async def worker() -> None:
            for index in waiting:
                with self.stopwatch.spent_on("invoice"):
                    invoice = await self._invoice(batch, index)
                with self.stopwatch.spent_on("turn"):
                    await turns.come(index)
                if time_ms is not None:
                    self._memory.set_time(int(time_ms[index]))
                outcomes[index] = outcome = await self._pay_one(batch, index, int(fee_limits[index]), invoice)
                self._memory.pass_time()
                if expected is not None and not _is_as_expected(outcome, expected, index):
                    self._is_forecast = False
                    turns.one_by_one()
                    _log.warning("a payment ended otherwise than forecast: from now on payments go one by one")
                await turns.end(index)
                if one_by_one:
                    with self.stopwatch.spent_on("quiet"):
                        await self._calm(self._touched(outcome.payment))
                    self._forwards.forget()
                await turns.leave(index)

        width = _INVOICES_AHEAD if one_by_one else self._options.concurrency
        await gather(worker() for _ in range(min(width, len(outcomes))))
        await self._settle_down()
        self._forwards.forget()
        return self._collect([outcome for outcome in outcomes if outcome is not None])

    def _forecast(self, batch: PaymentBatch, fee_limit_msat: Int64) -> PaymentOutcomes | None:
        """Return how payments will end, where that is known beforehand."""
        if not self._is_forecast:
            return None
        balances_msat = self._ledger.balances_msat
        return self._forecaster.outcomes(self._network.topology, balances_msat, batch, fee_limit_msat)

    def _turns(self, batch: PaymentBatch, expected: PaymentOutcomes | None) -> Turns:
        """Return the order of a batch; what is not forecast goes one by one, or ``concurrency`` at once."""
        if expected is not None:
            return Turns(footprints(self._network, batch, expected))
        turns = Turns([NOWHERE] * len(batch.source))
        if self._options.concurrency == 1:
            turns.one_by_one()
        return turns

    async def _invoice(self, batch: PaymentBatch, index: int) -> lightning_pb2.AddInvoiceResponse | None:
        """Make the invoice of a payment; none of one that LND refuses."""
        if _refused(batch, index) is not None:
            return None
        memo = DESCRIPTIONS[int(batch.description[index])]
        invoice = lightning_pb2.Invoice(value_msat=int(batch.amount_msat[index]), memo=memo)
        return await self._network.clients[int(batch.destination[index])].call(rpc.ADD_INVOICE, invoice)

    async def _pay_one(
        self, batch: PaymentBatch, index: int, fee_limit_msat: int, added: lightning_pb2.AddInvoiceResponse | None
    ) -> _Outcome:
        """Make one payment and book it."""
        started = time.perf_counter()
        if added is None:
            payment = lightning_pb2.Payment(status=lightning_pb2.Payment.FAILED)
            reason = int(_refused(batch, index) or FailureReason.NONE)
            return _Outcome(payment, reason, "", time.perf_counter() - started, self._memory.now_ms, ())
        sender = self._network.clients[int(batch.source[index])]
        receiver = self._network.clients[int(batch.destination[index])]
        with self.stopwatch.spent_on("mission_control"):
            if self._remember:
                await self._memory.recall(sender)
            else:
                await self._network.forget([int(batch.source[index])])
        request = router_pb2.SendPaymentRequest(
            payment_request=added.payment_request,
            fee_limit_msat=fee_limit_msat,
            timeout_seconds=self._options.timeout_seconds,
            max_parts=self._options.max_parts,
            # Only of a payment in parts does ``_send`` need to hear before it ends.
            no_inflight_updates=self._options.max_parts == 1,
        )
        time_ms = self._memory.now_ms
        try:
            with self.stopwatch.spent_on("payment"):
                payment, reason = await patiently(
                    self._network,
                    self._settings,
                    self._send(sender, receiver, request, added, int(batch.amount_msat[index])),
                )
        except BackendLost:
            await self._look_up(sender, added.r_hash, int(batch.amount_msat[index]))
            raise
        duration_s = time.perf_counter() - started
        routes = await self._book(payment)
        if self._remember:
            await self._memory.note(sender)
        return _Outcome(payment, reason, added.r_hash.hex(), duration_s, time_ms, routes)

    async def _send(
        self,
        sender: NodeClient,
        receiver: NodeClient,
        request: router_pb2.SendPaymentRequest,
        invoice: lightning_pb2.AddInvoiceResponse,
        amount_msat: int,
    ) -> tuple[lightning_pb2.Payment, int]:
        """Send a payment and return its final state and the first reason it was given up for.

        When LND gives up with parts waiting at the receiver, these would be held for two minutes: cancelling the
        invoice releases them.
        """
        total_s = self._options.timeout_seconds + self._settings.rpc_timeout_s
        reason = 0
        async for update in sender.stream(rpc.SEND_PAYMENT, request, total_s, total_s):
            given_up = reason == 0 and update.failure_reason != 0
            reason = reason or update.failure_reason
            if update.status in (lightning_pb2.Payment.SUCCEEDED, lightning_pb2.Payment.FAILED):
                check_payment(sender.name, update, amount_msat, self._options.max_parts)
                return update, reason
            if given_up:
                await _cancel(receiver, invoice.r_hash)
        raise BackendLost(
            f"expected {sender.name} to say how a payment ended, its stream ended first: reset the network"
        )

    async def _look_up(self, sender: NodeClient, payment_hash: bytes, amount_msat: int) -> None:
        """Book a payment whose outcome was lost, if its sender still knows and says that it settled."""
        request = router_pb2.TrackPaymentRequest(payment_hash=payment_hash, no_inflight_updates=True)
        with suppress(BackendError):
            async for payment in sender.stream(rpc.TRACK_PAYMENT, request, _LOOKUP_S, _LOOKUP_S):
                check_payment(sender.name, payment, amount_msat, self._options.max_parts)
                await self._book(payment)
                return

    async def _book(self, payment: lightning_pb2.Payment) -> tuple[tuple[int, ...], ...]:
        """Book the settled parts of a payment, and return the directions that each of them went over."""
        if self.watch is not None:
            self.watch.expect(payment.htlcs)
        routes: list[tuple[int, ...]] = []
        for attempt in settled_attempts(payment):
            directions = await self._forwards.directions(attempt.route)
            self._ledger.settle(directions, attempt.route)
            routes.append(tuple(directions))
        return tuple(routes)

    def _touched(self, payment: lightning_pb2.Payment) -> set[int]:
        """Return the channels that any attempt of a payment may have gone over."""
        routes = [self._network.directions(attempt.route) for attempt in payment.htlcs]
        return set[int]().union(*map(self._network.within_reach, routes))

    async def _calm(self, channels: set[int]) -> None:
        """Wait until channels that HTLCs went over are quiet."""
        if channels:
            await self._network.quiet(self._settings.quiet_timeout_s, channels, pause_first=True)

    async def _settle_down(self) -> None:
        """Wait until all channels are quiet, and hold the ledger to them."""
        ends = await self._network.quiet(self._settings.quiet_timeout_s)
        self._ledger.check(self._network.balances_sat(ends))

    def _collect(self, outcomes: list[_Outcome]) -> PaymentOutcomes:
        """Lay outcomes out as arrays."""
        count = len(outcomes)
        width = self._options.max_parts
        part_amount_msat = np.zeros((count, width), np.int64)
        part_route = np.full((count, width, MAX_ROUTE_HOPS), -1, np.int32)
        part_hop_msat = np.zeros((count, width, MAX_ROUTE_HOPS), np.int64)
        for row, outcome in enumerate(outcomes):
            for part, (attempt, directions) in enumerate(
                zip(settled_attempts(outcome.payment), outcome.routes, strict=True)
            ):
                carried_msat = [attempt.route.total_amt_msat, *(h.amt_to_forward_msat for h in attempt.route.hops)]
                part_amount_msat[row, part] = carried_msat[-1]
                part_route[row, part, : len(directions)] = directions
                part_hop_msat[row, part, : len(directions)] = carried_msat[:-1]
        settled = [outcome.payment.status == lightning_pb2.Payment.SUCCEEDED for outcome in outcomes]
        return PaymentOutcomes(
            succeeded=np.array(settled, np.bool_),
            failure_reason=np.array([0 if ok else o.reason for ok, o in zip(settled, outcomes, strict=True)], np.int32),
            attempts=np.array([len(outcome.payment.htlcs) for outcome in outcomes], np.int32),
            fee_msat=np.array(
                [sum(a.route.total_fees_msat for a in settled_attempts(o.payment)) for o in outcomes], np.int64
            ),
            parts=np.array([len(settled_attempts(outcome.payment)) for outcome in outcomes], np.int32),
            part_amount_msat=part_amount_msat,
            part_route=part_route,
            duration_s=np.array([outcome.duration_s for outcome in outcomes], np.float64),
            payment_hash=tuple(outcome.payment_hash for outcome in outcomes),
            part_hop_msat=None if self._network.topology.is_plain else part_hop_msat,
            time_ms=np.array([outcome.time_ms for outcome in outcomes], np.int64) if self._remember else None,
        )


def _refused(batch: PaymentBatch, index: int) -> FailureReason | None:
    """Return the reason of a payment that fails before LND takes it: its RPCs refuse the request, and send nothing."""
    amount_msat = int(batch.amount_msat[index])
    if batch.source[index] == batch.destination[index] or amount_msat <= 0:
        return FailureReason.ERROR
    return FailureReason.INSUFFICIENT_BALANCE if amount_msat > _MAX_INVOICE_MSAT else None


def _is_as_expected(outcome: _Outcome, expected: PaymentOutcomes, index: int) -> bool:
    """Whether a payment ended as forecast, and over the channels that were."""
    if len(outcome.payment.htlcs) != expected.attempts[index] or len(outcome.routes) != expected.parts[index]:
        return False
    route = expected.part_route[index, 0]
    return not outcome.routes or outcome.routes[0] == tuple(route[route >= 0].tolist())


async def _cancel(receiver: NodeClient, payment_hash: bytes) -> None:
    """Cancel an invoice, unless it was settled in the meantime."""
    with suppress(RpcRefused):
        await receiver.call(rpc.CANCEL_INVOICE, invoices_pb2.CancelInvoiceMsg(payment_hash=payment_hash))
