"""The operator's task, compiled: announce, close and open, rebalance, swap; let the market pay; count; observe."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.channels import spendable
from lnsim_gym.backends.simulator.circular import send_around
from lnsim_gym.backends.simulator.engine import Terms, memory_at, send_over
from lnsim_gym.backends.simulator.forwards import forward_row
from lnsim_gym.compiled import inlined, kernel, outlined
from lnsim_gym.payments import MAX_ROUTE_HOPS, RebalanceReason
from lnsim_gym.tasks.loop import (
    conclude_first,
    linked_network_of,
    pay_linked,
    pay_linked_in_whole,
    read,
    reset_range_after,
    set_policy,
    step_range_of,
)
from lnsim_gym.tasks.operator.features import (
    CHANNEL_FEATURES,
    KEEP,
    PER_CHANNEL,
    PER_REBALANCE,
    PER_SWAP,
)
from lnsim_gym.tasks.operator.ledger import (
    ANNOUNCED,
    CHAIN_FEE,
    FEE_CHANGES,
    FEE_CHANGES_REFUSED,
    FUNDS,
    INCOME,
    MONEY,
    PER_POLICY,
    REBALANCE_FEE,
    REBALANCE_HOPS,
    REBALANCE_NAMES,
    REBALANCE_ROUTE,
    SWAP_FEE,
    SWAP_NAMES,
    WALLET,
)
from lnsim_gym.tasks.operator.onchain import (
    BEGAN,
    CLOSED,
    MONEY_REPLACED,
    PENDING,
    STAGE,
    can_close,
    can_open,
    change_channels,
    channels_noted,
    commitment_msat,
    confirm_all,
    is_there,
    note_books,
    on_chain_of,
    take_off,
)
from lnsim_gym.tasks.operator.others import fresh_balance_msat, set_competitors
from lnsim_gym.tasks.operator.state import (
    CHANGED,
    CREDIT,
    KEPT_FUNDS,
    KEPT_WALLET,
    example,
    kept_of,
    ledger_of,
    mine,
    others_at,
    sat_per_vbyte,
    variant_of,
)
from lnsim_gym.traffic.flows import DAY_MS, FlowProgram, draw_flows

__all__ = ["conclude", "example", "observe", "plan", "reset", "step", "step_in_parts"]

_FORWARDS: Final = CHANNEL_FEATURES.index("forwarded_in")
_SCALES: Final = np.array([0.1, 1e-9, 0.1, 1e-9, 1e-6, 1e-6, 0.1, 0.1, 0.1, 0.1])
"""Units of the columns of ``FORWARD_COUNTS`` in observations."""
_BY_MSAT = 1e-9
_MOST_DAYS = 30.0

APPLIED: Final = int(RebalanceReason.NONE)
INSUFFICIENT_LOCAL_BALANCE: Final = int(RebalanceReason.INSUFFICIENT_LOCAL_BALANCE)
AMOUNT_OUT_OF_RANGE: Final = int(RebalanceReason.AMOUNT_OUT_OF_RANGE)
NO_ROUTE: Final = int(RebalanceReason.NO_ROUTE)


@kernel
def reset(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.reset``."""
    reset_range_after(_prepare, _observe, address, task, begin, end)


