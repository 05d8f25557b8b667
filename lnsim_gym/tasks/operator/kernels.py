"""The operator's task, compiled: announce policies, rebalance, swap; let the market pay; count the money; observe."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.simulator.channels import spendable
from lnsim_gym.backends.simulator.circular import send_around
from lnsim_gym.backends.simulator.engine import Terms, memory_at, send_over
from lnsim_gym.backends.simulator.forwards import forward_row
from lnsim_gym.compiled import inlined, kernel, outlined
from lnsim_gym.compiled.binding import reader
from lnsim_gym.payments import MAX_ROUTE_HOPS, RebalanceReason
from lnsim_gym.tasks.columns import LEDGER
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
    KEPT,
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
from lnsim_gym.tasks.operator.others import Others, fresh_balance_msat, set_competitors
from lnsim_gym.traffic.flows import DAY_MS, FlowProgram, draw_flows
from lnsim_gym.traffic.random import PURPOSE_OTHERS, advance, fork, stream, uniform

__all__ = ["OperatorState", "conclude", "example", "observe", "plan", "reset", "step", "step_in_parts"]

KEPT_FUNDS: Final = KEPT.index("funds_msat")
KEPT_WALLET: Final = KEPT.index("wallet_msat")
CREDIT: Final = 0
"""Time saved up for changes of the channel's policy, in ms."""
CHANGED: Final = 1
"""When it was last changed, in ms since the clock began, or -1."""

_FORWARDS: Final = CHANNEL_FEATURES.index("forwarded_in")
_SCALES: Final = np.array([0.1, 1e-9, 0.1, 1e-9, 1e-6, 1e-6, 0.1, 0.1, 0.1, 0.1])
"""Units of the columns of ``FORWARD_COUNTS`` in observations."""
_BY_MSAT = 1e-9
_MOST_DAYS = 30.0

APPLIED: Final = int(RebalanceReason.NONE)
INSUFFICIENT_LOCAL_BALANCE: Final = int(RebalanceReason.INSUFFICIENT_LOCAL_BALANCE)
AMOUNT_OUT_OF_RANGE: Final = int(RebalanceReason.AMOUNT_OUT_OF_RANGE)
NO_ROUTE: Final = int(RebalanceReason.NO_ROUTE)


class OperatorState(NamedTuple):
    """What the kernels need to know of the task, one entry or row per variant unless it is a number."""

    own: Int64  # (variants,)
    out: Int64  # (variants, channels) directions out of the own node
    most_msat: Int64  # (variants, channels) greatest HTLC that LND lets them announce
    flows: FlowProgram  # stacked over variants
    others: Others  # stacked over variants
    step_ms: int
    rebalances: int
    rebalance_attempts: int
    swaps: int
    least_change: float
    burst_ms: int
    """Most credit for changes of a channel's policy."""
    change_ms: int
    """Credit that a change takes; 0 where they are free."""
    wallet_msat: int
    swap_out_ppm: int
    swap_in_ppm: int
    swap_routing_ppm: int
    swap_vbytes: int
    swap_min_msat: int
    swap_max_msat: int
    sat_per_vbyte: float
    spike_share: float
    spike_factor: float


def example() -> OperatorState:
    """Return a state with the types that every state has."""
    whole, real = np.zeros((1, 1), np.int64), np.zeros((1, 1))
    one, unit = np.zeros(1, np.int64), np.zeros(1)
    flows: Any = (whole, whole, real, real, real, whole, real, whole, real, unit, unit, one, one)
    others: Any = (np.zeros((1, 1), np.uint8), whole, whole, whole, real, unit, unit, unit, unit, one, unit, unit)
    return OperatorState(
        own=one,
        out=whole,
        most_msat=whole,
        flows=FlowProgram(*flows),
        others=Others(*others),
        step_ms=0,
        rebalances=0,
        rebalance_attempts=0,
        swaps=0,
        least_change=0.0,
        burst_ms=0,
        change_ms=0,
        wallet_msat=0,
        swap_out_ppm=0,
        swap_in_ppm=0,
        swap_routing_ppm=0,
        swap_vbytes=0,
        swap_min_msat=0,
        swap_max_msat=0,
        sat_per_vbyte=0.0,
        spike_share=0.0,
        spike_factor=0.0,
    )


