"""Compiled draws: the payments of one step, the weights of one demand regime, the start balances of one episode.

Each is a pure function of (seed, episode, step) and of a ``TrafficProgram``; ``models`` compiles those from what
a config says. The functions work on one network's slices, without allocation, and are for compiled callers: a loop
over thousands of networks, or the kernels for Python in ``source``.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.compiled import fused, outlined
from lnsim_gym.compiled.elementary import compiled_exp, compiled_log
from lnsim_gym.traffic.random import PURPOSE_PAYMENTS, PURPOSE_START, PURPOSE_WEIGHTS, advance, stream, uniform, word

__all__ = [
    "DESCRIPTION_COUNT",
    "KIND_CLASSIC",
    "KIND_SIMLN",
    "KIND_WEIGHTED",
    "TABLE_CELLS",
    "TrafficProgram",
    "between",
    "draw_balance_msat",
    "draw_payments",
    "draw_start_balances",
    "draw_weights",
    "pick",
    "quantile",
]

KIND_WEIGHTED: Final = 0
KIND_CLASSIC: Final = 1
KIND_SIMLN: Final = 2
TABLE_CELLS: Final = 4096
"""Cells of a quantile table; the table has one more entry."""
DESCRIPTION_COUNT: Final = 15
SCAN_NODES: Final = 24
"""Networks of up to this many nodes are searched by counting, larger ones by halving."""

_MASK_16 = np.uint64(0xFFFF)
_SHIFT_16 = np.uint64(16)


class TrafficProgram(NamedTuple):
    """A traffic model compiled for a topology."""

    kind: int
    """One of the ``KIND_`` constants."""
    nodes: int
    amount_table: Float64  # (TABLE_CELLS + 1,) quantiles: sat, or standard normal for KIND_SIMLN
    normal_table: Float64  # (TABLE_CELLS + 1,) standard normal quantiles
    max_amount_sat: int
    weight_spread: float
    redraw_every_steps: int
    direct_share: float
    multi_hop_share: float
    first_neighbour: Int64  # (nodes + 1,) offsets into neighbours
    neighbours: Int64  # (directions,) sorted within each node
    node_capacity_sat: Float64  # (nodes,)
    expected_payment_sat: float
    fixed_log_sd: float
    """Sigma of every amount, or -1 to derive it from the pair."""
    payment_ms: int
    """Simulated time from one payment to the next, in ms."""


@fused
def quantile(table: Any, unit: Any) -> Any:
    """Read a quantile table at a uniform number, with linear interpolation."""
    place = unit * TABLE_CELLS
    cell = np.int64(place)
    return table[cell] + (place - cell) * (table[cell + 1] - table[cell])


@fused
def pick(cumulative: Any, target: Any) -> Any:
    """Return the first index whose cumulative weight exceeds the target."""
    last = cumulative.shape[0] - 1
    if last < SCAN_NODES:
        index = 0
        for node in range(last):  # counting has no branch to mispredict
            index += cumulative[node] <= target
        return index
    low = 0
    high = last
    while low < high:
        middle = (low + high) >> 1
        if cumulative[middle] > target:
            high = middle
        else:
            low = middle + 1
    return low


@fused
def between(least: Any, value: Any, most: Any) -> Any:
    """Return a number raised to the least and then cut to the most allowed."""
    raised = least if value < least else value
    return most if raised > most else raised


@fused
def _below(state: Any, count: Any) -> Any:
    """Return a uniform integer in 0..count-1 from a stream state."""
    return np.int64(uniform(state) * count)


@outlined
def draw_weights(program: Any, seed: Any, episode: Any, regime: Any, cumulative: Any) -> None:
    """Draw the node weights of one demand regime.

    Args:
        program: The compiled traffic model.
        seed: Seed of the environment, uint64.
        episode: Index of the episode since that seed.
        regime: ``step // redraw_every_steps``.
        cumulative: Filled, shape (2, nodes): running sums of the senders' weights (each weight times all others'
            receiving weights, so that sender and receiver are never the same), and of the receivers' weights.
    """
    nodes = program.nodes
    state = stream(seed, episode, regime, PURPOSE_WEIGHTS)
    for row in range(2):
        for node in range(nodes):
            if program.kind == KIND_SIMLN:
                cumulative[row, node] = program.node_capacity_sat[node]
            else:
                cumulative[row, node] = compiled_exp(
                    program.weight_spread * quantile(program.normal_table, uniform(state))
                )
                state = advance(state)
    received = 0.0
    for node in range(nodes):
        received += cumulative[1, node]
    sent = 0.0
    taken = 0.0
    for node in range(nodes):
        sent += cumulative[0, node] * (received - cumulative[1, node])
        taken += cumulative[1, node]
        cumulative[0, node] = sent
        cumulative[1, node] = taken


@fused
def _receiver_but(cumulative: Any, unit: Any, sender: Any) -> Any:
    """Draw a receiver by weight among all nodes but the sender."""
    before = cumulative[1, sender - 1] if sender > 0 else 0.0
    own = cumulative[1, sender] - before
    target = unit * (cumulative[1, cumulative.shape[1] - 1] - own)
    if target >= before:
        target += own
    receiver = pick(cumulative[1], target)
    if receiver == sender:  # only by rounding at the very edge of the sender's share
        receiver = sender + 1 if sender + 1 < cumulative.shape[1] else sender - 1
    return receiver


@fused
def _other(sender: Any, draw: Any) -> Any:
    """Map 0..nodes-2 to every node but the sender."""
    return draw + 1 if draw >= sender else draw


@fused
def _classic_receiver(program: Any, state: Any, sender: Any) -> Any:
    """Draw a receiver by pattern: a direct peer, a node that is none, or anyone else."""
    first = program.first_neighbour[sender]
    last = program.first_neighbour[sender + 1]
    pattern = uniform(state)
    choice = advance(state)
    others = program.nodes - 1
    if pattern < program.direct_share and last > first:
        return program.neighbours[first + _below(choice, last - first)]
    strangers = others - (last - first)
    if program.direct_share <= pattern < program.direct_share + program.multi_hop_share and strangers > 0:
        receiver = _below(choice, strangers)
        passed_self = False
        for slot in range(first, last):
            if not passed_self and sender < program.neighbours[slot] and receiver >= sender:
                receiver += 1
                passed_self = True
            if receiver >= program.neighbours[slot]:
                receiver += 1
            else:
                break
        if not passed_self and receiver >= sender:
            receiver += 1
        return receiver
    return _other(sender, _below(choice, others))


@fused
def _pair_amount_sat(program: Any, unit: Any, sender: Any, receiver: Any) -> Any:
    """Draw a log-normal amount whose spread follows from the capacities of the pair."""
    own = program.node_capacity_sat[sender]
    its = program.node_capacity_sat[receiver]
    limit = (its if its < own else own) / 2.0
    log_mean = compiled_log(program.expected_payment_sat)
    if program.fixed_log_sd >= 0.0:
        log_sd = program.fixed_log_sd
    else:
        twice = 2.0 * (compiled_log(limit) - log_mean)
        log_sd = math.sqrt(twice) if twice > 0.0 else 0.0
    # Equal to mu = 2 ln m - ln l when sigma^2 = 2 (ln l - ln m): the mean stays m.
    return compiled_exp(log_mean - 0.5 * log_sd * log_sd + log_sd * quantile(program.amount_table, unit))


@outlined
def draw_payments(
    program: Any,
    cumulative: Any,
    seed: Any,
    episode: Any,
    step: Any,
    source: Any,
    destination: Any,
    amount_msat: Any,
    description: Any,
) -> None:
    """Draw the payments of one step.

    Args:
        program: The compiled traffic model.
        cumulative: Weights of the step's regime, from ``draw_weights``.
        seed: Seed of the environment, uint64.
        episode: Index of the episode since that seed.
        step: Index of the step within the episode.
        source: Filled with sender indices, shape (payments,).
        destination: Filled with receiver indices, never the sender, shape (payments,).
        amount_msat: Filled with whole sat amounts in msat, at least 1,000, shape (payments,).
        description: Filled with indices into ``DESCRIPTIONS``, shape (payments,).
    """
    state = stream(seed, episode, step, PURPOSE_PAYMENTS)
    total = cumulative[0, program.nodes - 1]
    for payment in range(source.shape[0]):
        if program.kind == KIND_CLASSIC:
            sender = _below(state, program.nodes)
            state = advance(state)
            receiver = _classic_receiver(program, state, sender)
            state = advance(state)
        else:
            sender = pick(cumulative[0], uniform(state) * total)
            state = advance(state)
            receiver = _receiver_but(cumulative, uniform(state), sender)
        state = advance(state)
        unit = uniform(state)
        if program.kind == KIND_SIMLN:
            amount_sat = _pair_amount_sat(program, unit, sender, receiver)
        else:
            amount_sat = quantile(program.amount_table, unit)
        source[payment] = sender
        destination[payment] = receiver
        amount_msat[payment] = 1000 * between(np.int64(1), np.int64(amount_sat), program.max_amount_sat)
        # The low bits that the 53-bit uniform leaves unused, so no further word is drawn.
        description[payment] = np.int64(((word(state) & _MASK_16) * np.uint64(DESCRIPTION_COUNT)) >> _SHIFT_16)
        state = advance(state)


@fused
def draw_balance_msat(owned_total_msat: Any, reserve_msat: Any, low: Any, high: Any, skew: Any, unit: Any) -> Any:
    """Return what the initiator of a channel has, whole sat in msat, at a uniform number.

    Args:
        owned_total_msat: What both sides own together.
        reserve_msat: Channel reserve; neither side has less.
        low: Smallest share of the initiator.
        high: Largest share of the initiator.
        skew: 1.0 where all shares are equally likely; a power above it that drives them to both ends.
        unit: Uniform number in [0, 1).
    """
    if skew != 1.0:
        near = 2.0 * unit if unit < 0.5 else 2.0 * (1.0 - unit)
        end = 0.5 * compiled_exp(skew * compiled_log(near)) if near > 0.0 else 0.0
        unit = end if unit < 0.5 else 1.0 - end
    share = low + (high - low) * unit
    initiator_msat = 1000 * np.int64(share * (owned_total_msat // 1000))
    return between(reserve_msat, initiator_msat, owned_total_msat - reserve_msat)


@outlined
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
    """Draw the start balances of one episode: each initiator gets what is given, else a share that is drawn.

    Args:
        given_msat: Start balance of each initiator where one is given, else -1, shape (channels,).
        owned_total_msat: What both sides own together, shape (channels,).
        reserve_msat: Channel reserves, shape (channels,); neither side starts below it.
        low: Smallest share of the initiator.
        high: Largest share of the initiator.
        skew: See ``draw_balance_msat``.
        seed: Seed of the environment, uint64.
        episode: Index of the episode since that seed.
        balances_msat: Filled with whole sat, in msat, in direction order, shape (directions,).
    """
    state = stream(seed, episode, np.int64(0), PURPOSE_START)
    for channel in range(owned_total_msat.shape[0]):
        initiator_msat = draw_balance_msat(
            owned_total_msat[channel], reserve_msat[channel], low, high, skew, uniform(state)
        )
        state = advance(state)
        if given_msat[channel] >= 0:
            initiator_msat = given_msat[channel]
        balances_msat[2 * channel] = initiator_msat
        balances_msat[2 * channel + 1] = owned_total_msat[channel] - initiator_msat