@kernel
def step(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.step_linked``."""
    step_range_of(_draw, _apply, pay_linked_in_whole, _measure, _observe, address, task, begin, end)


@kernel
def step_in_parts(address: int, task: int, begin: int, end: int) -> None:
    """See ``TaskKernels.step_linked``; payments may be made in several parts."""
    step_range_of(_draw, _apply, pay_linked, _measure, _observe, address, task, begin, end)


@kernel
def observe(address: int, task: int, begin: int, end: int) -> None:  # noqa: ARG001 - the first network
    """See ``TaskKernels.observe``."""
    _prepare(address, task, begin)
    _observe(address, task, begin)


@kernel
def plan(address: int, task: int, begin: int, end: int) -> None:  # noqa: ARG001 - the first network
    """See ``TaskKernels.plan``: announces policies, which is all that a backend is not asked for."""
    _announce_all(address, task, begin)


@kernel
def conclude(address: int, task: int, begin: int, end: int) -> None:  # noqa: ARG001 - the first network
    """See ``TaskKernels.conclude``."""
    conclude_first(_measure, _observe, address, task)


@inlined
def _flows_of(task: Any, variant: Any) -> Any:
    """Return the market of a variant, without copying."""
    return FlowProgram(
        mine(task, "flows.source")[variant],
        mine(task, "flows.destination")[variant],
        mine(task, "flows.cumulative")[variant],
        mine(task, "flows.median_sat")[variant],
        mine(task, "flows.log_sd")[variant],
        mine(task, "flows.fee_limit_ppm")[variant],
        mine(task, "flows.active_share")[variant],
        mine(task, "flows.spell_ms")[variant],
        mine(task, "flows.normal_table")[variant],
        mine(task, "flows.arrivals_per_ms")[variant],
        mine(task, "flows.day_swing")[variant],
        mine(task, "flows.max_amount_sat")[variant],
        mine(task, "flows.step_ms")[variant],
    )


@outlined
def _prepare(address: Any, task: Any, index: Any) -> None:
    """Begin an episode: fill the wallet, and let others take changes of policy."""
    variant = variant_of(address, index)
    out = mine(task, "out")[variant]
    read(address, "columns.watched")[index] = mine(task, "own")[variant]
    read(address, "columns.forwards")[index, :, :] = 0
    for channel in range(out.shape[0]):
        kept = kept_of(address, index, channel)
        kept[CREDIT], kept[CHANGED] = mine(task, "burst_ms"), -1
        if mine(task, "books") != 0 and mine(task, "candidate")[variant, channel] != 0:
            on_chain_of(address, task, index, channel)[STAGE] = CLOSED
            take_off(address, index, out[channel])
    kept = read(address, "columns.kept")[index]
    kept[KEPT_WALLET] = mine(task, "wallet_msat")
    kept[KEPT_FUNDS] = _funds_msat(address, task, index)


@inlined
def _draw(address: Any, task: Any, index: Any) -> Any:
    """Draw the payments of a step; return how long it is in ms."""
    step_ms = mine(task, "step_ms")
    due = draw_flows(
        _flows_of(task, variant_of(address, index)),
        read(address, "columns.seeds")[index],
        read(address, "columns.episodes")[index],
        read(address, "columns.now_ms")[index] // step_ms,
        read(address, "columns.source")[index],
        read(address, "columns.destination")[index],
        read(address, "columns.amount_msat")[index],
        read(address, "columns.description")[index],
        read(address, "columns.time_ms")[index],
        read(address, "columns.fee_limit_ppm")[index],
    )
    read(address, "columns.due")[index] = due
    return step_ms


@outlined
def _let_others_act(address: Any, task: Any, index: Any) -> None:
    """Give foreign channels fresh balances, and competitors their fees, as they are from the begin of a step on."""
    variant = variant_of(address, index)
    others, balances = others_at(task, variant), read(address, "columns.balances_msat")[index]
    seed, episode = read(address, "columns.seeds")[index], read(address, "columns.episodes")[index]
    now = read(address, "columns.now_ms")[index]
    span = now // mine(task, "step_ms")
    for channel in range(others.foreign.shape[0]):
        initiator_msat = fresh_balance_msat(others, seed, episode, span, channel)
        if initiator_msat >= 0:
            balances[2 * channel] = initiator_msat
            balances[2 * channel + 1] = others.owned_total_msat[channel] - initiator_msat
    network = linked_network_of(address, index)
    usual, usually_disabled = read(address, "starts.policy")[variant], read(address, "starts.disabled")[variant]
    places = network.first_incoming, network.incoming
    set_competitors(
        others, *places, usual, usually_disabled, seed, episode, now, network.policy, network.links.disabled
    )


@outlined
def _apply(address: Any, task: Any, index: Any) -> None:
    """Carry out a decision: announce policies, then close and open channels, then rebalance, then swap."""
    if mine(task, "books") != 0:
        confirm_all(address, task, index)
    _let_others_act(address, task, index)
    _announce_all(address, task, index)
    if mine(task, "books") != 0:
        change_channels(address, task, index)
    channels = mine(task, "out").shape[1]
    at, decided = len(MONEY) + PER_POLICY * channels, PER_CHANNEL * channels
    for _ in range(mine(task, "rebalances")):
        _rebalance(address, task, index, decided, at)
        at, decided = at + len(REBALANCE_NAMES), decided + PER_REBALANCE
    for _ in range(mine(task, "swaps")):
        _swap(address, task, index, decided, at)
        at, decided = at + len(SWAP_NAMES), decided + PER_SWAP


@outlined
def _announce_all(address: Any, task: Any, index: Any) -> None:
    """Begin the ledger of a step, note the balances that an episode begins with, and announce policies."""
    ledger_of(address, index)[:] = 0
    if mine(task, "books") != 0 and read(address, "columns.now_ms")[index] == mine(task, "warm_up_ms"):
        out, balances = mine(task, "out")[variant_of(address, index)], read(address, "columns.balances_msat")[index]
        for channel in range(out.shape[0]):
            on_chain_of(address, task, index, channel)[BEGAN] = balances[out[channel]]
    for channel in range(mine(task, "out").shape[1]):
        _announce(address, task, index, channel)


@inlined
def _wanted(asked: Any, now: Any, least_change: Any) -> Any:
    """Return a number of a policy that is to be announced: what was asked for, unless it hardly differs."""
    if asked == KEEP or abs(asked - now) <= least_change * abs(now):
        return now
    return asked


@outlined
def _announce(address: Any, task: Any, index: Any, channel: Any) -> None:
    """Announce the policy of an own channel where it changes and others still take changes."""
    direction = mine(task, "out")[variant_of(address, index), channel]
    network = linked_network_of(address, index)
    policy, inbound = network.policy[direction], network.links.inbound[direction]
    asked = read(address, "columns.decision")[index, PER_CHANNEL * channel : PER_CHANNEL * (channel + 1)]
    least = mine(task, "least_change")
    rate_ppm = _wanted(asked[0], policy.fee_rate_ppm, least)
    base_msat = _wanted(asked[1], policy.fee_base_msat, 0.0)
    inbound_ppm = _wanted(asked[2], inbound.fee_rate_ppm, least)
    most_msat = mine(task, "most_msat")[variant_of(address, index), channel]
    highest_msat = max(min(_wanted(asked[3], policy.max_htlc_msat, least), most_msat), policy.min_htlc_msat)
    kept, noted, change_ms = kept_of(address, index, channel), ledger_of(address, index), mine(task, "change_ms")
    if not is_there(address, task, index, channel):
        return
    kept[CREDIT] = min(kept[CREDIT] + mine(task, "step_ms"), mine(task, "burst_ms"))
    same = rate_ppm == policy.fee_rate_ppm and base_msat == policy.fee_base_msat
    if same and inbound_ppm == inbound.fee_rate_ppm and highest_msat == policy.max_htlc_msat:
        return
    if kept[CREDIT] < change_ms:
        noted[FEE_CHANGES_REFUSED] += 1
        return
    kept[CREDIT] -= change_ms
    kept[CHANGED] = read(address, "columns.now_ms")[index]
    disabled = np.int64(network.links.disabled[direction])
    times = policy.time_lock, policy.min_htlc_msat
    terms = Terms(base_msat, rate_ppm, *times, highest_msat, inbound.fee_base_msat, inbound_ppm, disabled)
    set_policy(address, index, direction, terms)
    noted[FEE_CHANGES] += 1
    first = len(MONEY) + PER_POLICY * channel
    noted[first], noted[first + 1], noted[first + 2] = rate_ppm, base_msat, inbound_ppm
    noted[first + 3], noted[first + ANNOUNCED] = highest_msat, 1 + disabled


@outlined
def _rebalance(address: Any, task: Any, index: Any, decided: Any, at: Any) -> None:
    """Send a circular rebalance, and note what became of it."""
    noted, decision = ledger_of(address, index), read(address, "columns.decision")[index]
    out = mine(task, "out")[variant_of(address, index)]
    leave, back, amount_msat = decision[decided], decision[decided + 1], decision[decided + 2]
    route = noted[at + REBALANCE_ROUTE : at + REBALANCE_ROUTE + MAX_ROUTE_HOPS]
    sent_msat = noted[at + REBALANCE_HOPS : at + REBALANCE_HOPS + MAX_ROUTE_HOPS]
    route[:] = -1
    if leave < 0 or amount_msat <= 0:
        return
    network, balances = linked_network_of(address, index), read(address, "columns.balances_msat")[index]
    reason, fee_msat, position = np.int64(NO_ROUTE), np.int64(0), np.int64(-1)
    if leave != back and network.links.disabled[out[leave]] == 0:
        reason, fee_msat, position = send_around(
            network,
            balances,
            read(address, "scratch").work,
            memory_at(read(address, "memories"), index),
            out[leave],
            out[back] ^ 1,
            amount_msat,
            amount_msat * decision[decided + 3] // 1_000_000,
            mine(task, "rebalance_attempts"),
            read(address, "columns.now_ms")[index],
            read(address, "columns.earned_msat")[index],
            route,
            sent_msat,
        )
    noted[at] = amount_msat
    noted[at + 1] = amount_msat if reason == APPLIED else 0
    noted[at + 2] = fee_msat
    noted[at + 3] = reason
    noted[at + 4] = position
    noted[REBALANCE_FEE] += fee_msat


@outlined
def _swap(address: Any, task: Any, index: Any, decided: Any, at: Any) -> None:
    """Swap between a channel and the chain, and note what became of it."""
    noted, decision = ledger_of(address, index), read(address, "columns.decision")[index]
    channel, amount_msat = decision[decided], abs(decision[decided + 1])
    goes_out = decision[decided + 1] > 0
    noted[at] = -1
    if channel < 0 or amount_msat == 0:
        return
    out = mine(task, "out")[variant_of(address, index), channel]
    noted[at] = out if goes_out else out ^ 1
    kept = read(address, "columns.kept")[index]
    miner_msat = np.int64(1000 * mine(task, "swap_vbytes") * sat_per_vbyte(address, task, index))
    service_ppm = mine(task, "swap_out_ppm") if goes_out else mine(task, "swap_in_ppm")
    service_msat = amount_msat * service_ppm // 1_000_000
    routing_msat = amount_msat * mine(task, "swap_routing_ppm") // 1_000_000 if goes_out else np.int64(0)
    reason, sent_msat = np.int64(AMOUNT_OUT_OF_RANGE), amount_msat + routing_msat
    if mine(task, "swap_min_msat") <= amount_msat <= mine(task, "swap_max_msat"):
        reason = np.int64(INSUFFICIENT_LOCAL_BALANCE)
        if goes_out or kept[KEPT_WALLET] >= amount_msat + service_msat + miner_msat:
            reason = _move(address, index, noted[at : at + 1], sent_msat)
    noted[at + 1] = sent_msat
    noted[at + 3] = reason
    if reason != APPLIED:
        return
    noted[at + 2] = sent_msat
    kept[KEPT_WALLET] += (amount_msat if goes_out else -amount_msat) - service_msat - miner_msat
    noted[SWAP_FEE] += service_msat + routing_msat
    noted[CHAIN_FEE] += miner_msat


@outlined
def _move(address: Any, index: Any, route: Any, amount_msat: Any) -> Any:
    """Pay an amount over a route of one channel and return why it was refused, or 0."""
    reason, _, _ = send_over(
        linked_network_of(address, index),
        read(address, "columns.balances_msat")[index],
        read(address, "scratch").work,
        memory_at(read(address, "memories"), index),
        route,
        np.int64(1),
        amount_msat,
        read(address, "columns.now_ms")[index],
        read(address, "columns.earned_msat")[index],
    )
    return np.int64(reason)


@inlined
def _funds_msat(address: Any, task: Any, index: Any) -> Any:
    """Return the own node's money: its ends of its channels, the wallet, and what lies in neither."""
    out, balances = mine(task, "out")[variant_of(address, index)], read(address, "columns.balances_msat")[index]
    funds_msat = read(address, "columns.kept")[index, KEPT_WALLET]
    for channel in range(out.shape[0]):
        funds_msat += balances[out[channel]]
        if mine(task, "closes") + mine(task, "opens") > 0:
            own = on_chain_of(address, task, index, channel)
            funds_msat += own[PENDING]
            if is_there(address, task, index, channel) and mine(task, "funded")[variant_of(address, index), channel]:
                funds_msat += commitment_msat(address, task, index, channel)
    return funds_msat


@outlined
def _measure(address: Any, task: Any, index: Any) -> None:
    """Count the money of a step; the reward is what the own funds gained in value, in sat."""
    noted, kept = ledger_of(address, index), read(address, "columns.kept")[index]
    terms = read(address, "columns.terms")[index]
    own = mine(task, "own")[variant_of(address, index)]
    funds_msat = _funds_msat(address, task, index)
    noted[FUNDS], noted[WALLET] = funds_msat, kept[KEPT_WALLET]
    noted[INCOME] = read(address, "columns.earned_msat")[index, own]
    terms[0] = noted[INCOME] / 1000.0
    terms[1] = noted[REBALANCE_FEE] / 1000.0
    terms[2] = noted[SWAP_FEE] / 1000.0
    terms[3] = noted[CHAIN_FEE] / 1000.0
    if mine(task, "books") != 0:
        note_books(address, task, index)
        replacement_msat = channels_noted(address, task, index)[MONEY_REPLACED]
        if mine(task, "replacement_ppm") > 0:
            costs_msat = noted[REBALANCE_FEE] + noted[SWAP_FEE] + noted[CHAIN_FEE]
            gained_msat = funds_msat - replacement_msat - kept[KEPT_FUNDS]
            terms[4] = (noted[INCOME] - costs_msat - gained_msat) / 1000.0
        funds_msat -= replacement_msat
    read(address, "columns.reward")[index] = (funds_msat - kept[KEPT_FUNDS]) / 1000.0
    kept[KEPT_FUNDS] = funds_msat


@outlined
def _observe(address: Any, task: Any, index: Any) -> None:
    """Observe what the own node knows, and which of its channels may do what."""
    out = mine(task, "out")[variant_of(address, index)]
    channels, features = out.shape[0], len(CHANNEL_FEATURES)
    row, allowed = read(address, "columns.observation")[index], read(address, "columns.allowed")[index]
    network, balances = linked_network_of(address, index), read(address, "columns.balances_msat")[index]
    forwards, own = read(address, "columns.forwards")[index], read(address, "columns.watched")[index]
    now, change_ms = read(address, "columns.now_ms")[index], mine(task, "change_ms")
    least_msat = mine(task, "swap_min_msat")
    wallet_msat = read(address, "columns.kept")[index, KEPT_WALLET]
    for channel in range(channels):
        direction = out[channel]
        capacity_msat = np.float64(network.policy[direction].capacity_msat)
        at = channel * features
        row[at] = np.float32(capacity_msat * _BY_MSAT)
        row[at + 1] = np.float32(balances[direction] * _BY_MSAT)
        row[at + 2] = np.float32(balances[direction ^ 1] * _BY_MSAT)
        row[at + 3] = np.float32(network.links.disabled[direction ^ 1] == 0)
        for end in range(2):
            policy, inbound = network.policy[direction ^ end], network.links.inbound[direction ^ end]
            first = at + 4 + 4 * end
            row[first] = np.float32(policy.fee_rate_ppm * 1e-3)
            row[first + 1] = np.float32(policy.fee_base_msat * 1e-3)
            row[first + 2] = np.float32(inbound.fee_rate_ppm * 1e-3)
            row[first + 3] = np.float32(policy.max_htlc_msat / capacity_msat)
        place = forward_row(network, own, direction ^ 1)
        for column in range(forwards.shape[1]):
            row[at + _FORWARDS + column] = np.float32(forwards[place, column] * _SCALES[column])
        kept = kept_of(address, index, channel)
        days = _MOST_DAYS if kept[CHANGED] < 0 else min((now - kept[CHANGED]) / DAY_MS, _MOST_DAYS)
        left = 1.0 if change_ms == 0 else np.float64(kept[CREDIT] // change_ms)
        last = at + _FORWARDS + forwards.shape[1]
        row[last] = np.float32(days)
        row[last + 1] = np.float32(left)
        credit = min(kept[CREDIT] + mine(task, "step_ms"), mine(task, "burst_ms"))
        allowed[channel] = credit >= change_ms and is_there(address, task, index, channel)
        is_active = network.links.disabled[direction] == 0 and network.links.disabled[direction ^ 1] == 0
        sends = is_active and spendable(network, balances, None, direction) > 0
        receives = is_active and spendable(network, balances, None, direction ^ 1) > 0
        allowed[channels + channel] = sends
        allowed[2 * channels + channel] = receives
        allowed[3 * channels + channel] = sends and spendable(network, balances, None, direction) >= least_msat
        allowed[4 * channels + channel] = receives and wallet_msat >= least_msat
        if mine(task, "closes") > 0:
            allowed[5 * channels + channel] = can_close(address, task, index, channel)
        if mine(task, "opens") > 0:
            opens = allowed.shape[0] - channels
            allowed[opens + channel] = can_open(address, task, index, channel)
    at = channels * features
    row[at] = np.float32(wallet_msat * _BY_MSAT)
    row[at + 1] = np.float32(sat_per_vbyte(address, task, index) * 0.1)
    row[at + 2] = np.float32((now % DAY_MS) / DAY_MS)
    row[at + 3] = np.float32(now / DAY_MS * 0.1)