_mine = reader(example())


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
def _variant(address: Any, index: Any) -> Any:
    """Return the variant that a network is on."""
    return read(address, "columns.variant")[index]


@inlined
def _flows_of(task: Any, variant: Any) -> Any:
    """Return the market of a variant, without copying."""
    return FlowProgram(
        _mine(task, "flows.source")[variant],
        _mine(task, "flows.destination")[variant],
        _mine(task, "flows.cumulative")[variant],
        _mine(task, "flows.median_sat")[variant],
        _mine(task, "flows.log_sd")[variant],
        _mine(task, "flows.fee_limit_ppm")[variant],
        _mine(task, "flows.active_share")[variant],
        _mine(task, "flows.spell_ms")[variant],
        _mine(task, "flows.normal_table")[variant],
        _mine(task, "flows.arrivals_per_ms")[variant],
        _mine(task, "flows.day_swing")[variant],
        _mine(task, "flows.max_amount_sat")[variant],
        _mine(task, "flows.step_ms")[variant],
    )


@inlined
def _others_of(task: Any, variant: Any) -> Any:
    """Return what others do on a variant, without copying."""
    return Others(
        _mine(task, "others.foreign")[variant],
        _mine(task, "others.owned_total_msat")[variant],
        _mine(task, "others.reserve_msat")[variant],
        _mine(task, "others.competitor")[variant],
        _mine(task, "others.normal_table")[variant],
        _mine(task, "others.restore_chance")[variant],
        _mine(task, "others.low")[variant],
        _mine(task, "others.high")[variant],
        _mine(task, "others.skew")[variant],
        _mine(task, "others.fee_spell_ms")[variant],
        _mine(task, "others.fee_log_sd")[variant],
        _mine(task, "others.offline_share")[variant],
    )


@inlined
def _ledger(address: Any, index: Any) -> Any:
    """Return the task's entries of a step."""
    return read(address, "columns.counts")[index, LEDGER:]


@inlined
def _kept_of(address: Any, index: Any, channel: Any) -> Any:
    """Return what is kept of an own channel, shape (2,): ``CREDIT`` and ``CHANGED``."""
    first = len(KEPT) + 2 * channel
    return read(address, "columns.kept")[index, first : first + 2]


@outlined
def _prepare(address: Any, task: Any, index: Any) -> None:
    """Begin an episode: fill the wallet, and let others take changes of policy."""
    variant = _variant(address, index)
    out = _mine(task, "out")[variant]
    read(address, "columns.watched")[index] = _mine(task, "own")[variant]
    read(address, "columns.forwards")[index, :, :] = 0
    for channel in range(out.shape[0]):
        kept = _kept_of(address, index, channel)
        kept[CREDIT], kept[CHANGED] = _mine(task, "burst_ms"), -1
    kept = read(address, "columns.kept")[index]
    kept[KEPT_WALLET] = _mine(task, "wallet_msat")
    kept[KEPT_FUNDS] = _funds_msat(address, task, index)


