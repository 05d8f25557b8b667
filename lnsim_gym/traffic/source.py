"""Payments of one environment, drawn batch by batch for callers in Python (live networks, tests, notebooks)."""

from __future__ import annotations

import numpy as np

from lnsim_gym.backends.base import PaymentBatch
from lnsim_gym.network import Topology
from lnsim_gym.traffic.kernels import TrafficProgram, draw_payments, draw_weights
from lnsim_gym.traffic.models import TrafficModel, compile_traffic

__all__ = ["TrafficSource"]


class TrafficSource:
    """Draws the payments of any step of any episode of any seed.

    Args:
        model: The traffic model.
        topology: The network it runs on.
        payments_per_step: Payments in each batch.
    """

    def __init__(self, model: TrafficModel, topology: Topology, payments_per_step: int) -> None:
        self.program: TrafficProgram = compile_traffic(model, topology)
        self.payments_per_step = payments_per_step
        self._cumulative = np.empty((2, len(topology.nodes)))
        self._regime: tuple[int, int, int] | None = None

    def batch(self, seed: int, episode: int, step: int) -> PaymentBatch:
        """Return the payments of a step.

        Args:
            seed: Seed of the environment; its low 64 bits count.
            episode: Index of the episode since that seed.
            step: Index of the step within the episode.
        """
        bits = np.uint64(seed % 2**64)
        regime = (seed, episode, step // self.program.redraw_every_steps)
        if regime != self._regime:
            draw_weights(self.program, bits, episode, regime[2], self._cumulative)
            self._regime = regime
        batch = PaymentBatch(*(np.empty(self.payments_per_step, np.int64) for _ in PaymentBatch._fields))
        draw_payments(self.program, self._cumulative, bits, episode, step, *batch)
        return batch
