"""Rebalancing on real nodes: an invoice at the end of a pinned route, ``BuildRoute`` and ``SendToRouteV2``.

A route of one direction is a push; a cycle back to its first node is a circular rebalance. What LND refuses is a
result with a reason.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from typing import Final

from lnsim_gym.backends.lnd.network.claims import check_attempt
from lnsim_gym.backends.lnd.network.forwards import Forwards
from lnsim_gym.backends.lnd.network.ledger import Ledger
from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.backends.lnd.network.patience import patiently
from lnsim_gym.backends.lnd.network.settings import NetworkSettings
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient, RpcRefused
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2, router_pb2
from lnsim_gym.errors import BackendLost, InvalidAction
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import PaymentOptions, RebalanceReason, RebalanceResult

__all__ = ["FINAL_CLTV_DELTA", "Rebalancer", "check_route"]

FINAL_CLTV_DELTA: Final = 83
"""Blocks: the default of an invoice, 80, and the padding that LND adds when it sends."""
_MAX_TIME_LOCK: Final = 2016
"""Blocks of time lock that a link takes at most (``DefaultMaxOutgoingCltvExpiry``)."""
_NO_CHANNEL: Final = "no matching outgoing channel available for node index "
_TEMPORARY_CHANNEL_FAILURE: Final = 15


class Rebalancer:
    """Sends amounts over pinned routes and books what settles.

    Args:
        network: The network.
        ledger: Booked after every settled rebalance.
        forwards: Tells which channels settled rebalances went over.
        options: Their time-out applies.
        settings: Deadlines.
    """

    def __init__(
        self,
        network: LiveNetwork,
        ledger: Ledger,
        forwards: Forwards,
        options: PaymentOptions,
        settings: NetworkSettings,
    ) -> None:
        self._network = network
        self._ledger = ledger
        self._forwards = forwards
        self._options = options
        self._settings = settings

    async def send(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Send an amount over a pinned route, wait until it is quiet, and hold the ledger to LND's balances.

        Args:
            route: Direction indices in order from the paying node.
            amount_msat: Amount that is to arrive at the end.

        Raises:
            BackendLost: A node is gone or hangs.
        """
        topology = self._network.topology
        amounts_msat = hop_amounts_msat(topology, route, amount_msat)
        if _out_of_range(topology, route, amounts_msat):
            return RebalanceResult(reason=RebalanceReason.AMOUNT_OUT_OF_RANGE)
        started = time.perf_counter()
        result = await self.transfer(route, amount_msat)
        duration_s = time.perf_counter() - started
        channels = sorted(self._network.within_reach(route))
        sent = bool(result.payment_hash)
        ends = await self._network.quiet(self._settings.quiet_timeout_s, channels, pause_first=sent)
        self._ledger.check(self._network.balances_sat(ends), channels)
        return dataclasses.replace(result, duration_s=duration_s)

    async def transfer(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Send an amount over a pinned route; unlike ``send``, check nothing before and look at nothing after."""
        return await patiently(self._network, self._settings, self._send(route, amount_msat))

    async def _send(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Make an invoice, and send it over a route that LND builds, or that only we can."""
        arrays = self._network.topology.arrays
        first = self._network.clients[int(arrays.source[route[0]])]
        last = self._network.clients[int(arrays.destination[route[-1]])]
        memo = "push" if len(route) == 1 else "circular rebalance"
        invoice = await last.call(rpc.ADD_INVOICE, lightning_pb2.Invoice(value_msat=amount_msat, memo=memo))
        try:
            if self._is_open_to_lnd(route):
                built = await self._built_by_lnd(first, route, amount_msat, invoice)
            else:
                built = await self._built_here(first, route, amount_msat, invoice)
        except RpcRefused as problem:
            # ``BuildRoute`` asks for the balance first, the link that the route is for looks at its time lock before.
            if _locks_too_long(self._network.topology, route):
                return RebalanceResult(
                    reason=RebalanceReason.OTHER, failure_source_index=0, detail=f"time lock; {problem.details}"
                )
            return RebalanceResult(reason=_refusal(problem.details), detail=problem.details)
        sending = router_pb2.SendToRouteRequest(payment_hash=invoice.r_hash, route=built, skip_temp_err=True)
        total_s = self._options.timeout_seconds + self._settings.rpc_timeout_s
        attempt = await first.call(rpc.SEND_TO_ROUTE, sending, total_s)
        return await self._result(route, attempt, invoice.r_hash.hex())

    def _is_open_to_lnd(self, route: tuple[int, ...]) -> bool:
        """Whether ``BuildRoute`` can but choose the channels of a route: it knows nodes, and the first channel."""
        arrays = self._network.topology.arrays
        received = [direction ^ 1 for direction in route[:-1]]
        return not (
            any(len(self._network.beside(direction)) > 1 for direction in route[1:])
            or arrays.disabled[list(route[1:])].any()
            or arrays.inbound_fee_base_msat[received].any()
            or arrays.inbound_fee_rate_ppm[received].any()
        )

    async def _built_by_lnd(
        self, first: NodeClient, route: tuple[int, ...], amount_msat: int, invoice: lightning_pb2.AddInvoiceResponse
    ) -> lightning_pb2.Route:
        """Have the first node build a route."""
        arrays = self._network.topology.arrays
        request = router_pb2.BuildRouteRequest(
            amt_msat=amount_msat,
            final_cltv_delta=FINAL_CLTV_DELTA,
            outgoing_chan_id=self._network.channels[route[0] // 2].chan_id,
            hop_pubkeys=[bytes.fromhex(self._network.pubkeys[int(arrays.destination[d])]) for d in route],
            payment_addr=invoice.payment_addr,
        )
        return (await first.call(rpc.BUILD_ROUTE, request)).route

    async def _built_here(
        self, first: NodeClient, route: tuple[int, ...], amount_msat: int, invoice: lightning_pb2.AddInvoiceResponse
    ) -> lightning_pb2.Route:
        """Build a route over the very channels by their own policies, as LND's ``newRoute`` does (routing/pathfind.go).

        ``BuildRoute`` would take what is dearest among parallel channels, and none that is disabled.
        """
        topology = self._network.topology
        amounts_msat = [*hop_amounts_msat(topology, route, amount_msat), amount_msat]
        time_lock = (await first.call(rpc.GET_INFO)).block_height + FINAL_CLTV_DELTA
        hops = []
        for hop in reversed(range(len(route))):
            direction = route[hop]
            if hop < len(route) - 2:
                time_lock += int(topology.arrays.time_lock_delta[route[hop + 2]])
            hops.append(
                lightning_pb2.Hop(
                    chan_id=self._network.channels[direction // 2].chan_id,
                    pub_key=self._network.pubkeys[int(topology.arrays.destination[direction])],
                    amt_to_forward_msat=amounts_msat[hop + 1],
                    fee_msat=amounts_msat[hop] - amounts_msat[hop + 1],
                    expiry=time_lock,
                    tlv_payload=True,
                )
            )
        hops[0].mpp_record.payment_addr = invoice.payment_addr
        hops[0].mpp_record.total_amt_msat = amount_msat
        return lightning_pb2.Route(
            total_time_lock=time_lock + int(topology.arrays.time_lock_delta[route[1]]),
            total_amt_msat=amounts_msat[0],
            total_fees_msat=amounts_msat[0] - amount_msat,
            hops=hops[::-1],
        )

    async def _result(
        self, route: tuple[int, ...], attempt: lightning_pb2.HTLCAttempt, payment_hash: str
    ) -> RebalanceResult:
        """Book a settled attempt, or say why it failed."""
        check_attempt(self._network.clients[int(self._network.topology.arrays.source[route[0]])].name, attempt)
        if attempt.status == lightning_pb2.HTLCAttempt.SUCCEEDED:
            directions = tuple(await self._forwards.directions(attempt.route))
            self._forwards.forget()
            self._ledger.settle(directions, attempt.route)
            return RebalanceResult(
                carried_by=() if directions == route else directions,
                applied_msat=attempt.route.hops[-1].amt_to_forward_msat,
                fee_msat=attempt.route.total_fees_msat,
                payment_hash=payment_hash,
            )
        if attempt.status == lightning_pb2.HTLCAttempt.IN_FLIGHT:
            raise BackendLost("expected a rebalance to settle or fail, it is still in flight: reset the network")
        code = attempt.failure.code
        known = code == _TEMPORARY_CHANNEL_FAILURE
        detail = f"failure code {code} from node {attempt.failure.failure_source_index} of the route"
        if known and attempt.failure.failure_source_index == 0:  # its own channel: nothing was sent
            return RebalanceResult(reason=RebalanceReason.INSUFFICIENT_LOCAL_BALANCE, detail=detail)
        return RebalanceResult(
            reason=RebalanceReason.TEMPORARY_CHANNEL_FAILURE if known else RebalanceReason.OTHER,
            failure_source_index=attempt.failure.failure_source_index,
            detail=detail,
            payment_hash=payment_hash,
        )


def check_route(topology: Topology, route: tuple[int, ...]) -> None:
    """Refuse directions that do not follow one another, end elsewhere than a push or a cycle, or meet a node twice.

    Raises:
        InvalidAction: They do not form a push or a cycle.
    """
    source = topology.arrays.source
    destination = topology.arrays.destination
    known = all(0 <= direction < len(source) for direction in route)
    joined = known and all(destination[a] == source[b] for a, b in itertools.pairwise(route))
    simple = joined and len({int(destination[direction]) for direction in route}) == len(route) > 0
    if not (simple and (len(route) == 1 or destination[route[-1]] == source[route[0]])):
        raise InvalidAction(
            f"expected the directions of one hop, or of a cycle back to its first node, got {route}: "
            "each direction must start where the one before it ends, and no node may come twice"
        )


def _out_of_range(topology: Topology, route: tuple[int, ...], amounts_msat: list[int]) -> bool:
    """Whether a hop's amount lies outside what its direction's policy allows."""
    arrays = topology.arrays
    return any(
        not arrays.min_htlc_msat[direction] <= amount <= arrays.max_htlc_msat[direction]
        for direction, amount in zip(route, amounts_msat, strict=True)
    )


def _locks_too_long(topology: Topology, route: tuple[int, ...]) -> bool:
    """Whether the first channel would not take the time lock of a route."""
    return int(topology.arrays.time_lock_delta[list(route[1:])].sum()) + FINAL_CLTV_DELTA > _MAX_TIME_LOCK


def _refusal(details: str) -> RebalanceReason:
    """Return the reason behind a refusal of ``BuildRoute``; node index 0 is the payer's own channel."""
    if details.endswith(f"{_NO_CHANNEL}0"):
        return RebalanceReason.INSUFFICIENT_LOCAL_BALANCE
    return RebalanceReason.OTHER
