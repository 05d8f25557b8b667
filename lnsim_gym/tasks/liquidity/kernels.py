"""The liquidity task, compiled: apply a rebalance, compute the reward, observe balances and flows."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Float32, Float64, Int32, Int64
from lnsim_gym.backends.simulator.circular import send_around
from lnsim_gym.backends.simulator.engine import memory_at, send_over, spendable
from lnsim_gym.backends.simulator.fees import route_fees_msat
from lnsim_gym.compiled import inlined, kernel, outlined
from lnsim_gym.compiled.binding import reader
from lnsim_gym.payments import MAX_ROUTE_HOPS, RebalanceReason
from lnsim_gym.tasks.columns import FEES, LEDGER, SUCCEEDED, VOLUME
from lnsim_gym.tasks.liquidity.ledger import APPLIED, FAILURE_INDEX, FEE, HOPS, REASON, REQUESTED, ROUTE
from lnsim_gym.tasks.liquidity.observations import observe_balances, observe_flows
from lnsim_gym.tasks.liquidity.rewards import TERMS
from lnsim_gym.tasks.liquidity.routes import exceeds_fee_limit
from lnsim_gym.tasks.loop import (
    conclude_first,
    linked_network_of,
    network_of,
    note_spendable,
    pay_in_parts,
    pay_in_whole,
    pay_linked,
    read,
    reset_range,
    step_range,
)

__all__ = [
    "LiquidityState",
    "conclude",
    "example",
    "observe",
    "reset",
    "step",
    "step_around",
    "step_around_in_parts",
    "step_around_linked",
    "step_in_parts",
    "step_linked",
]

SUCCESS_RATE: Final = TERMS.index("success_rate")
VOLUME_RATE: Final = TERMS.index("volume_rate")
ROUTING_FEES: Final = TERMS.index("routing_fees_sat")
REBALANCE_FEES: Final = TERMS.index("rebalance_fees_sat")
REBALANCED_SHARE: Final = TERMS.index("rebalanced_share")

FEE_LIMIT_EXCEEDED: Final = int(RebalanceReason.FEE_LIMIT_EXCEEDED)


class LiquidityState(NamedTuple):
    """What the kernels need to know of the task, one entry or row per variant."""

    route: Int32  # (variants, rows, longest) directions of each rebalance route, padded with -1
    route_hops: Int64  # (variants, rows)
    route_unit_msat: Int64  # (variants, rows) capacity of the smallest channel on it
    first_direction: Int64  # (variants, rows * sizes)
    needed_msat: Int64  # (variants, rows * sizes)
    option: Int64  # (variants, rows * sizes) the options, those with the same first direction side by side
    first_option: Int64  # (variants, directions + 1) where those of each direction begin
    per_capacity: Float64  # (variants, directions)
    fee_limit_ppm: Int64  # (variants,) most a rebalance may pay in fees
    weights: Float64  # (terms,) reward weights
    nodes: int
    history: int
    averaging: Float32  # (averages,) see ``observe_flows``
    attempts: int  # most routes that a rebalance tries where they are found when it is taken; 0 where they are listed
    looks_again: int  # 1 where a step observes the channels it used, 0 where it observes all


def example() -> LiquidityState:
    """Return a state with the types that every state has."""
    table = np.zeros((1, 1), np.int64)
    return LiquidityState(
        route=np.zeros((1, 1, 1), np.int32),
        route_hops=table,
        route_unit_msat=table,
        first_direction=table,
        needed_msat=table,
        option=table,
        first_option=table,
        per_capacity=np.zeros((1, 1)),
        fee_limit_ppm=np.zeros(1, np.int64),
        weights=np.zeros(len(TERMS)),
        nodes=1,
        history=1,
        averaging=np.zeros(1, np.float32),
        attempts=0,
        looks_again=0,
    )


_mine = reader(example())
_exceeds_fee_limit = inlined(exceeds_fee_limit)


@kernel
def reset(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.reset``."""
    reset_range(_observe, address, task, begin, end)


