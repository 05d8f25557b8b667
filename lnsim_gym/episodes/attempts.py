"""Counting the attempts of hopeless payments, when somebody asks for them.

The compiled loop sees that a payment is hopeless and spares it its attempts, of which neither observation nor reward
nor info speaks. Records and streams do: for them the payments of the step are made again, with every attempt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lnsim_gym.backends.base import PaymentBatch, PaymentOptions
from lnsim_gym.backends.simulator.engine import (
    UNCOUNTED,
    Network,
    make_memory,
    make_outcomes,
    make_scratch,
    make_settings,
    pay_batch,
    pay_batch_whole,
)

__all__ = ["AttemptCounter"]


class AttemptCounter:
    """Makes the payments of single steps again; threads may share it.

    Args:
        networks: The networks, stacked over variants.
        options: How payments are sent.
    """

    def __init__(self, networks: Network, options: PaymentOptions) -> None:
        self._networks = networks
        self._options = options

    def count(
        self, variant: int, balances_msat: npt.NDArray[np.int64], batch: PaymentBatch, attempts: npt.NDArray[np.int32]
    ) -> None:
        """Fill in the attempts that are ``UNCOUNTED``.

        Args:
            variant: Which of the networks the payments were made on.
            balances_msat: Balances before the payments, shape (directions,).
            batch: The payments.
            attempts: Their attempts, shape (payments,), changed in place.
        """
        uncounted = attempts == UNCOUNTED
        if not uncounted.any():
            return
        network = Network(*(column[variant] for column in self._networks))
        outcomes = make_outcomes(len(attempts), self._options.max_parts)
        (pay_batch_whole if self._options.max_parts == 1 else pay_batch)(
            network,
            balances_msat.copy(),
            make_scratch(network),
            make_memory(network, self._options),
            make_settings(self._options),
            batch.source,
            batch.destination,
            batch.amount_msat,
            np.zeros(len(attempts), np.int64),
            outcomes,
        )
        attempts[uncounted] = outcomes.attempts[uncounted]
