"""The compiled loop: reset and step thousands of networks without leaving machine code.

Its functions pass each other the address of the state's table and read from it what they need: a state handed
over by value would be hundreds of words at every call, and minutes of compile time.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.base import RebalanceReason
from lnsim_gym.backends.simulator.engine import (
    Outcomes,
    memory_at,
    network_at,
    pay_batch,
    send_over,
    spendable,
)
from lnsim_gym.compiled import inlined, kernel, outlined
from lnsim_gym.episodes.binding import reader
from lnsim_gym.episodes.columns import (
    REBALANCE_APPLIED,
    REBALANCE_FAILURE_INDEX,
    REBALANCE_FEE,
    REBALANCE_REASON,
    REBALANCE_REQUESTED,
)
from lnsim_gym.episodes.example import example_state
from lnsim_gym.episodes.measure import allow_rebalances, measure_step
from lnsim_gym.episodes.state import program_at
from lnsim_gym.observations import observe_balances, observe_flows
from lnsim_gym.traffic.kernels import draw_payments, draw_start_balances, draw_weights
from lnsim_gym.traffic.random import PURPOSE_VARIANT, stream

__all__ = ["reset_networks", "step_networks"]

FEE_LIMIT_EXCEEDED: Final = int(RebalanceReason.FEE_LIMIT_EXCEEDED)

_read = reader(example_state())


@kernel
def reset_networks(address: int, begin: int, end: int) -> None:
    """Start the next episode of the marked networks of a range.

    Args:
        address: Address of the table of an ``EpisodeState``.
        begin: First network of the range.
        end: The one after its last.
    """
    columns = _read(address).columns
    for index in range(begin, end):
        if columns.which[index]:
            _start(address, index)
            _observe(address, index)


@kernel
def step_networks(address: int, begin: int, end: int) -> None:
    """Do one step on the marked networks of a range; arguments as for ``reset_networks``."""
    columns = _read(address).columns
    for index in range(begin, end):
        if columns.which[index]:
            unit_msat = _rebalance(address, index)
            _draw(address, index)
            _pay(address, index)
            _measure(address, index, unit_msat)
            _observe(address, index)
            columns.steps[index] += 1


@outlined
def _start(address: Any, index: Any) -> None:
    """Set start balances and forget the past."""
    state = _read(address)
    columns, problem = state.columns, state.problem
    seed, episode = columns.seeds[index], columns.episodes[index]
    variant = np.int64(stream(seed, episode, 0, PURPOSE_VARIANT) % np.uint64(problem.start_low.shape[0]))
    columns.variant[index] = variant
    columns.steps[index] = 0
    columns.regime[index] = -1
    columns.observation[index, :] = 0
    balances = columns.balances_msat[index]
    if columns.given_msat[index, 0] >= 0:
        _copy(columns.given_msat[index], balances)
        columns.given_msat[index, 0] = -1
    elif problem.start_low[variant] < 0:
        _copy(problem.start_msat[variant], balances)
    else:
        draw_start_balances(
            problem.owned_total_msat[variant],
            problem.reserve_msat[variant],
            problem.start_low[variant],
            problem.start_high[variant],
            seed,
            episode,
            balances,
        )
    memory = memory_at(state.memories, index)
    memory.first[:] = 0
    memory.used[0] = 0


@inlined
def _copy(source: Any, target: Any) -> None:
    """Copy an array."""
    for index in range(target.shape[0]):
        target[index] = source[index]


@outlined
def _rebalance(address: Any, index: Any) -> Any:
    """Apply the rebalance of a step, fill its counts, and return the capacity that its size refers to, in msat."""
    state = _read(address)
    columns, problem, variant = state.columns, state.problem, state.columns.variant[index]
    counts, row, amount = columns.counts[index], columns.row[index], columns.rebalance_msat[index]
    counts[REBALANCE_REQUESTED] = amount
    counts[REBALANCE_APPLIED] = 0
    counts[REBALANCE_FEE] = 0
    counts[REBALANCE_REASON] = 0
    counts[REBALANCE_FAILURE_INDEX] = -1
    if row < 0:
        return np.int64(1)
    route, length = problem.route[variant, row], problem.route_hops[variant, row]
    needed = amount
    for hop in range(length - 1, 0, -1):
        rate_ppm = problem.fee_rate_ppm[variant, route[hop]]
        needed += problem.fee_base_msat[variant, route[hop]] + needed * rate_ppm // 1_000_000
    if needed - amount > amount * problem.fee_limit_ppm[variant] // 1_000_000:
        counts[REBALANCE_REASON] = FEE_LIMIT_EXCEEDED
        return problem.route_unit_msat[variant, row]
    reason, fee_msat, failure_index = send_over(
        network_at(state.networks, variant),
        columns.balances_msat[index],
        state.scratch,
        memory_at(state.memories, index),
        route,
        length,
        amount,
        state.programs.payment_ms[variant] * columns.steps[index] * columns.source.shape[1],
    )
    counts[REBALANCE_FAILURE_INDEX] = failure_index
    counts[REBALANCE_REASON] = reason
    if reason == 0:
        counts[REBALANCE_APPLIED] = amount
        counts[REBALANCE_FEE] = fee_msat
    return problem.route_unit_msat[variant, row]


@outlined
def _draw(address: Any, index: Any) -> None:
    """Draw the payments of a step."""
    state = _read(address)
    columns, program = state.columns, program_at(state.programs, state.columns.variant[index])
    seed, episode, step = columns.seeds[index], columns.episodes[index], columns.steps[index]
    regime = step // program.redraw_every_steps
    if regime != columns.regime[index]:
        draw_weights(program, seed, episode, regime, columns.cumulative[index])
        columns.regime[index] = regime
    draw_payments(
        program,
        columns.cumulative[index],
        seed,
        episode,
        step,
        columns.source[index],
        columns.destination[index],
        columns.amount_msat[index],
        columns.description[index],
    )


@outlined
def _pay(address: Any, index: Any) -> None:
    """Make the payments of a step, one after another."""
    state = _read(address)
    columns, variant = state.columns, state.columns.variant[index]
    payments = columns.source.shape[1]
    for payment in range(payments):
        columns.now_ms[index, payment] = state.programs.payment_ms[variant] * (
            columns.steps[index] * payments + payment
        )
    pay_batch(
        network_at(state.networks, variant),
        columns.balances_msat[index],
        state.scratch,
        memory_at(state.memories, index),
        state.settings,
        columns.source[index],
        columns.destination[index],
        columns.amount_msat[index],
        columns.now_ms[index],
        Outcomes(
            columns.succeeded[index],
            columns.failure_reason[index],
            columns.attempts[index],
            columns.fee_msat[index],
            columns.parts[index],
            columns.part_amount_msat[index],
            columns.part_route[index],
        ),
    )


@outlined
def _measure(address: Any, index: Any, unit_msat: Any) -> None:
    """Count, compute the reward, and shift the history of flows where the observation has one."""
    state = _read(address)
    columns = state.columns
    columns.reward[index] = measure_step(
        columns.amount_msat[index],
        columns.succeeded[index],
        columns.failure_reason[index],
        columns.fee_msat[index],
        unit_msat,
        state.weights,
        columns.counts[index],
        columns.terms[index],
    )
    if state.history > 0:
        observe_flows(
            columns.source[index],
            columns.destination[index],
            columns.succeeded[index],
            columns.parts[index],
            columns.part_amount_msat[index],
            columns.part_route[index],
            state.problem.per_capacity[columns.variant[index]],
            state.nodes,
            state.history,
            columns.observation[index],
        )


@outlined
def _observe(address: Any, index: Any) -> None:
    """Observe the balances and mark the rebalances that they allow."""
    state = _read(address)
    columns, problem, variant = state.columns, state.problem, state.columns.variant[index]
    balances, free = columns.balances_msat[index], columns.spendable_msat[index]
    network = network_at(state.networks, variant)
    observe_balances(balances, problem.per_capacity[variant], columns.observation[index])
    for direction in range(balances.shape[0]):
        free[direction] = spendable(network, balances, state.scratch.htlcs, direction)
    allow_rebalances(free, problem.first_direction[variant], problem.needed_msat[variant], columns.allowed[index])
