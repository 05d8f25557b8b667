"""Compiled draws of a market: payments that arrive at times of their own, from flows that come and go.

A flow is a pair of nodes with amounts of its own. Payments arrive as a Poisson process whose rate follows the hour of
the day, each of them belongs to a flow by the weights of the flows, and counts only while that flow is active. So the
payments of a flow are a Poisson process of their own with a rate that is switched on and off, drawn by thinning (Lewis
and Shedler: Simulation of nonhomogeneous Poisson processes by thinning, 1979). Everything is a pure function of (seed,
episode, step) and of a ``FlowProgram``, which ``market`` makes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.compiled import fused, kernel, outlined
from lnsim_gym.compiled.elementary import compiled_exp, compiled_log
from lnsim_gym.payments import PaymentBatch
from lnsim_gym.traffic.kernels import DESCRIPTION_COUNT, between, pick, quantile
from lnsim_gym.traffic.random import PURPOSE_ACTIVITY, PURPOSE_FLOWS, advance, fork, stream, uniform

__all__ = ["FlowProgram", "batch_of", "draw_flows"]

HOUR_MS: Final = 3600 * 1000
DAY_MS: Final = 24 * HOUR_MS


class FlowProgram(NamedTuple):
    """A market compiled for a topology."""

    source: Int64  # (flows,)
    destination: Int64  # (flows,)
    cumulative: Float64  # (flows,) running sums of the flows' weights
    median_sat: Float64  # (flows,) median amount
    log_sd: Float64  # (flows,) standard deviation of the logarithm of amounts
    fee_limit_ppm: Int64  # (flows,) most that they pay in fees, in millionths of the amount
    active_share: Float64  # (flows,) share of the time that a flow is active
    spell_ms: Int64  # (flows,) how long it stays active or not
    normal_table: Float64  # (TABLE_CELLS + 1,) standard normal quantiles
    arrivals_per_ms: float
    """Arrivals at the busiest hour if all flows were active."""
    day_swing: float
    """How much busier the busiest hour is than the mean, as a share of it."""
    max_amount_sat: int
    step_ms: int


@fused
def _busy(day_swing: Any, clock_ms: Any) -> Any:
    """Return how busy a time of day is as a share of the busiest: a line up to noon and down again."""
    hour = np.float64(np.int64(clock_ms) % DAY_MS) / DAY_MS
    height = 1.0 - 4.0 * abs(hour - 0.5)  # -1 at midnight, 1 at noon
    return (1.0 + day_swing * height) / (1.0 + day_swing)


@fused
def _is_active(program: Any, seed: Any, episode: Any, flow: Any, clock_ms: Any) -> Any:
    """Return whether a flow is active at a time; its spells begin at times of its own."""
    start = stream(seed, episode, flow, PURPOSE_ACTIVITY)
    spell_ms = program.spell_ms[flow]
    spell = (np.int64(clock_ms) + np.int64(uniform(start) * spell_ms)) // spell_ms
    return uniform(fork(start, spell + 1)) < program.active_share[flow]


@outlined
def draw_flows(
    program: Any,
    seed: Any,
    episode: Any,
    step: Any,
    source: Any,
    destination: Any,
    amount_msat: Any,
    description: Any,
    time_ms: Any,
    fee_limit_ppm: Any,
) -> Any:
    """Draw the payments of one step, in the order in which they arrive.

    Args:
        program: ``FlowProgram``.
        seed: Seed of the environment, uint64.
        episode: Index of the episode since that seed.
        step: Index of the step since the clock began.
        source: Filled with sender indices, shape (payments,).
        destination: Filled with receiver indices, shape (payments,).
        amount_msat: Filled with whole sat amounts in msat, shape (payments,).
        description: Filled with indices into ``DESCRIPTIONS``, shape (payments,).
        time_ms: Filled with times since the clock began, in ms, shape (payments,).
        fee_limit_ppm: Filled with what is paid in fees at most, in millionths of the amount, shape (payments,).

    Returns:
        How many there are; those beyond the room for them are left out.
    """
    state = stream(seed, episode, step, PURPOSE_FLOWS)
    begin_ms = step * program.step_ms
    flows = program.cumulative.shape[0]
    after_ms, due = 0.0, np.int64(0)
    while due < source.shape[0] and flows > 0:
        after_ms -= compiled_log(1.0 - uniform(state)) / program.arrivals_per_ms
        if after_ms >= program.step_ms:
            break
        state = advance(state)
        clock_ms = begin_ms + np.int64(after_ms)
        flow = pick(program.cumulative, uniform(state) * program.cumulative[flows - 1])
        state = advance(state)
        chance = uniform(state)
        state = advance(state)
        if chance >= _busy(program.day_swing, clock_ms) or not _is_active(program, seed, episode, flow, clock_ms):
            continue
        drawn = compiled_exp(program.log_sd[flow] * quantile(program.normal_table, uniform(state)))
        state = advance(state)
        amount_sat = np.int64(program.median_sat[flow] * drawn)
        source[due], destination[due] = program.source[flow], program.destination[flow]
        amount_msat[due] = 1000 * between(np.int64(1), amount_sat, program.max_amount_sat)
        description[due] = np.int64(uniform(state) * DESCRIPTION_COUNT)
        time_ms[due], fee_limit_ppm[due] = clock_ms, program.fee_limit_ppm[flow]
        state = advance(state)
        due += 1
    return due


@kernel
def _draw(program: Any, seed: Any, episode: Any, step: Any, batch: Any) -> int:
    """Draw the payments of a step; see ``draw_flows``."""
    due: int = draw_flows(program, seed, episode, step, batch[0], batch[1], batch[2], batch[3], batch[4], batch[5])
    return due


def batch_of(
    program: FlowProgram, payments: int, seed: int, episode: int, step: int
) -> tuple[PaymentBatch, Int64, Int64]:
    """Return the payments of a step, when they arrive, in ms since the clock began, and their fee limits in ppm.

    Args:
        program: The market.
        payments: Most payments of a step.
        seed: Seed of the environment; its low 64 bits count.
        episode: Index of the episode since that seed.
        step: Index of the step since the clock began.
    """
    columns = tuple(np.zeros(payments, np.int64) for _ in range(6))
    due = _draw(program, np.uint64(seed % 2**64), episode, step, columns)
    source, destination, amount_msat, description, time_ms, fee_limit_ppm = (column[:due] for column in columns)
    return PaymentBatch(source, destination, amount_msat, description), time_ms, fee_limit_ppm
