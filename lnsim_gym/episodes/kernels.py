"""The compiled loop: reset and step thousands of networks without leaving machine code.

Its functions pass each other the address of the state's table and read from it just what they need: a state handed
over by value would be hundreds of words at every call, and minutes of compile time.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.engine import (
    Outcomes,
    fee_limit_msat,
    memory_at,
    network_at,
    pay,
    pay_whole,
    send_over,
    spendable,
)
from lnsim_gym.compiled import inlined, kernel, outlined
from lnsim_gym.compiled.binding import reader
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
from lnsim_gym.payments import RebalanceReason
from lnsim_gym.tasks.liquidity.observations import observe_balances, observe_flows
from lnsim_gym.traffic.kernels import draw_payments, draw_start_balances, draw_weights
from lnsim_gym.traffic.random import PURPOSE_VARIANT, stream

__all__ = ["note_flows", "reset_networks", "step_networks", "step_networks_in_parts"]

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
    which = _read(address, "columns.which")
    for index in range(begin, end):
        if which[index]:
            _start(address, index)
            _observe(address, index)


@kernel
def step_networks(address: int, begin: int, end: int) -> None:
    """Do one step on the marked networks of a range, payments in one part; arguments as for ``reset_networks``."""
    _step_range(_pay_whole, address, begin, end)


@kernel
def step_networks_in_parts(address: int, begin: int, end: int) -> None:
    """Do one step as ``step_networks``, payments in several parts if they must be."""
    _step_range(_pay_in_parts, address, begin, end)


@kernel
def note_flows(address: int, begin: int, end: int) -> None:
    """Note the flows of the step just done on the marked networks of a range, for observations that have them."""
    which = _read(address, "columns.which")
    for index in range(begin, end):
        if which[index]:
            observe_flows(
                _read(address, "columns.source")[index],
                _read(address, "columns.destination")[index],
                _read(address, "columns.succeeded")[index],
                _read(address, "columns.parts")[index],
                _read(address, "columns.part_amount_msat")[index],
                _read(address, "columns.part_route")[index],
                _read(address, "problem.per_capacity")[_read(address, "columns.variant")[index]],
                _read(address, "nodes"),
                _read(address, "history"),
                _read(address, "averaging"),
                _read(address, "columns.observation")[index],
            )


@inlined
def _step_range(pay_all: Any, address: Any, begin: Any, end: Any) -> None:
    """Do one step on the marked networks of a range."""
    which, steps = _read(address, "columns.which"), _read(address, "columns.steps")
    variant, stepped_variant = _read(address, "columns.variant"), _read(address, "columns.stepped_variant")
    for index in range(begin, end):
        if which[index]:
            unit_msat = _rebalance(address, index)
            _copy(_read(address, "columns.balances_msat")[index], _read(address, "columns.rebalanced_msat")[index])
            _draw(address, index)
            pay_all(address, index)
            _measure(address, index, unit_msat)
            _observe(address, index)
            steps[index] += 1
            stepped_variant[index] = variant[index]


@outlined
def _start(address: Any, index: Any) -> None:
    """Set start balances and forget the past."""
    seed, episode = _read(address, "columns.seeds")[index], _read(address, "columns.episodes")[index]
    low, high = _read(address, "problem.start_low"), _read(address, "problem.start_high")
    variant = np.int64(stream(seed, episode, 0, PURPOSE_VARIANT) % np.uint64(low.shape[0]))
    _read(address, "columns.variant")[index] = variant
    _read(address, "columns.steps")[index] = 0
    _read(address, "columns.regime")[index] = -1
    _read(address, "columns.observation")[index, :] = 0
    balances, given = _read(address, "columns.balances_msat")[index], _read(address, "columns.given_msat")[index]
    if given[0] >= 0:
        _copy(given, balances)
        given[0] = -1
    elif low[variant] < 0:
        _copy(_read(address, "problem.start_msat")[variant], balances)
    else:
        owned_msat = _read(address, "problem.owned_total_msat")[variant]
        reserve_msat = _read(address, "problem.reserve_msat")[variant]
        draw_start_balances(owned_msat, reserve_msat, low[variant], high[variant], seed, episode, balances)
    _read(address, "memories.first")[index, :] = 0
    _read(address, "memories.used")[index, 0] = 0


@inlined
def _copy(source: Any, target: Any) -> None:
    """Copy an array."""
    for index in range(target.shape[0]):
        target[index] = source[index]


@outlined
def _rebalance(address: Any, index: Any) -> Any:
    """Apply the rebalance of a step, fill its counts, and return the capacity that its size refers to, in msat."""
    row, amount = _read(address, "columns.row")[index], _read(address, "columns.rebalance_msat")[index]
    counts = _read(address, "columns.counts")[index]
    counts[REBALANCE_REQUESTED] = amount
    counts[REBALANCE_APPLIED] = 0
    counts[REBALANCE_FEE] = 0
    counts[REBALANCE_REASON] = 0
    counts[REBALANCE_FAILURE_INDEX] = -1
    if row < 0:
        return np.int64(1)
    variant = _read(address, "columns.variant")[index]
    unit_msat = _read(address, "problem.route_unit_msat")[variant, row]
    if _costs_too_much(address, variant, row, amount):
        counts[REBALANCE_REASON] = FEE_LIMIT_EXCEEDED
        return unit_msat
    step, payments = _read(address, "columns.steps")[index], _read(address, "columns.source").shape[1]
    reason, fee_msat, failure_index = send_over(
        network_at(_read(address, "networks"), variant),
        _read(address, "columns.balances_msat")[index],
        _read(address, "scratch.work"),
        memory_at(_read(address, "memories"), index),
        _read(address, "problem.route")[variant, row],
        _read(address, "problem.route_hops")[variant, row],
        amount,
        _read(address, "programs.payment_ms")[variant] * step * payments,
    )
    counts[REBALANCE_FAILURE_INDEX] = failure_index
    counts[REBALANCE_REASON] = reason
    if reason == 0:
        counts[REBALANCE_APPLIED] = amount
        counts[REBALANCE_FEE] = fee_msat
    return unit_msat


@outlined
def _costs_too_much(address: Any, variant: Any, row: Any, amount: Any) -> Any:
    """Return whether the fees of a rebalance exceed the limit."""
    route = _read(address, "problem.route")[variant, row]
    base_msat = _read(address, "problem.fee_base_msat")[variant]
    rate_ppm = _read(address, "problem.fee_rate_ppm")[variant]
    needed = amount
    for hop in range(_read(address, "problem.route_hops")[variant, row] - 1, 0, -1):
        needed += base_msat[route[hop]] + needed * rate_ppm[route[hop]] // 1_000_000
    return needed - amount > amount * _read(address, "problem.fee_limit_ppm")[variant] // 1_000_000


@outlined
def _draw(address: Any, index: Any) -> None:
    """Draw the payments of a step."""
    program = program_at(_read(address, "programs"), _read(address, "columns.variant")[index])
    seed, episode = _read(address, "columns.seeds")[index], _read(address, "columns.episodes")[index]
    step, regimes = _read(address, "columns.steps")[index], _read(address, "columns.regime")
    cumulative = _read(address, "columns.cumulative")[index]
    regime = step // program.redraw_every_steps
    if regime != regimes[index]:
        draw_weights(program, seed, episode, regime, cumulative)
        regimes[index] = regime
    source, destination = _read(address, "columns.source")[index], _read(address, "columns.destination")[index]
    amount_msat = _read(address, "columns.amount_msat")[index]
    description = _read(address, "columns.description")[index]
    draw_payments(program, cumulative, seed, episode, step, source, destination, amount_msat, description)


@outlined
def _pay_whole(address: Any, index: Any) -> None:
    """Make the payments of a step in one part each, one after another."""
    _pay_all(pay_whole, address, index)


@outlined
def _pay_in_parts(address: Any, index: Any) -> None:
    """Make the payments of a step, in several parts if they must be, one after another."""
    _pay_all(pay, address, index)


@inlined
def _pay_all(pay_one: Any, address: Any, index: Any) -> None:
    """Make the payments of a step one after another."""
    variant = _read(address, "columns.variant")[index]
    network, memory = network_at(_read(address, "networks"), variant), memory_at(_read(address, "memories"), index)
    balances, scratch = _read(address, "columns.balances_msat")[index], _read(address, "scratch")
    settings, outcomes = _read(address, "settings"), _outcomes_at(address, index)
    source, destination = _read(address, "columns.source")[index], _read(address, "columns.destination")[index]
    amount_msat, payment_ms = _read(address, "columns.amount_msat")[index], _read(address, "programs.payment_ms")
    now = payment_ms[variant] * _read(address, "columns.steps")[index] * source.shape[0]
    for payment in range(source.shape[0]):
        amount, ends = amount_msat[payment], (source[payment], destination[payment])
        limit = fee_limit_msat(settings, amount)
        pay_one(network, balances, scratch, memory, settings, ends[0], ends[1], amount, limit, now, outcomes, payment)
        now += payment_ms[variant]


@inlined
def _outcomes_at(address: Any, index: Any) -> Any:
    """Return the outcome columns of one network, without copying."""
    return Outcomes(
        _read(address, "columns.succeeded")[index],
        _read(address, "columns.failure_reason")[index],
        _read(address, "columns.attempts")[index],
        _read(address, "columns.fee_msat")[index],
        _read(address, "columns.parts")[index],
        _read(address, "columns.part_amount_msat")[index],
        _read(address, "columns.part_route")[index],
    )


@outlined
def _measure(address: Any, index: Any, unit_msat: Any) -> None:
    """Count, and compute the reward."""
    succeeded, amount_msat = _read(address, "columns.succeeded")[index], _read(address, "columns.amount_msat")[index]
    _read(address, "columns.reward")[index] = measure_step(
        amount_msat,
        succeeded,
        _read(address, "columns.failure_reason")[index],
        _read(address, "columns.fee_msat")[index],
        unit_msat,
        _read(address, "weights"),
        _read(address, "columns.counts")[index],
        _read(address, "columns.terms")[index],
    )


@outlined
def _observe(address: Any, index: Any) -> None:
    """Observe the balances and mark the rebalances that they allow."""
    variant = _read(address, "columns.variant")[index]
    balances, free = _read(address, "columns.balances_msat")[index], _read(address, "columns.spendable_msat")[index]
    network, htlcs = network_at(_read(address, "networks"), variant), _read(address, "scratch.work.htlcs")
    per_capacity = _read(address, "problem.per_capacity")[variant]
    observe_balances(balances, per_capacity, _read(address, "columns.observation")[index])
    for direction in range(balances.shape[0]):
        free[direction] = spendable(network, balances, htlcs, direction)
    first_direction = _read(address, "problem.first_direction")[variant]
    needed_msat = _read(address, "problem.needed_msat")[variant]
    allow_rebalances(free, first_direction, needed_msat, _read(address, "columns.allowed")[index])
