"""Counting the attempts of unroutable payments, when they are asked for.

The compiled loop sees that a payment is unroutable and leaves its attempts out, of which neither observation nor reward
nor info speaks. Records and streams do: for them the payments of the step are made again, with every attempt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lnsim_gym.backends.simulator.engine import (
    UNCOUNTED,
    Network,
    make_memory,
    make_outcomes,
    make_scratch,
    make_settings,
    pay_batch,
)
from lnsim_gym.payments import PaymentBatch, PaymentOptions

__all__ = ["count_attempts"]


def count_attempts(
    network: Network,
    options: PaymentOptions,
    balances_msat: npt.NDArray[np.int64],
    batch: PaymentBatch,
    attempts: npt.NDArray[np.int32],
) -> None:
    """Fill in the attempts that are ``UNCOUNTED``; any thread may call this.

    Args:
        network: The network that the payments were made on.
        options: How payments are sent.
        balances_msat: Balances before the payments, shape (directions,).
        batch: The payments.
        attempts: Their attempts, shape (payments,), changed in place.
    """
    uncounted = attempts == UNCOUNTED
    if not uncounted.any():
        return
    scratch, memory, settings = make_scratch(network), make_memory(network, options), make_settings(options)
    outcomes = make_outcomes(len(attempts), options.max_parts)
    payments = (batch.source, batch.destination, batch.amount_msat, np.zeros(len(attempts), np.int64))
    pay_batch(network, balances_msat.copy(), scratch, memory, settings, payments, outcomes)
    attempts[uncounted] = outcomes.attempts[uncounted]
