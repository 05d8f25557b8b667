"""Counting the attempts of hopeless payments, when somebody asks for them.

The compiled loop sees that a payment is hopeless and spares it its attempts, of which neither observation nor reward
nor info speaks. Records and streams do: for them the payments of the step are made again, with every attempt.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from lnsim_gym.backends.base import PaymentBatch
from lnsim_gym.backends.simulator.backend import SimulatorBackend
from lnsim_gym.backends.simulator.engine import UNCOUNTED
from lnsim_gym.episodes.problem import Problem

__all__ = ["AttemptCounter"]


class AttemptCounter:
    """Makes the payments of single steps again; threads may share it.

    Args:
        problem: What the steps belong to.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._backends: dict[int, SimulatorBackend] = {}
        self._lock = threading.Lock()

    def count(
        self,
        variant: int,
        balances_msat: npt.NDArray[np.int64],
        batch: PaymentBatch,
        attempts: npt.NDArray[np.int32],
    ) -> None:
        """Fill in the attempts that are ``UNCOUNTED``.

        Args:
            variant: Index of the problem's variant.
            balances_msat: Balances before the payments, shape (directions,).
            batch: The payments.
            attempts: Their attempts, shape (payments,), changed in place.
        """
        if (attempts != UNCOUNTED).all():
            return
        with self._lock:
            backend = self._backend(variant)
            backend.reset(balances_msat.reshape(-1, 2))
            attempts[:] = backend.pay(batch).attempts

    def _backend(self, variant: int) -> SimulatorBackend:
        """Return a simulator of a variant's network, made when it is first needed."""
        if variant not in self._backends:
            topology = self._problem.variants[variant].topology
            self._backends[variant] = SimulatorBackend(topology, self._problem.config.payment)
        return self._backends[variant]
