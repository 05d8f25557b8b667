"""Draws for callers in Python (live networks, planners, tests): the payments of a step, weights, start balances."""

from __future__ import annotations

from typing import Any

import numpy as np

from lnsim_gym.compiled import kernel
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch
from lnsim_gym.traffic.kernels import TrafficProgram, draw_payments
from lnsim_gym.traffic.kernels import draw_start_balances as start_balances_into
from lnsim_gym.traffic.kernels import draw_weights as weights_into
from lnsim_gym.traffic.models import TrafficModel, compile_traffic

__all__ = ["TrafficSource", "draw_start_balances", "draw_weights"]


@kernel
def draw_weights(program: Any, seed: Any, episode: Any, regime: Any, cumulative: Any) -> None:
    """Draw the weights of a demand regime; see ``kernels.draw_weights``."""
    weights_into(program, seed, episode, regime, cumulative)


@kernel
def draw_start_balances(
    given_msat: Any,
    owned_total_msat: Any,
    reserve_msat: Any,
    low: Any,
    high: Any,
    skew: Any,
    seed: Any,
    episode: Any,
    balances_msat: Any,
) -> None:
    """Draw start balances; see ``kernels.draw_start_balances``."""
    start_balances_into(given_msat, owned_total_msat, reserve_msat, low, high, skew, seed, episode, balances_msat)


@kernel
def _draw_payments(program: Any, cumulative: Any, seed: Any, episode: Any, step: Any, batch: Any) -> None:
    """Draw the payments of a step; see ``kernels.draw_payments``."""
    draw_payments(program, cumulative, seed, episode, step, batch[0], batch[1], batch[2], batch[3])


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
        _draw_payments(self.program, self._cumulative, bits, episode, step, batch)
        return batch
