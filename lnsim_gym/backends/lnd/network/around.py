"""Circular rebalances whose route is found when they are sent: ``QueryRoutes`` to the last node before the way back.

That is how tools for operators rebalance: LND's own pathfinding with the first channel given, its mission control
taught by every attempt, and the channel for the way back put behind, so that it is the very one that was meant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lnsim_gym.backends.lnd.network.ledger import Ledger
from lnsim_gym.backends.lnd.network.live import LiveNetwork
from lnsim_gym.backends.lnd.network.rebalance import FINAL_CLTV_DELTA, Rebalancer
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import RpcRefused
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.errors import BackendError
from lnsim_gym.network.routes import hop_amounts_msat, outbound_fee_msat
from lnsim_gym.payments import SURE_ROUTE_HOPS, RebalanceReason, RebalanceResult

__all__ = ["Way", "rebalance_around"]

_NO_PATH: Final = ("unable to find a path", "insufficient local balance")
"""What LND says where there is no route, or none that its channel could begin."""


class Way:
    """What a circular rebalance is to do.

    Args:
        leave: Direction out of the node.
        back: Direction into it, over another channel.
        amount_msat: Amount that is to arrive.
        fee_limit_msat: Most that may be paid in fees.
    """

    def __init__(self, leave: int, back: int, amount_msat: int, fee_limit_msat: int) -> None:
        self.leave = leave
        self.back = back
        self.amount_msat = amount_msat
        self.fee_limit_msat = fee_limit_msat

    def back_fee_msat(self, network: LiveNetwork) -> int:
        """Return the fee for the way back."""
        arrays = network.topology.arrays
        base_msat, rate_ppm = int(arrays.fee_base_msat[self.back]), int(arrays.fee_rate_ppm[self.back])
        return outbound_fee_msat(self.amount_msat, base_msat, rate_ppm)

    def refusal(self, network: LiveNetwork, ledger: Ledger) -> RebalanceReason:
        """Return why it cannot be sent whatever lies between, or ``NONE``."""
        arrays, fee_msat = network.topology.arrays, self.back_fee_msat(network)
        if not arrays.min_htlc_msat[self.back] <= self.amount_msat <= arrays.max_htlc_msat[self.back]:
            return RebalanceReason.AMOUNT_OUT_OF_RANGE
        if fee_msat > self.fee_limit_msat:
            return RebalanceReason.FEE_LIMIT_EXCEEDED
        spendable_msat = network.topology.spendable_msat(ledger.balances_msat).ravel()[self.leave]
        short = self.amount_msat + fee_msat > spendable_msat
        return RebalanceReason.INSUFFICIENT_LOCAL_BALANCE if short else RebalanceReason.NONE


async def rebalance_around(
    network: LiveNetwork, ledger: Ledger, rebalancer: Rebalancer, way: Way, attempts: int
) -> tuple[RebalanceResult, tuple[int, ...]]:
    """Send an amount around, by the best route after what the failures before it taught; see ``Backend``."""
    result, route = RebalanceResult(reason=RebalanceReason.NO_ROUTE), tuple[int, ...]()
    for _ in range(attempts):
        reason = way.refusal(network, ledger)
        if reason is not RebalanceReason.NONE:
            return RebalanceResult(reason=reason), route
        found = await _find(network, way)
        if not 0 < len(found) < SURE_ROUTE_HOPS:
            return RebalanceResult(reason=RebalanceReason.NO_ROUTE), route
        route = (*found, way.back)
        hop_msat = hop_amounts_msat(network.topology, route, way.amount_msat)
        if hop_msat[0] - way.amount_msat > way.fee_limit_msat:
            return RebalanceResult(reason=RebalanceReason.FEE_LIMIT_EXCEEDED), route
        result = await rebalancer.send(route, way.amount_msat)
        if result.failure_source_index < 1:  # no forwarder refused it
            if result.applied_msat:
                result = replace(result, hop_msat=tuple(int(amount) for amount in hop_msat))
            return result, result.carried_by or route
    return result, route


async def _find(network: LiveNetwork, way: Way) -> tuple[int, ...]:
    """Return the directions up to the node that the amount comes back from, none where LND finds no route."""
    arrays, fee_msat = network.topology.arrays, way.back_fee_msat(network)
    chan_id = network.channels[way.leave // 2].chan_id
    request = lightning_pb2.QueryRoutesRequest(
        pub_key=network.pubkeys[int(arrays.source[way.back])],
        amt_msat=way.amount_msat + fee_msat,
        final_cltv_delta=FINAL_CLTV_DELTA,
        fee_limit=lightning_pb2.FeeLimit(fixed_msat=way.fee_limit_msat - fee_msat),
        use_mission_control=True,
        outgoing_chan_ids=[chan_id],
    )
    client = network.clients[int(arrays.source[way.leave])]
    try:
        answer = await client.call(rpc.QUERY_ROUTES, request)
    except RpcRefused as problem:
        if any(words in problem.details for words in _NO_PATH):
            return ()
        raise
    if answer.routes[0].hops[0].chan_id != chan_id:
        raise BackendError(
            f"expected {client.name} to find routes out of a given channel, it takes another: use lnd v0.21 or newer"
        )
    return tuple(network.directions(answer.routes[0]))
