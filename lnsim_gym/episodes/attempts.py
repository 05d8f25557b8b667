"""Counting the attempts of unroutable payments, when they are asked for.

The compiled loop sees that a payment is unroutable and leaves its attempts out, of which neither observation nor reward
nor info speaks. Records and streams do: for them the payments of the step are repeated, with every attempt.
"""

from __future__ import annotations

from threading import Lock

import numpy as np

from lnsim_gym.arrays import Int32, Int64
from lnsim_gym.backends.simulator.engine import (
    UNCOUNTED,
    Network,
    Scratch,
    make_memory,
    make_outcomes,
    make_scratch,
    make_settings,
    pay_batch,
)
from lnsim_gym.payments import PaymentBatch, PaymentOptions

__all__ = ["AttemptCounter"]


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

    def count(self, network: Network, balances_msat: Int64, draws: int, batch: PaymentBatch, attempts: Int32) -> None:
        """Fill in the attempts that are ``UNCOUNTED``.

        Args:
            network: The network of the stack that the payments were made on, with the policies that it had.
            balances_msat: Balances before the payments, shape (directions,).
            draws: ``Memory.draws`` before them.
            batch: The payments.
            attempts: Their attempts, shape (payments,), changed in place.
        """
        uncounted = attempts == UNCOUNTED
        if not uncounted.any():
            return
        outcomes = make_outcomes(len(attempts), self._options.max_parts, linked=network.links is not None)
        limits_msat, now_ms = self._options.fee_limit_msat(batch.amount_msat), np.zeros(len(attempts), np.int64)
        payments = (batch.source, batch.destination, batch.amount_msat, limits_msat, now_ms)
        memory = make_memory(network, self._options)
        memory.draws[0] = draws
        settings = make_settings(self._options)
        with self._lock:
            if self._scratch is None:  # of no use, and large, where attempts are never asked for
                self._scratch = make_scratch(self._networks)
            pay_batch(network, balances_msat.copy(), self._scratch, memory, settings, payments, outcomes)
        attempts[uncounted] = outcomes.attempts[uncounted]