@kernel
def step(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.step``."""
    step_range(_apply, pay_in_whole, _measure, _observe_used, address, task, begin, end)


@kernel
def step_in_parts(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.step_in_parts``."""
    step_range(_apply, pay_in_parts, _measure, _observe_used, address, task, begin, end)


@kernel
def step_linked(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.step_linked``."""
    step_range(_apply_linked, pay_linked, _measure, _observe_used, address, task, begin, end)


@kernel
def step_around(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.step``; for rebalances whose routes are found when they are taken."""
    step_range(_apply_around, pay_in_whole, _measure, _observe_used, address, task, begin, end)


@kernel
def step_around_in_parts(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.step_in_parts``; for rebalances whose routes are found when they are taken."""
    step_range(_apply_around, pay_in_parts, _measure, _observe_used, address, task, begin, end)


@kernel
def step_around_linked(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.step_linked``; for rebalances whose routes are found when they are taken."""
    step_range(_apply_around_linked, pay_linked, _measure, _observe_used, address, task, begin, end)


@kernel
def observe(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.observe``."""
    for index in range(begin, end):
        _observe(address, task, index)


@kernel
def conclude(address: int, task: int, begin: int, end: int) -> None:  # noqa: ARG001 - the signature of every kernel
    """See ``TaskKernels.conclude``."""
    conclude_first(_measure, _observe_step, address, task)


@outlined
def _apply(address: Any, task: Any, index: Any) -> None:
    """Apply the rebalance of a step where no network has links."""
    _apply_to(network_of, address, task, index)


@outlined
def _apply_linked(address: Any, task: Any, index: Any) -> None:
    """Apply the rebalance of a step on a network with links."""
    _apply_to(linked_network_of, address, task, index)


@inlined
def _note_request(noted: Any, amount: Any) -> None:
    """Begin the ledger of a step: what is asked for, and that nothing came of it yet."""
    noted[REQUESTED] = amount
    noted[APPLIED] = 0
    noted[FEE] = 0
    noted[REASON] = 0
    noted[FAILURE_INDEX] = -1
    for entry in range(ROUTE, noted.shape[0]):
        noted[entry] = -1


@inlined
def _deeds(address: Any) -> Any:
    """Return how many rebalances a step has: each is a row and an amount of the decision."""
    return read(address, "columns.decision").shape[1] // 2


@inlined
def _ledger_of(address: Any, index: Any, deed: Any) -> Any:
    """Return what is noted of one rebalance of a step, a view; all have equally long parts of the ledger."""
    noted = read(address, "columns.counts")[index, LEDGER:]
    length = noted.shape[0] // _deeds(address)
    return noted[deed * length : (deed + 1) * length]


@inlined
def _apply_to(network_at_index: Any, address: Any, task: Any, index: Any) -> None:
    """Apply the rebalances of a step, one after the other, and note what became of them."""
    for deed in range(_deeds(address)):
        _apply_deed_to(network_at_index, address, task, index, deed)


@inlined
def _apply_deed_to(network_at_index: Any, address: Any, task: Any, index: Any, deed: Any) -> None:
    """Apply one rebalance of a step and note what became of it."""
    decision = read(address, "columns.decision")[index]
    noted = _ledger_of(address, index, deed)
    row = decision[2 * deed]
    amount = decision[2 * deed + 1]
    _note_request(noted, amount)
    if row < 0:
        return
    variant = read(address, "columns.variant")[index]
    network = network_at_index(address, index)
    if _costs_too_much(network, task, variant, row, amount):
        noted[REASON] = FEE_LIMIT_EXCEEDED
        return
    reason, fee_msat, failure_index = send_over(
        network,
        read(address, "columns.balances_msat")[index],
        read(address, "scratch.work"),
        memory_at(read(address, "memories"), index),
        _mine(task, "route")[variant, row],
        _mine(task, "route_hops")[variant, row],
        amount,
        read(address, "columns.now_ms")[index],
        read(address, "columns.earned_msat")[index],
    )
    noted[FAILURE_INDEX] = failure_index
    noted[REASON] = reason
    if reason == 0:
        noted[APPLIED] = amount
        noted[FEE] = fee_msat
        _note_carrying(noted, read(address, "scratch.work.route"), _mine(task, "route_hops")[variant, row])


@outlined
def _note_carrying(noted: Any, route: Any, hops: Any) -> None:
    """Note the directions that carried a rebalance, where there is room for them: of parallel channels the chosen."""
    if noted.shape[0] > ROUTE:
        for hop in range(hops):
            noted[ROUTE + hop] = route[hop]


@outlined
def _apply_around(address: Any, task: Any, index: Any) -> None:
    """Apply the rebalance of a step over a route found now, where no network has links."""
    _apply_around_to(network_of, address, task, index)


@outlined
def _apply_around_linked(address: Any, task: Any, index: Any) -> None:
    """Apply the rebalance of a step over a route found now, on a network with links."""
    _apply_around_to(linked_network_of, address, task, index)


@inlined
def _apply_around_to(network_at_index: Any, address: Any, task: Any, index: Any) -> None:
    """Apply the rebalance of a step between two channels of a node, over a route found now, and note it."""
    decision = read(address, "columns.decision")[index]
    counts = read(address, "columns.counts")[index]
    noted = counts[LEDGER:]
    row, amount = decision[0], decision[1]
    _note_request(noted, amount)
    if row < 0:
        return
    variant = read(address, "columns.variant")[index]
    balances = read(address, "columns.balances_msat")[index]
    reason, fee_msat, failure_index = send_around(
        network_at_index(address, index),
        balances,
        read(address, "scratch.work"),
        memory_at(read(address, "memories"), index),
        row // balances.shape[0],
        row % balances.shape[0],
        amount,
        amount * _mine(task, "fee_limit_ppm")[variant] // 1_000_000,
        _mine(task, "attempts"),
        read(address, "columns.now_ms")[index],
        read(address, "columns.earned_msat")[index],
        noted[ROUTE:HOPS],
        noted[HOPS:],
    )
    noted[FAILURE_INDEX] = failure_index
    noted[REASON] = reason
    if reason == 0:
        noted[APPLIED] = amount
        noted[FEE] = fee_msat


@outlined
def _costs_too_much(network: Any, task: Any, variant: Any, row: Any, amount: Any) -> Any:
    """Return whether the fees of a rebalance exceed the limit."""
    route, hops = _mine(task, "route")[variant, row], _mine(task, "route_hops")[variant, row]
    fees_msat = route_fees_msat(network, route, hops, amount)
    return _exceeds_fee_limit(fees_msat, amount, _mine(task, "fee_limit_ppm")[variant])


@outlined
def _measure(address: Any, task: Any, index: Any) -> None:
    """Compute the reward terms of a step and their weighted sum; its batch is whole, and so never empty."""
    counts = read(address, "columns.counts")[index]
    terms = read(address, "columns.terms")[index]
    amount_msat = read(address, "columns.amount_msat")[index]
    payments = read(address, "columns.due")[index]
    asked_msat = 0
    for payment in range(payments):
        asked_msat += amount_msat[payment]
    terms[SUCCESS_RATE] = counts[SUCCEEDED] / payments
    terms[VOLUME_RATE] = counts[VOLUME] / asked_msat
    terms[ROUTING_FEES] = counts[FEES] / 1000.0
    terms[REBALANCE_FEES] = 0.0
    terms[REBALANCED_SHARE] = 0.0
    for deed in range(_deeds(address)):
        noted = _ledger_of(address, index, deed)
        terms[REBALANCE_FEES] += noted[FEE] / 1000.0
        terms[REBALANCED_SHARE] += noted[APPLIED] / _unit_msat(address, task, index, deed)
    weights = _mine(task, "weights")
    reward = 0.0
    for term in range(terms.shape[0]):
        reward += weights[term] * terms[term]
    read(address, "columns.reward")[index] = reward


@inlined
def _unit_msat(address: Any, task: Any, index: Any, deed: Any) -> Any:
    """Return the capacity that the size of a rebalance is a share of; 1 where there is none."""
    row = read(address, "columns.decision")[index, 2 * deed]
    unit_msat = np.int64(1)
    if row >= 0 and _mine(task, "attempts") > 0:
        directions, policy = read(address, "columns.balances_msat").shape[1], network_of(address, index).policy
        unit_msat = min(policy[row // directions].capacity_msat, policy[row % directions].capacity_msat)
    elif row >= 0:
        unit_msat = _mine(task, "route_unit_msat")[read(address, "columns.variant")[index], row]
    return unit_msat


@outlined
def _observe(address: Any, task: Any, index: Any) -> None:
    """Observe the balances and mark the rebalances that they allow."""
    variant = read(address, "columns.variant")[index]
    free_msat = note_spendable(address, index)
    balances = read(address, "columns.balances_msat")[index]
    per_capacity = _mine(task, "per_capacity")[variant]
    observe_balances(balances, per_capacity, read(address, "columns.observation")[index])
    first_direction = _mine(task, "first_direction")[variant]
    needed_msat = _mine(task, "needed_msat")[variant]
    _allow(free_msat, first_direction, needed_msat, read(address, "columns.allowed")[index])


@inlined
def _allow(spendable_msat: Any, first_direction: Any, needed_msat: Any, allowed: Any) -> None:
    """Mark the rebalances that the paying node's own balance carries, behind doing nothing, which always is allowed."""
    allowed[0] = 1
    for option in range(needed_msat.shape[0]):
        allowed[1 + option] = needed_msat[option] <= spendable_msat[first_direction[option]]


@outlined
def _observe_again(address: Any, task: Any, index: Any) -> None:
    """Observe the channels that the rebalances and the payments of a step used; of the others, what is known holds."""
    for deed in range(_deeds(address)):
        if _ledger_of(address, index, deed)[APPLIED] > 0:
            for hop in range(MAX_ROUTE_HOPS):
                direction = _direction_of(address, task, index, deed, hop)
                if direction < 0:
                    break
                _observe_channel(address, task, index, direction)
    parts, part_route = read(address, "columns.parts")[index], read(address, "columns.part_route")[index]
    for payment in range(read(address, "columns.due")[index]):
        for part in range(parts[payment]):
            for hop in range(part_route.shape[2]):
                direction = part_route[payment, part, hop]
                if direction < 0:
                    break
                _observe_channel(address, task, index, np.int64(direction))


@inlined
def _direction_of(address: Any, task: Any, index: Any, deed: Any, hop: Any) -> Any:
    """Return a direction of the route of an applied rebalance, -1 beyond its end."""
    noted = _ledger_of(address, index, deed)
    if noted.shape[0] > ROUTE:
        return noted[ROUTE + hop]
    row = read(address, "columns.decision")[index, 2 * deed]
    variant = read(address, "columns.variant")[index]
    route = _mine(task, "route")
    return np.int64(route[variant, row, hop]) if hop < _mine(task, "route_hops")[variant, row] else np.int64(-1)


@outlined
def _observe_channel(address: Any, task: Any, index: Any, used: Any) -> None:
    """Observe both ends of a channel, given by either direction, and mark the rebalances that begin there."""
    variant = read(address, "columns.variant")[index]
    balances, network = read(address, "columns.balances_msat")[index], network_of(address, index)
    free_msat, observation = read(address, "columns.spendable_msat")[index], read(address, "columns.observation")[index]
    allowed, needed_msat = read(address, "columns.allowed")[index], _mine(task, "needed_msat")[variant]
    per_capacity = _mine(task, "per_capacity")[variant]
    first, options = _mine(task, "first_option")[variant], _mine(task, "option")[variant]
    for direction in (used, used ^ 1):
        free_msat[direction] = spendable(network, balances, None, direction)
        observation[direction] = np.float32(balances[direction] * per_capacity[direction])
        for place in range(first[direction], first[direction + 1]):
            option = options[place]
            allowed[1 + option] = needed_msat[option] <= free_msat[direction]


@inlined
def _observe_used(address: Any, task: Any, index: Any) -> None:
    """Observe what a simulated step left behind, at the cost of what it did rather than of the network's size."""
    if _mine(task, "looks_again") != 0:
        _observe_again(address, task, index)
    else:
        _observe(address, task, index)
    if _mine(task, "history") > 0:
        _note_flows(address, task, index)


@inlined
def _observe_step(address: Any, task: Any, index: Any) -> None:
    """Observe what a step left behind: balances, and its flows where observations have them."""
    _observe(address, task, index)
    if _mine(task, "history") > 0:
        _note_flows(address, task, index)


@outlined
def _note_flows(address: Any, task: Any, index: Any) -> None:
    """Write the flows of a step into the observation."""
    observe_flows(
        read(address, "columns.due")[index],
        read(address, "columns.source")[index],
        read(address, "columns.destination")[index],
        read(address, "columns.succeeded")[index],
        read(address, "columns.parts")[index],
        read(address, "columns.part_amount_msat")[index],
        read(address, "columns.part_route")[index],
        _mine(task, "per_capacity")[read(address, "columns.variant")[index]],
        _mine(task, "nodes"),
        _mine(task, "history"),
        _mine(task, "averaging"),
        read(address, "columns.observation")[index],
    )