@inlined
def _draw(address: Any, task: Any, index: Any) -> Any:
    """Draw the payments of a step; return how long it is in ms."""
    step_ms = _mine(task, "step_ms")
    due = draw_flows(
        _flows_of(task, _variant(address, index)),
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
    variant = _variant(address, index)
    others, balances = _others_of(task, variant), read(address, "columns.balances_msat")[index]
    seed, episode = read(address, "columns.seeds")[index], read(address, "columns.episodes")[index]
    now = read(address, "columns.now_ms")[index]
    span = now // _mine(task, "step_ms")
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
    """Carry out a decision: announce policies, then rebalance, then swap."""
    _let_others_act(address, task, index)
    _announce_all(address, task, index)
    channels = _mine(task, "out").shape[1]
    at, decided = len(MONEY) + PER_POLICY * channels, PER_CHANNEL * channels
    for _ in range(_mine(task, "rebalances")):
        _rebalance(address, task, index, decided, at)
        at, decided = at + len(REBALANCE_NAMES), decided + PER_REBALANCE
    for _ in range(_mine(task, "swaps")):
        _swap(address, task, index, decided, at)
        at, decided = at + len(SWAP_NAMES), decided + PER_SWAP


@outlined
def _announce_all(address: Any, task: Any, index: Any) -> None:
    """Begin the ledger of a step, and announce policies."""
    _ledger(address, index)[:] = 0
    for channel in range(_mine(task, "out").shape[1]):
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
    direction = _mine(task, "out")[_variant(address, index), channel]
    network = linked_network_of(address, index)
    policy, inbound = network.policy[direction], network.links.inbound[direction]
    asked = read(address, "columns.decision")[index, PER_CHANNEL * channel : PER_CHANNEL * (channel + 1)]
    least = _mine(task, "least_change")
    rate_ppm = _wanted(asked[0], policy.fee_rate_ppm, least)
    base_msat = _wanted(asked[1], policy.fee_base_msat, 0.0)
    inbound_ppm = _wanted(asked[2], inbound.fee_rate_ppm, least)
    most_msat = _mine(task, "most_msat")[_variant(address, index), channel]
    highest_msat = max(min(_wanted(asked[3], policy.max_htlc_msat, least), most_msat), policy.min_htlc_msat)
    kept, noted, change_ms = _kept_of(address, index, channel), _ledger(address, index), _mine(task, "change_ms")
    kept[CREDIT] = min(kept[CREDIT] + _mine(task, "step_ms"), _mine(task, "burst_ms"))
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
    noted[first + 3], noted[first + ANNOUNCED] = highest_msat, 1


@outlined
def _rebalance(address: Any, task: Any, index: Any, decided: Any, at: Any) -> None:
    """Send a circular rebalance, and note what became of it."""
    noted, decision = _ledger(address, index), read(address, "columns.decision")[index]
    out = _mine(task, "out")[_variant(address, index)]
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
            _mine(task, "rebalance_attempts"),
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
    noted, decision = _ledger(address, index), read(address, "columns.decision")[index]
    channel, amount_msat = decision[decided], abs(decision[decided + 1])
    goes_out = decision[decided + 1] > 0
    noted[at] = -1
    if channel < 0 or amount_msat == 0:
        return
    out = _mine(task, "out")[_variant(address, index), channel]
    noted[at] = out if goes_out else out ^ 1
    kept = read(address, "columns.kept")[index]
    miner_msat = np.int64(1000 * _mine(task, "swap_vbytes") * _sat_per_vbyte(address, task, index))
    service_ppm = _mine(task, "swap_out_ppm") if goes_out else _mine(task, "swap_in_ppm")
    service_msat = amount_msat * service_ppm // 1_000_000
    routing_msat = amount_msat * _mine(task, "swap_routing_ppm") // 1_000_000 if goes_out else np.int64(0)
    reason, sent_msat = np.int64(AMOUNT_OUT_OF_RANGE), amount_msat + routing_msat
    if _mine(task, "swap_min_msat") <= amount_msat <= _mine(task, "swap_max_msat"):
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


@outlined
def _sat_per_vbyte(address: Any, task: Any, index: Any) -> Any:
    """Return the fee rate of the chain on the day of a network: calm within a third, or a spike."""
    seed, episode = read(address, "columns.seeds")[index], read(address, "columns.episodes")[index]
    day = read(address, "columns.now_ms")[index] // DAY_MS
    state = fork(stream(seed, episode, np.int64(-3), PURPOSE_OTHERS), day)
    factor = 0.75 + 0.5 * uniform(state)
    if uniform(advance(state)) < _mine(task, "spike_share"):
        factor *= _mine(task, "spike_factor")
    return _mine(task, "sat_per_vbyte") * factor


@inlined
def _funds_msat(address: Any, task: Any, index: Any) -> Any:
    """Return the own node's money: its ends of its channels, and the wallet."""
    out, balances = _mine(task, "out")[_variant(address, index)], read(address, "columns.balances_msat")[index]
    funds_msat = read(address, "columns.kept")[index, KEPT_WALLET]
    for channel in range(out.shape[0]):
        funds_msat += balances[out[channel]]
    return funds_msat


@outlined
def _measure(address: Any, task: Any, index: Any) -> None:
    """Count the money of a step; the reward is what the own funds gained, in sat."""
    noted, kept = _ledger(address, index), read(address, "columns.kept")[index]
    terms = read(address, "columns.terms")[index]
    own = _mine(task, "own")[_variant(address, index)]
    funds_msat = _funds_msat(address, task, index)
    noted[FUNDS], noted[WALLET] = funds_msat, kept[KEPT_WALLET]
    noted[INCOME] = read(address, "columns.earned_msat")[index, own]
    terms[0] = noted[INCOME] / 1000.0
    terms[1] = noted[REBALANCE_FEE] / 1000.0
    terms[2] = noted[SWAP_FEE] / 1000.0
    terms[3] = noted[CHAIN_FEE] / 1000.0
    read(address, "columns.reward")[index] = (funds_msat - kept[KEPT_FUNDS]) / 1000.0
    kept[KEPT_FUNDS] = funds_msat


@outlined
def _observe(address: Any, task: Any, index: Any) -> None:
    """Observe what the own node knows, and which of its channels may do what."""
    out = _mine(task, "out")[_variant(address, index)]
    channels, features = out.shape[0], len(CHANNEL_FEATURES)
    row, allowed = read(address, "columns.observation")[index], read(address, "columns.allowed")[index]
    network, balances = linked_network_of(address, index), read(address, "columns.balances_msat")[index]
    forwards, own = read(address, "columns.forwards")[index], read(address, "columns.watched")[index]
    now, change_ms = read(address, "columns.now_ms")[index], _mine(task, "change_ms")
    least_msat = _mine(task, "swap_min_msat")
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
        kept = _kept_of(address, index, channel)
        days = _MOST_DAYS if kept[CHANGED] < 0 else min((now - kept[CHANGED]) / DAY_MS, _MOST_DAYS)
        left = 1.0 if change_ms == 0 else np.float64(kept[CREDIT] // change_ms)
        last = at + _FORWARDS + forwards.shape[1]
        row[last] = np.float32(days)
        row[last + 1] = np.float32(left)
        credit = min(kept[CREDIT] + _mine(task, "step_ms"), _mine(task, "burst_ms"))
        allowed[channel] = credit >= change_ms
        is_active = network.links.disabled[direction] == 0 and network.links.disabled[direction ^ 1] == 0
        sends = is_active and spendable(network, balances, None, direction) > 0
        receives = is_active and spendable(network, balances, None, direction ^ 1) > 0
        allowed[channels + channel] = sends
        allowed[2 * channels + channel] = receives
        allowed[3 * channels + channel] = sends and spendable(network, balances, None, direction) >= least_msat
        allowed[4 * channels + channel] = receives and wallet_msat >= least_msat
    at = channels * features
    row[at] = np.float32(wallet_msat * _BY_MSAT)
    row[at + 1] = np.float32(_sat_per_vbyte(address, task, index) * 0.1)
    row[at + 2] = np.float32((now % DAY_MS) / DAY_MS)
    row[at + 3] = np.float32(now / DAY_MS * 0.1)
