"""What passes over the own channels of surveyed networks in a step: circular rebalances, then payments; compiled.

See ``search`` for how routes are compared, and ``replay`` for what is left out. All kernels here are made of this
module and of rooms below.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.backends.simulator.estimator import HOP_PROBABILITY, SUCCESS_PROBABILITY
from lnsim_gym.backends.simulator.fees import forwarding_fee_msat, inbound_fee_msat
from lnsim_gym.compiled import fused, kernel

__all__ = ["Channels", "Choices", "Demand", "pass_payments", "send_rebalances"]

MOST_ATTEMPTS: Final = 12
"""Routes over the own node that a payment tries at most."""
_PENALTY: Final = HOP_PROBABILITY ** -np.arange(64.0) / SUCCESS_PROBABILITY
"""By how much hops multiply the attempt cost."""
_IN, _IN_MSAT, _OUT, _OUT_MSAT, _EARNED, _SOURCED, _FAILED_LIQUIDITY = range(7)
"""Columns of counts, in the order of ``backends.base.FORWARD_COUNTS``."""


class Channels(NamedTuple):
    """The own channels of some networks, each of shape (networks, channels)."""

    peer: Int64  # node index
    sends: Bool  # whether the own end is enabled, for rebalances: payments are surveyed with what is
    receives: Bool  # likewise the peer's
    local_msat: Int64
    remote_msat: Int64
    keep_local_msat: Int64  # what each end cannot spend
    keep_remote_msat: Int64
    fee_rate_ppm: Int64
    fee_base_msat: Int64
    inbound_fee_rate_ppm: Int64
    max_htlc_msat: Int64
    inbound_base_msat: Int64


class Choices(NamedTuple):
    """The best ways of payments between own channels and one of their ends, the best first."""

    channel: Any  # (payments, choices) int8
    fee_msat: Any  # (payments, choices) and so on: see ``search.Ways``
    weight_msat: Any
    hops: Any


class Demand(NamedTuple):
    """The payments of surveys, one survey behind the other; see ``search.Found``."""

    amount_msat: Int64  # (payments,)
    limit_msat: Int64
    around: Float64
    attempt_msat: Float64
    least_to_us: Float64  # (payments,) least weight of a way into an own channel
    to_us: Choices
    onward: Choices


@fused
def _best_pair(demand: Any, row: Any, channels: Any, network: Any, closed: Any) -> Any:
    """Return the best route of a payment: fee of the own node, what it sends, channels to come by and to leave by.

    Channels are -1 where the way around is better, or the fee limit is exceeded. ``closed`` marks channels that failed,
    those to come by in its first row.
    """
    amount, limit = demand.amount_msat[row], demand.limit_msat[row]
    attempt, best = demand.attempt_msat[row], demand.around[row]
    to_us, onward = demand.to_us, demand.onward
    fee_msat, sent_msat, back, leave = np.int64(0), np.int64(0), -1, -1
    for last in range(onward.channel.shape[1]):
        out, on_weight = onward.channel[row, last], np.float64(onward.weight_msat[row, last])
        if on_weight + demand.least_to_us[row] >= best:
            continue
        on_fee = np.int64(onward.fee_msat[row, last])
        sent = amount + on_fee
        if closed[1, out] or sent > channels.max_htlc_msat[network, out]:
            continue
        outbound = forwarding_fee_msat(channels.fee_base_msat[network, out], channels.fee_rate_ppm[network, out], sent)
        for first in range(to_us.channel.shape[1]):
            into, to_weight = to_us.channel[row, first], np.float64(to_us.weight_msat[row, first])
            if to_weight + on_weight >= best or closed[0, into]:
                continue
            if channels.peer[network, into] == channels.peer[network, out]:
                continue
            terms = channels.inbound_base_msat[network, into], channels.inbound_fee_rate_ppm[network, into]
            fee = max(outbound + inbound_fee_msat(terms[0], terms[1], sent + outbound), np.int64(0))
            if np.int64(to_us.fee_msat[row, first]) + on_fee + fee > limit:
                continue
            weight = to_weight + on_weight + fee
            weight += attempt * _PENALTY[to_us.hops[row, first] + onward.hops[row, last]]
            if weight < best:
                best, fee_msat, sent_msat, back, leave = weight, fee, sent, into, out
    return fee_msat, sent_msat, back, leave


@fused
def _settle(channels: Any, network: Any, counts: Any, back: Any, leave: Any, sent: Any, fee: Any) -> Any:
    """Forward an amount, and count it."""
    channels.local_msat[network, leave] -= sent
    channels.remote_msat[network, leave] += sent
    channels.local_msat[network, back] += sent + fee
    channels.remote_msat[network, back] -= sent + fee
    came, went = counts[network, back], counts[network, leave]
    came[_IN] += 1
    came[_IN_MSAT] += sent + fee
    came[_SOURCED] += fee
    went[_OUT] += 1
    went[_OUT_MSAT] += sent
    went[_EARNED] += fee


@kernel
def pass_payments(
    demand: Any, first: Any, last: Any, channels: Any, closed: Any, counts: Any, income_msat: Any
) -> None:
    """Let the payments of a step pass, each by the best route that works.

    Args:
        demand: ``Demand``.
        first: First payment of the step in each network, shape (networks,).
        last: The one behind its last, likewise.
        channels: ``Channels``, whose balances change.
        closed: Room for the channels that failed, shape (2, channels).
        counts: Added to, in the columns of ``FORWARD_COUNTS``, shape (networks, channels, columns).
        income_msat: Fees earned, added to, shape (networks,).
    """
    for network in range(first.shape[0]):
        for row in range(first[network], last[network]):
            closed[:] = False
            for _ in range(MOST_ATTEMPTS):
                fee, sent, back, leave = _best_pair(demand, row, channels, network, closed)
                if back < 0:
                    break
                if sent + fee > channels.remote_msat[network, back] - channels.keep_remote_msat[network, back]:
                    closed[0, back] = True
                elif sent > channels.local_msat[network, leave] - channels.keep_local_msat[network, leave]:
                    closed[1, leave] = True
                    counts[network, leave, _FAILED_LIQUIDITY] += 1
                else:
                    _settle(channels, network, counts, back, leave, sent, fee)
                    income_msat[network] += fee
                    break


@fused
def _price_ppm(quotes_ppm: Any, quoted_msat: Any, leave: Any, back: Any, amount: Any) -> Any:
    """Return the price of a rebalance, on a line between the two amounts that are quoted, level beyond them."""
    low, high = quotes_ppm[0, leave, back], quotes_ppm[1, leave, back]
    share = (amount - quoted_msat[0]) / (quoted_msat[1] - quoted_msat[0])
    if share <= 0.0 or low == np.inf:
        return low
    return high if share >= 1.0 or high == np.inf else low + share * (high - low)


@kernel
def send_rebalances(
    asked: Any, quotes_ppm: Any, quoted_msat: Any, channels: Any, paid_msat: Any, moved_msat: Any
) -> None:
    """Send circular rebalances at the prices that were quoted.

    Args:
        asked: Channels to leave and to come back by, amount in msat, fee limit in ppm; -1 first for none, shape
            (networks, rebalances, 4).
        quotes_ppm: By amount and channels, infinite where no route leads, shape (surveys, 2, channels, channels);
            networks are copies of the surveys, all of them before the next.
        quoted_msat: The amounts, shape (2,).
        channels: ``Channels``, whose balances change.
        paid_msat: Fees paid, added to, shape (networks,).
        moved_msat: Amounts that came back, added to, shape (networks,).
    """
    for network in range(asked.shape[0]):
        for slot in range(asked.shape[1]):
            leave, back, amount, limit_ppm = asked[network, slot]
            if leave < 0 or amount <= 0 or leave == back:
                continue
            if not (channels.sends[network, leave] and channels.receives[network, back]):
                continue
            price = _price_ppm(quotes_ppm[network % quotes_ppm.shape[0]], quoted_msat, leave, back, amount)
            if price > limit_ppm:
                continue
            fee = np.int64(amount * price * 1e-6)
            if amount + fee > channels.local_msat[network, leave] - channels.keep_local_msat[network, leave]:
                continue
            if amount > channels.remote_msat[network, back] - channels.keep_remote_msat[network, back]:
                continue
            channels.local_msat[network, leave] -= amount + fee
            channels.remote_msat[network, leave] += amount + fee
            channels.local_msat[network, back] += amount
            channels.remote_msat[network, back] -= amount
            paid_msat[network] += fee
            moved_msat[network] += amount
