"""Rebalancing on real nodes: an invoice at the end of a pinned route, ``BuildRoute`` and ``SendToRouteV2``.

A route of one direction is a push; a cycle back to its first node is a circular rebalance. What LND refuses is a
result with a reason.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from typing import Final

from lnsim_gym.backends.lnd.network.ledger import Ledger
from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.backends.lnd.network.patience import patiently
from lnsim_gym.backends.lnd.network.settings import NetworkSettings
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import RpcRefused
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2, router_pb2
from lnsim_gym.errors import BackendLost, InvalidAction
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import PaymentOptions, RebalanceReason, RebalanceResult

__all__ = ["Rebalancer", "check_route"]

_FINAL_CLTV_DELTA: Final = 83
"""Blocks: the default of an invoice, 80, and the padding that LND adds when it sends."""
_NO_CHANNEL: Final = "no matching outgoing channel available for node index "
_TEMPORARY_CHANNEL_FAILURE: Final = 15


class Rebalancer:
    """Sends amounts over pinned routes and books what settles.

    Args:
        network: The network.
        ledger: Booked after every settled rebalance.
        options: Their time-out applies.
        settings: Deadlines.
    """

    def __init__(
        self, network: LiveNetwork, ledger: Ledger, options: PaymentOptions, settings: NetworkSettings
    ) -> None:
        self._network = network
        self._ledger = ledger
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
        channels = sorted({direction // 2 for direction in route})
        sent = bool(result.payment_hash)
        ends = await self._network.quiet(self._settings.quiet_timeout_s, channels, pause_first=sent)
        self._ledger.check(self._network.balances_sat(ends), channels)
        return dataclasses.replace(result, duration_s=duration_s)

    async def transfer(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Send an amount over a pinned route; unlike ``send``, check nothing before and look at nothing after."""
        return await patiently(self._network, self._settings, self._send(route, amount_msat))

    async def _send(self, route: tuple[int, ...], amount_msat: int) -> RebalanceResult:
        """Have LND build the route for an invoice, and send it unless its fees are too high."""
        arrays = self._network.topology.arrays
        first = self._network.clients[int(arrays.source[route[0]])]
        last = self._network.clients[int(arrays.destination[route[-1]])]
        memo = "push" if len(route) == 1 else "circular rebalance"
        invoice = await last.call(rpc.ADD_INVOICE, lightning_pb2.Invoice(value_msat=amount_msat, memo=memo))
        request = router_pb2.BuildRouteRequest(
            amt_msat=amount_msat,
            final_cltv_delta=_FINAL_CLTV_DELTA,
            outgoing_chan_id=self._network.channels[route[0] // 2].chan_id,
            hop_pubkeys=[bytes.fromhex(self._network.pubkeys[int(arrays.destination[d])]) for d in route],
            payment_addr=invoice.payment_addr,
        )
        try:
            built = (await first.call(rpc.BUILD_ROUTE, request)).route
        except RpcRefused as problem:
            return RebalanceResult(reason=_refusal(problem.details), detail=problem.details)
        sending = router_pb2.SendToRouteRequest(payment_hash=invoice.r_hash, route=built, skip_temp_err=True)
        total_s = self._options.timeout_seconds + self._settings.rpc_timeout_s
        attempt = await first.call(rpc.SEND_TO_ROUTE, sending, total_s)
        return self._result(route, attempt, invoice.r_hash.hex())

    def _result(self, route: tuple[int, ...], attempt: lightning_pb2.HTLCAttempt, payment_hash: str) -> RebalanceResult:
        """Book a settled attempt, or say why it failed."""
        if attempt.status == lightning_pb2.HTLCAttempt.SUCCEEDED:
            self._ledger.settle(route, attempt.route)
            return RebalanceResult(
                applied_msat=attempt.route.hops[-1].amt_to_forward_msat,
                fee_msat=attempt.route.total_fees_msat,
                payment_hash=payment_hash,
            )
        if attempt.status == lightning_pb2.HTLCAttempt.IN_FLIGHT:
            raise BackendLost("expected a rebalance to settle or fail, it is still in flight: reset the network")
        code = attempt.failure.code
        known = code == _TEMPORARY_CHANNEL_FAILURE
        return RebalanceResult(
            reason=RebalanceReason.TEMPORARY_CHANNEL_FAILURE if known else RebalanceReason.OTHER,
            failure_source_index=attempt.failure.failure_source_index,
            detail=f"failure code {code} from node {attempt.failure.failure_source_index} of the route",
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


def _refusal(details: str) -> RebalanceReason:
    """Return the reason behind a refusal of ``BuildRoute``; node index 0 is the payer's own channel."""
    if details.endswith(f"{_NO_CHANNEL}0"):
        return RebalanceReason.INSUFFICIENT_LOCAL_BALANCE
    return RebalanceReason.OTHER
