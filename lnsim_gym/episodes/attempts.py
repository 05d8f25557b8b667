"""Counting the attempts of unroutable payments, when they are asked for.

The compiled loop sees that a payment is unroutable and leaves its attempts out, of which neither observation nor reward
nor info speaks. Records and streams do: for them the payments of the step are repeated, with every attempt.
"""

from __future__ import annotations

from threading import Lock

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.simulator.engine import (
    UNCOUNTED,
    Network,
    Outcomes,
    Scratch,
    make_memory,
    make_outcomes,
    make_scratch,
    make_settings,
    pay_batch,
)
from lnsim_gym.payments import PaymentBatch, PaymentOptions, PaymentOutcomes
from lnsim_gym.traffic.random import advanced

__all__ = ["AttemptCounter"]

_Payments = tuple[Int64, Int64, Int64, Int64, Int64]
"""What ``pay_batch`` takes for payments."""


class AttemptCounter:
    """Counts the attempts of payments that were made on one stack of networks; any thread may ask it.

    Args:
        networks: Networks, stacked over variants.
        options: How payments are sent.
    """

    def __init__(self, networks: Network, options: PaymentOptions) -> None:
        self._networks = networks
        self._options = options
        self._lock = Lock()
        self._scratch: Scratch | None = None

    def after_fork(self) -> None:
        """Go on in a forked child: whichever thread held the lock is not there."""
        self._lock = Lock()

    def count(
        self, network: Network, balances_msat: Int64, draws: int, batch: PaymentBatch, made: PaymentOutcomes
    ) -> None:
        """Fill in the attempts that are ``UNCOUNTED``.

        Args:
            network: The network of the stack that the payments were made on, with the policies that it had.
            balances_msat: Balances before the payments, shape (directions,).
            draws: ``Memory.draws`` before them.
            batch: The payments.
            made: What became of them; the attempts are changed in place.
        """
        attempts = made.attempts
        uncounted = attempts == UNCOUNTED
        if not uncounted.any():
            return
        limits_msat, now_ms = made.fee_limit_msat, np.zeros(len(attempts), np.int64)
        if limits_msat is None:
            limits_msat = self._options.fee_limit_msat(batch.amount_msat)
        payments = (batch.source, batch.destination, batch.amount_msat, limits_msat, now_ms)
        with self._lock:
            if made.part_hop_msat is None:
                outcomes = self._pay(network, balances_msat.copy(), draws, payments)
                attempts[uncounted] = outcomes.attempts[uncounted]
            else:
                self._pay_uncounted(network, balances_msat.copy(), draws, payments, made, made.part_hop_msat)

    def _pay(self, network: Network, balances_msat: Int64, draws: int, payments: _Payments) -> Outcomes:
        """Make payments, every attempt of them."""
        outcomes = make_outcomes(len(payments[0]), self._options.max_parts, linked=network.links is not None)
        memory = make_memory(network, self._options)
        memory.draws[0] = draws
        # Of no use, and large, where attempts are never asked for.
        self._scratch = self._scratch or make_scratch(self._networks, self._options)
        pay_batch(network, balances_msat, self._scratch, memory, make_settings(self._options), payments, outcomes)
        return outcomes

    def _pay_uncounted(
        self,
        network: Network,
        balances_msat: Int64,
        draws: int,
        payments: _Payments,
        made: PaymentOutcomes,
        part_hop_msat: Int64,
    ) -> None:
        """Make the uncounted payments, and settle between them what settled.

        That may have been sent by nodes that had not heard of a policy, and would not be sent so again.
        """
        source, destination, amount_msat, limit_msat, now_ms = payments
        sent = np.cumsum((source != destination) & (amount_msat > 0))
        settled = 0
        for index in np.flatnonzero(made.attempts == UNCOUNTED).tolist():
            routes, hop_msat = made.part_route[settled:index], part_hop_msat[settled:index]
            used = routes >= 0
            np.subtract.at(balances_msat, routes[used], hop_msat[used])
            np.add.at(balances_msat, routes[used] ^ 1, hop_msat[used])
            settled, one = index, slice(index, index + 1)
            payment = source[one], destination[one], amount_msat[one], limit_msat[one], now_ms[one]
            outcomes = self._pay(network, balances_msat, advanced(draws, int(sent[index]) - 1), payment)
            made.attempts[index] = outcomes.attempts[0]
