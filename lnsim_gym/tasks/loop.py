"""The compiled loop: reset and step thousands of networks without leaving machine code, whatever the task.

A task makes its kernels (``base.TaskKernels``) from ``reset_range`` and ``step_range`` with functions of its own.
All functions take the address of the loop's state, that of the task's state, and the index of a network, and read from
the tables at these addresses just what they need: a state handed over by value would be hundreds of words a call, and
minutes of compile time. What one step of a network reads and writes, in order (names of ``state.Columns``):

======== =================================================== ========================================================
stage    reads                                               writes
======== =================================================== ========================================================
apply    decision, balances, policies, memories, now_ms      balances, policies, ledger part of counts, due
         (the task)
serve    seeds, episodes, steps, regime, cumulative, now_ms  regime, cumulative, batch: source .. description, time_ms
         batch, balances, policies, memories                 balances, memories, outcomes: succeeded .. part_route,
                                                             earned_msat, served_from_msat (before the first payment)
count    due, outcomes                                       payments part of counts
measure  counts, earned_msat, balances (the task)            terms, reward, ledger part of counts
observe  balances, batch, outcomes (the task)                observation, allowed
end      steps, variant, now_ms                              steps, stepped_variant, now_ms
======== =================================================== ========================================================

Time is simulated: ms since the episode began, in ``columns.now_ms`` for what a task does at the begin of a step, in
``columns.time_ms`` for each payment. Payments of a traffic model follow each other ``payment_ms`` apart, and so do the
steps; a task that draws its own payments (``step_range_of``) says when they are and how long a step is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lnsim_gym.backends.simulator.engine import (
    Outcomes,
    begin_gossip,
    change_policy,
    fee_limit_msat,
    linked_network_at,
    memory_at,
    network_at,
    pay,
    pay_whole,
    spendable,
)
from lnsim_gym.compiled import inlined, outlined
from lnsim_gym.compiled.binding import reader
from lnsim_gym.tasks.columns import FEES, FIRST_FAILURE, LEDGER, SUCCEEDED, VOLUME
from lnsim_gym.tasks.example import example_state
from lnsim_gym.tasks.state import program_at
from lnsim_gym.traffic.kernels import draw_payments, draw_start_balances, draw_weights
from lnsim_gym.traffic.random import PURPOSE_FORWARD, PURPOSE_GOSSIP, PURPOSE_VARIANT, stream

__all__ = [
    "conclude_first",
    "has_links",
    "linked_network_of",
    "network_of",
    "note_spendable",
    "pay_in_parts",
    "pay_in_whole",
    "pay_linked",
    "pay_linked_in_whole",
    "read",
    "reset_range",
    "reset_range_after",
    "set_policy",
    "step_range",
    "step_range_of",
]

read = reader(example_state())
"""Reads a part of a ``LoopState`` at an address: ``read(address, "columns.reward")``."""


@inlined
def reset_range(observe: Any, address: Any, task: Any, begin: Any, end: Any) -> None:
    """Do what ``reset_range_after`` does where the start of an episode is all there is before it."""
    reset_range_after(_go_on, observe, address, task, begin, end)


@inlined
def reset_range_after(prepare: Any, observe: Any, address: Any, task: Any, begin: Any, end: Any) -> None:
    """Start an episode on the marked networks of a range, as their entries of ``seeds`` and ``episodes`` say.

    Args:
        prepare: The task's compiled function ``(address, task, index)`` that does what comes before the first step,
            on a network with its start balances.
        observe: The task's compiled function ``(address, task, index)`` that fills observation and allowed options.
        address: Address of the table of a ``LoopState``.
        task: Address of the table of the task's own state.
        begin: First network of the range.
        end: The one after its last.
    """
    which = read(address, "columns.which")
    for index in range(begin, end):
        if which[index]:
            _start(address, index)
            prepare(address, task, index)
            observe(address, task, index)


@inlined
def step_range(
    apply: Any, pay_all: Any, measure: Any, observe: Any, address: Any, task: Any, begin: Any, end: Any
) -> None:
    """Do what ``step_range_of`` does with the payments of the traffic model."""
    step_range_of(_draw_traffic, apply, pay_all, measure, observe, address, task, begin, end)


@inlined
def step_range_of(
    draw: Any, apply: Any, pay_all: Any, measure: Any, observe: Any, address: Any, task: Any, begin: Any, end: Any
) -> None:
    """Do one step on the marked networks of a range.

    Args:
        draw: Compiled function ``(address, task, index)`` that fills in the payments of the step and their times,
            sets ``columns.due`` where they are fewer than there is room for, and returns how long the step is in ms.
        apply: The task's compiled function ``(address, task, index)`` that carries out the decision.
        pay_all: ``pay_in_whole``, ``pay_in_parts``, ``pay_linked`` or ``pay_linked_in_whole``.
        measure: The task's compiled function ``(address, task, index)`` that fills terms and reward.
        observe: As for ``reset_range``.
        address: As for ``reset_range``.
        task: As for ``reset_range``.
        begin: As for ``reset_range``.
        end: As for ``reset_range``.
    """
    which = read(address, "columns.which")
    for index in range(begin, end):
        if which[index]:
            read(address, "columns.due")[index] = read(address, "columns.source").shape[1]
            _forget_earnings(address, index)
            apply(address, task, index)
            _copy(read(address, "columns.balances_msat")[index], read(address, "columns.served_from_msat")[index])
            read(address, "columns.served_draws")[index] = read(address, "memories.draws")[index, 0]
            step_ms = draw(address, task, index)
            pay_all(address, index)
            _count(address, index)
            measure(address, task, index)
            observe(address, task, index)
            read(address, "columns.steps")[index] += 1
            read(address, "columns.now_ms")[index] += step_ms
            read(address, "columns.stepped_variant")[index] = read(address, "columns.variant")[index]


@inlined
def conclude_first(measure: Any, observe: Any, address: Any, task: Any) -> None:
    """Count, measure and observe a step of the first network, whose outcomes a backend has filled in."""
    _count(address, 0)
    measure(address, task, 0)
    observe(address, task, 0)


@inlined
def has_links(address: Any) -> Any:
    """Return whether the networks have links; then ``linked_network_of`` has to be used to send over them."""
    return read(address, "networks.links.parallel").shape[1] > 0


@inlined
def network_of(address: Any, index: Any) -> Any:
    """Return the ``Network`` that a network is on, with its policies and without links; copies nothing."""
    policies = read(address, "columns.policies")[index]
    return network_at(read(address, "networks"), read(address, "columns.variant")[index], policies)


@inlined
def linked_network_of(address: Any, index: Any) -> Any:
    """Return the ``Network`` that a network is on, with its policies and its links; copies nothing."""
    policies = read(address, "columns.policies")[index]
    return linked_network_at(read(address, "networks"), read(address, "columns.variant")[index], policies)


@inlined
def set_policy(address: Any, index: Any, direction: Any, terms: Any) -> None:
    """Let a node announce a policy at the begin of a step, where each network has policies of its own.

    Senders hear of it as the setting ``gossip`` says; writing into the policies of ``network_of`` tells all at once.

    Args:
        address: Address of the table of a ``LoopState``.
        index: Network.
        direction: Direction that the policy is for.
        terms: ``Terms`` that LND accepts for the channel.
    """
    now = read(address, "columns.now_ms")[index]
    if has_links(address):
        network = linked_network_of(address, index)
        change_policy(network, network.links, direction, terms, now)
    else:
        change_policy(network_of(address, index), None, direction, terms, now)


@inlined
def note_spendable(address: Any, index: Any) -> Any:
    """Fill in and return what each channel end of a network can spend, in msat, shape (directions,)."""
    balances, free = read(address, "columns.balances_msat")[index], read(address, "columns.spendable_msat")[index]
    network = network_of(address, index)
    for direction in range(balances.shape[0]):
        free[direction] = spendable(network, balances, None, direction)  # no HTLC is in flight between steps
    return free


@outlined
def _start(address: Any, index: Any) -> None:
    """Set start balances and policies, and forget the past."""
    seed, episode = read(address, "columns.seeds")[index], read(address, "columns.episodes")[index]
    low, high = read(address, "starts.low"), read(address, "starts.high")
    variant = np.int64(stream(seed, episode, np.int64(0), PURPOSE_VARIANT) % np.uint64(low.shape[0]))
    read(address, "columns.variant")[index] = variant
    read(address, "columns.policies")[index] = variant
    if read(address, "own_policies") != 0:
        read(address, "columns.policies")[index] = index
        _copy(read(address, "starts.policy")[variant], read(address, "networks.policy")[index])
        _copy(read(address, "starts.inbound")[variant], read(address, "networks.links.inbound")[index])
        _copy(read(address, "starts.disabled")[variant], read(address, "networks.links.disabled")[index])
        if read(address, "networks.links.gossip.numbers").shape[1] > 0:
            gossip = linked_network_of(address, index).links.gossip
            begin_gossip(gossip, stream(seed, episode, np.int64(0), PURPOSE_GOSSIP))
    read(address, "columns.steps")[index] = 0
    read(address, "columns.now_ms")[index] = 0
    read(address, "columns.regime")[index] = -1
    read(address, "columns.observation")[index, :] = 0
    read(address, "columns.kept")[index, :] = 0
    balances, given = read(address, "columns.balances_msat")[index], read(address, "columns.given_msat")[index]
    if given[0] >= 0:
        _copy(given, balances)
        given[0] = -1
    elif low[variant] < 0:
        _copy(read(address, "starts.balances_msat")[variant], balances)
    else:
        given_msat = read(address, "starts.given_msat")[variant]
        owned_msat = read(address, "starts.owned_total_msat")[variant]
        reserve_msat = read(address, "starts.reserve_msat")[variant]
        shares = low[variant], high[variant], read(address, "starts.skew")[variant]
        draw_start_balances(given_msat, owned_msat, reserve_msat, *shares, seed, episode, balances)
    read(address, "memories.first")[index, :] = 0
    read(address, "memories.used")[index, 0] = 0
    read(address, "memories.draws")[index, 0] = stream(seed, episode, np.int64(0), PURPOSE_FORWARD)


@inlined
def _copy(source: Any, target: Any) -> None:
    """Copy an array."""
    for index in range(target.shape[0]):
        target[index] = source[index]


@inlined
def _forget_earnings(address: Any, index: Any) -> None:
    """Start to count what nodes earn in a step, and what comes through the watched one, from 0."""
    forwards = read(address, "columns.forwards")[index]
    for row in range(forwards.shape[0]):
        for column in range(forwards.shape[1]):
            forwards[row, column] = 0
    earned_msat = read(address, "columns.earned_msat")[index]
    for node in range(earned_msat.shape[0]):
        earned_msat[node] = 0


@inlined
def _go_on(address: Any, task: Any, index: Any) -> None:
    """Do nothing before an episode."""


@outlined
def _draw_traffic(address: Any, task: Any, index: Any) -> Any:  # noqa: ARG001 - tasks may draw their own
    """Draw the payments of a step from the traffic model, one each ``payment_ms``; return how long the step is."""
    program = program_at(read(address, "programs"), read(address, "columns.variant")[index])
    seed, episode = read(address, "columns.seeds")[index], read(address, "columns.episodes")[index]
    step, regimes = read(address, "columns.steps")[index], read(address, "columns.regime")
    cumulative = read(address, "columns.cumulative")[index]
    regime = step // program.redraw_every_steps
    if regime != regimes[index]:
        draw_weights(program, seed, episode, regime, cumulative)
        regimes[index] = regime
    source, destination = read(address, "columns.source")[index], read(address, "columns.destination")[index]
    amount_msat = read(address, "columns.amount_msat")[index]
    description = read(address, "columns.description")[index]
    draw_payments(program, cumulative, seed, episode, step, source, destination, amount_msat, description)
    time_ms = read(address, "columns.time_ms")[index]
    for payment in range(time_ms.shape[0]):
        time_ms[payment] = read(address, "columns.now_ms")[index] + payment * program.payment_ms
    return program.payment_ms * time_ms.shape[0]


@outlined
def pay_in_whole(address: Any, index: Any) -> None:
    """Make the payments of a step in one part each, one after another."""
    _pay_all(pay_whole, network_of, address, index)


@outlined
def pay_in_parts(address: Any, index: Any) -> None:
    """Make the payments of a step, in several parts where they may be."""
    _pay_all(pay, network_of, address, index)


@outlined
def pay_linked_in_whole(address: Any, index: Any) -> None:
    """Make the payments of a step on a network with links, in one part each."""
    _pay_all(pay_whole, linked_network_of, address, index)


@outlined
def pay_linked(address: Any, index: Any) -> None:
    """Make the payments of a step on a network with links, in several parts where they may be."""
    _pay_all(pay, linked_network_of, address, index)


@inlined
def _pay_all(pay_one: Any, network_at_index: Any, address: Any, index: Any) -> None:
    """Make the payments of a step that are due, one after another."""
    network, memory = network_at_index(address, index), memory_at(read(address, "memories"), index)
    balances, scratch = read(address, "columns.balances_msat")[index], read(address, "scratch")
    settings, outcomes = read(address, "settings"), _outcomes_at(address, index)
    source, destination = read(address, "columns.source")[index], read(address, "columns.destination")[index]
    amount_msat = read(address, "columns.amount_msat")[index]
    time_ms, limits_ppm = read(address, "columns.time_ms")[index], read(address, "columns.fee_limit_ppm")[index]
    for payment in range(read(address, "columns.due")[index]):
        amount, ends = amount_msat[payment], (source[payment], destination[payment])
        limit, now = fee_limit_msat(settings, amount), time_ms[payment]
        if limits_ppm.shape[0] > 0 and amount > 1000 * settings.fee_limit_base_sat:
            limit = min(limit, amount * limits_ppm[payment] // 1_000_000)
        pay_one(network, balances, scratch, memory, settings, ends[0], ends[1], amount, limit, now, outcomes, payment)


@inlined
def _outcomes_at(address: Any, index: Any) -> Any:
    """Return the outcome columns of one network, without copying."""
    return Outcomes(
        read(address, "columns.succeeded")[index],
        read(address, "columns.failure_reason")[index],
        read(address, "columns.attempts")[index],
        read(address, "columns.fee_msat")[index],
        read(address, "columns.parts")[index],
        read(address, "columns.part_amount_msat")[index],
        read(address, "columns.part_route")[index],
        read(address, "columns.part_hop_msat")[index],
        read(address, "columns.earned_msat")[index],
        read(address, "columns.forwards")[index],
        read(address, "columns.watched")[index],
    )


@outlined
def _count(address: Any, index: Any) -> None:
    """Count the payments of a step by what became of them."""
    succeeded, amount_msat = read(address, "columns.succeeded")[index], read(address, "columns.amount_msat")[index]
    failure_reason, fee_msat = read(address, "columns.failure_reason")[index], read(address, "columns.fee_msat")[index]
    counts = read(address, "columns.counts")[index]
    for reason in range(FIRST_FAILURE, LEDGER):
        counts[reason] = 0
    settled, volume_msat, fees_msat = 0, 0, 0
    for payment in range(read(address, "columns.due")[index]):
        if succeeded[payment]:
            settled += 1
            volume_msat += amount_msat[payment]
            fees_msat += fee_msat[payment]
        else:
            counts[FIRST_FAILURE + failure_reason[payment]] += 1
    counts[SUCCEEDED] = settled
    counts[VOLUME] = volume_msat
    counts[FEES] = fees_msat
