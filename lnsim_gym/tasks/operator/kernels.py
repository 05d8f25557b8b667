"""The operator's task, compiled: announce, close and open, rebalance, swap; let the market pay; count; observe."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.simulator.channels import spendable
from lnsim_gym.backends.simulator.circular import send_around
from lnsim_gym.backends.simulator.engine import Terms, memory_at, send_over
from lnsim_gym.backends.simulator.forwards import forward_row
from lnsim_gym.backends.simulator.gossip import tell_all
from lnsim_gym.compiled import inlined, kernel, outlined
from lnsim_gym.compiled.binding import reader
from lnsim_gym.network.limits import DUST_LIMIT_SAT
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
    KEPT_OF_CHANNEL,
    KEPT_ON_CHAIN,
    PER_CHANNEL,
    PER_REBALANCE,
    PER_SWAP,
)
from lnsim_gym.tasks.operator.ledger import (
    ANNOUNCED,
    CHAIN_FEE,
    CHANNEL_CODES,
    CHANNEL_MONEY,
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
from lnsim_gym.tasks.operator.others import Others, fresh_balance_msat, is_offline, set_competitors
from lnsim_gym.traffic.flows import DAY_MS, FlowProgram, draw_flows
from lnsim_gym.traffic.random import PURPOSE_OTHERS, advance, fork, stream, uniform

__all__ = ["OperatorState", "conclude", "example", "observe", "plan", "reset", "step", "step_in_parts"]

KEPT_FUNDS: Final = KEPT.index("funds_msat")
KEPT_WALLET: Final = KEPT.index("wallet_msat")
CREDIT: Final = KEPT_OF_CHANNEL.index("credit_ms")
CHANGED: Final = KEPT_OF_CHANNEL.index("changed_ms")
"""In ms since the clock began, or -1."""
STAGE: Final = KEPT_ON_CHAIN.index("stage")
DUE: Final = KEPT_ON_CHAIN.index("due_ms")
PENDING: Final = KEPT_ON_CHAIN.index("pending_msat")
BEGAN: Final = KEPT_ON_CHAIN.index("began_msat")

# Stages of a channel.
THERE: Final = 0
CLOSING: Final = 1
CLOSED: Final = 2
OPENING: Final = 3
CAME: Final = 4
"""Its funding was confirmed at the begin of this step."""

IS_GONE: Final = CHANNEL_CODES.index("gone")
WENT: Final = CHANNEL_CODES.index("went")
HAS_COME: Final = CHANNEL_CODES.index("came")

MONEY_PENDING: Final = CHANNEL_MONEY.index("pending_msat")
MONEY_COMMITTED: Final = CHANNEL_MONEY.index("commitment_msat")
MONEY_REPLACED: Final = CHANNEL_MONEY.index("replacement_msat")
COUNT_CLOSED: Final = CHANNEL_MONEY.index("channels_closed")
COUNT_OPENED: Final = CHANNEL_MONEY.index("channels_opened")
COUNT_REFUSED: Final = CHANNEL_MONEY.index("channel_changes_refused")
DUST_MSAT: Final = 1000 * DUST_LIMIT_SAT
"""Output below which a closing transaction leaves it to the miners."""
ANCHOR_RESERVE_MSAT: Final = 10_000_000
MOST_ANCHOR_RESERVE_MSAT: Final = 100_000_000
"""What LND's wallet keeps back for each channel with anchors, and for all of them (lnwallet/wallet.go)."""

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
    candidate: Int64  # (variants, channels) 1 where it is not there when an episode begins
    funded: Int64  # (variants, channels) 1 where the own node opens it
    owned_msat: Int64  # (variants, channels) what both ends own together
    flows: FlowProgram  # stacked over variants
    others: Others  # stacked over variants
    step_ms: int
    rebalances: int
    rebalance_attempts: int
    swaps: int
    closes: int
    opens: int
    books: int
    """1 where channels come and go or liquidity counts at what it costs to replace: ``KEPT_ON_CHAIN`` is kept then."""
    replacement_ppm: int
    """Price of moving liquidity back; 0 where it counts at par."""
    warm_up_ms: int
    open_vbytes: int
    close_vbytes: int
    confirmation_ms: int
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
        candidate=whole,
        funded=whole,
        owned_msat=whole,
        flows=FlowProgram(*flows),
        others=Others(*others),
        step_ms=0,
        rebalances=0,
        rebalance_attempts=0,
        swaps=0,
        closes=0,
        opens=0,
        books=0,
        replacement_ppm=0,
        warm_up_ms=0,
        open_vbytes=0,
        close_vbytes=0,
        confirmation_ms=0,
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
    first = len(KEPT) + len(KEPT_OF_CHANNEL) * channel
    return read(address, "columns.kept")[index, first : first + len(KEPT_OF_CHANNEL)]


@inlined
def _on_chain(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return what is kept of an own channel where there are books: ``STAGE``, ``DUE``, ``PENDING``, ``BEGAN``."""
    channels = _mine(task, "out").shape[1]
    first = len(KEPT) + len(KEPT_OF_CHANNEL) * channels + len(KEPT_ON_CHAIN) * channel
    return read(address, "columns.kept")[index, first : first + len(KEPT_ON_CHAIN)]


@outlined
def _is_there(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return whether an own channel exists and is confirmed."""
    if _mine(task, "books") == 0:
        return True
    stage = _on_chain(address, task, index, channel)[STAGE]
    return stage in (THERE, CAME)


@inlined
def _channels_noted(address: Any, task: Any, index: Any) -> Any:
    """Return the entries of ``CHANNEL_MONEY``, and the codes of channels behind them."""
    channels = _mine(task, "out").shape[1]
    at = len(MONEY) + PER_POLICY * channels + len(REBALANCE_NAMES) * _mine(task, "rebalances")
    return _ledger(address, index)[at + len(SWAP_NAMES) * _mine(task, "swaps") :]


@inlined
def _chain_fee_msat(address: Any, task: Any, index: Any, vbytes: Any) -> Any:
    """Return what a transaction of a size costs today, whole sat in msat."""
    return 1000 * np.int64(vbytes * _sat_per_vbyte(address, task, index))


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
        if _mine(task, "books") != 0 and _mine(task, "candidate")[variant, channel] != 0:
            _on_chain(address, task, index, channel)[STAGE] = CLOSED
            _take_off(address, index, out[channel])
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
    """Carry out a decision: announce policies, then close and open channels, then rebalance, then swap."""
    if _mine(task, "books") != 0:
        _confirm_all(address, task, index)
    _let_others_act(address, task, index)
    _announce_all(address, task, index)
    if _mine(task, "books") != 0:
        _change_channels(address, task, index)
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
    """Begin the ledger of a step, note the balances that an episode begins with, and announce policies."""
    _ledger(address, index)[:] = 0
    if _mine(task, "books") != 0 and read(address, "columns.now_ms")[index] == _mine(task, "warm_up_ms"):
        out, balances = _mine(task, "out")[_variant(address, index)], read(address, "columns.balances_msat")[index]
        for channel in range(out.shape[0]):
            _on_chain(address, task, index, channel)[BEGAN] = balances[out[channel]]
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
    if not _is_there(address, task, index, channel):
        return
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
    noted[first + 3], noted[first + ANNOUNCED] = highest_msat, 1 + disabled


@outlined
def _take_off(address: Any, index: Any, out: Any) -> None:
    """Take a channel from the network: nobody can send over what is disabled and holds nothing."""
    balances, links = read(address, "columns.balances_msat")[index], linked_network_of(address, index).links
    for end in range(2):
        balances[out ^ end], links.disabled[out ^ end] = 0, 1
        tell_all(links, out ^ end)


@outlined
def _confirm_all(address: Any, task: Any, index: Any) -> None:
    """Pay out what channels held whose closing is confirmed by now, and bring those whose funding is."""
    now, variant = read(address, "columns.now_ms")[index], _variant(address, index)
    kept, balances = read(address, "columns.kept")[index], read(address, "columns.balances_msat")[index]
    disabled, usual = linked_network_of(address, index).links.disabled, read(address, "starts.disabled")[variant]
    for channel in range(_mine(task, "out").shape[1]):
        own, out = _on_chain(address, task, index, channel), _mine(task, "out")[variant, channel]
        if own[DUE] > now:
            continue
        if own[STAGE] == CLOSING:
            kept[KEPT_WALLET] += own[PENDING]
            own[STAGE], own[PENDING] = CLOSED, 0
        elif own[STAGE] == OPENING:
            balances[out] = _mine(task, "owned_msat")[variant, channel]
            disabled[out], disabled[out ^ 1] = usual[out], usual[out ^ 1]
            own[STAGE], own[PENDING], own[BEGAN] = CAME, 0, balances[out]
            policy = _kept_of(address, index, channel)
            policy[CREDIT], policy[CHANGED] = _mine(task, "burst_ms"), -1


@outlined
def _change_channels(address: Any, task: Any, index: Any) -> None:
    """Note which channels are there, keep the others out of use whatever their peers do, then close and open some."""
    variant, decision = _variant(address, index), read(address, "columns.decision")[index]
    channels, noted = _mine(task, "out").shape[1], _channels_noted(address, task, index)
    disabled = linked_network_of(address, index).links.disabled
    for channel in range(channels):
        own, out = _on_chain(address, task, index, channel), _mine(task, "out")[variant, channel]
        if own[STAGE] == CAME:
            own[STAGE] = THERE
            noted[len(CHANNEL_MONEY) + channel] = HAS_COME + disabled[out] + 2 * disabled[out ^ 1]
        elif own[STAGE] != THERE:
            _take_off(address, index, out)
            noted[len(CHANNEL_MONEY) + channel] = IS_GONE
    at = PER_CHANNEL * channels + PER_REBALANCE * _mine(task, "rebalances") + PER_SWAP * _mine(task, "swaps")
    for place in range(_mine(task, "closes") + _mine(task, "opens")):
        channel = decision[at + place]
        if channel < 0:
            continue
        if place < _mine(task, "closes"):
            done = _close(address, task, index, channel)
            noted[COUNT_CLOSED] += done
        else:
            done = _open(address, task, index, channel)
            noted[COUNT_OPENED] += done
        noted[COUNT_REFUSED] += 1 - done


@outlined
def _can_close(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return whether a channel can be closed by agreement: it is there, and its peer online."""
    disabled = linked_network_of(address, index).links.disabled
    out = _mine(task, "out")[_variant(address, index), channel]
    return _is_there(address, task, index, channel) and disabled[out] == 0 and disabled[out ^ 1] == 0


@outlined
def _close(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Close a channel by agreement; return 1, or 0 where it cannot be.

    Whoever opened it has the fee of the commitment transaction and the anchors back, and pays for the closing
    transaction (BOLT 2, closing negotiation). What is left over a whole number of sat goes to the miners, as does what
    is dust.
    """
    if not _can_close(address, task, index, channel):
        return np.int64(0)
    variant, noted = _variant(address, index), _ledger(address, index)
    out, own = _mine(task, "out")[variant, channel], _on_chain(address, task, index, channel)
    held_msat = read(address, "columns.balances_msat")[index, out]
    paid_msat = np.int64(0)
    if _mine(task, "funded")[variant, channel] != 0:
        held_msat += _commitment_msat(address, task, index, channel)
        paid_msat = _chain_fee_msat(address, task, index, _mine(task, "close_vbytes"))
    payout_msat = (held_msat - paid_msat) // 1000 * 1000
    if payout_msat < DUST_MSAT:
        payout_msat = np.int64(0)
    own[STAGE], own[PENDING] = CLOSING, payout_msat
    own[DUE] = read(address, "columns.now_ms")[index] + _mine(task, "confirmation_ms")
    noted[CHAIN_FEE] += held_msat - payout_msat
    _take_off(address, index, out)
    _channels_noted(address, task, index)[len(CHANNEL_MONEY) + channel] = WENT
    return np.int64(1)


@outlined
def _can_open(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return whether a channel can be opened: it is closed, its peer online, and the wallet holds enough.

    The wallet keeps back what LND reserves for the anchors of all channels.
    """
    variant = _variant(address, index)
    own = _on_chain(address, task, index, channel)
    if own[STAGE] != CLOSED or _mine(task, "funded")[variant, channel] == 0:
        return False
    out = _mine(task, "out")[variant, channel]
    if _is_away(address, task, index, linked_network_of(address, index).destination[out]):
        return False
    anchors_msat = np.int64(ANCHOR_RESERVE_MSAT)
    for other in range(_mine(task, "out").shape[1]):
        stage = _on_chain(address, task, index, other)[STAGE]
        if stage not in (CLOSED, CLOSING):
            anchors_msat += ANCHOR_RESERVE_MSAT
    wallet_msat = read(address, "columns.kept")[index, KEPT_WALLET]
    return wallet_msat >= _opening_msat(address, task, index, channel) + min(anchors_msat, MOST_ANCHOR_RESERVE_MSAT)


@inlined
def _opening_msat(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return what it takes to open a channel: its capacity, and the fee of the transaction that funds it."""
    out = _mine(task, "out")[_variant(address, index), channel]
    fee_msat = _chain_fee_msat(address, task, index, _mine(task, "open_vbytes"))
    return linked_network_of(address, index).policy[out].capacity_msat + fee_msat


@outlined
def _open(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Fund a channel from the wallet; return 1, or 0 where it cannot be."""
    if not _can_open(address, task, index, channel):
        return np.int64(0)
    own, kept, noted = _on_chain(address, task, index, channel), read(address, "columns.kept"), _ledger(address, index)
    out = _mine(task, "out")[_variant(address, index), channel]
    spent_msat = _opening_msat(address, task, index, channel)
    own[STAGE], own[PENDING] = OPENING, linked_network_of(address, index).policy[out].capacity_msat
    own[DUE] = read(address, "columns.now_ms")[index] + _mine(task, "confirmation_ms")
    kept[index, KEPT_WALLET] -= spent_msat
    noted[CHAIN_FEE] += spent_msat - own[PENDING]
    return np.int64(1)


@outlined
def _is_away(address: Any, task: Any, index: Any, node: Any) -> Any:
    """Return whether a node is a competitor that is offline now."""
    others = _others_of(task, _variant(address, index))
    seed, episode = read(address, "columns.seeds")[index], read(address, "columns.episodes")[index]
    now = read(address, "columns.now_ms")[index]
    for place in range(others.competitor.shape[0]):
        if others.competitor[place] == node:
            return is_offline(others, seed, episode, np.int64(node), now)
    return False


@inlined
def _commitment_msat(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return the fee of the commitment transaction of a channel and its anchors, where it is there."""
    variant = _variant(address, index)
    out = _mine(task, "out")[variant, channel]
    capacity_msat = linked_network_of(address, index).policy[out].capacity_msat
    return capacity_msat - _mine(task, "owned_msat")[variant, channel]


@outlined
def _note_books(address: Any, task: Any, index: Any) -> None:
    """Note what own money lies in no balance, and what it would cost to move back what went out of channels."""
    noted, balances = _channels_noted(address, task, index), read(address, "columns.balances_msat")[index]
    variant, gone_msat = _variant(address, index), np.int64(0)
    changes = _mine(task, "closes") + _mine(task, "opens") > 0
    for channel in range(_mine(task, "out").shape[1]):
        own, out = _on_chain(address, task, index, channel), _mine(task, "out")[variant, channel]
        noted[MONEY_PENDING] += own[PENDING]
        if own[STAGE] == THERE:
            gone_msat += max(own[BEGAN] - balances[out], 0)
            if changes and _mine(task, "funded")[variant, channel] != 0:
                noted[MONEY_COMMITTED] += _commitment_msat(address, task, index, channel)
    noted[MONEY_REPLACED] = gone_msat * _mine(task, "replacement_ppm") // 1_000_000


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
    """Return the own node's money: its ends of its channels, the wallet, and what lies in neither."""
    out, balances = _mine(task, "out")[_variant(address, index)], read(address, "columns.balances_msat")[index]
    funds_msat = read(address, "columns.kept")[index, KEPT_WALLET]
    for channel in range(out.shape[0]):
        funds_msat += balances[out[channel]]
        if _mine(task, "closes") + _mine(task, "opens") > 0:
            own = _on_chain(address, task, index, channel)
            funds_msat += own[PENDING]
            if _is_there(address, task, index, channel) and _mine(task, "funded")[_variant(address, index), channel]:
                funds_msat += _commitment_msat(address, task, index, channel)
    return funds_msat


@outlined
def _measure(address: Any, task: Any, index: Any) -> None:
    """Count the money of a step; the reward is what the own funds gained in value, in sat."""
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
    if _mine(task, "books") != 0:
        _note_books(address, task, index)
        replacement_msat = _channels_noted(address, task, index)[MONEY_REPLACED]
        if _mine(task, "replacement_ppm") > 0:
            costs_msat = noted[REBALANCE_FEE] + noted[SWAP_FEE] + noted[CHAIN_FEE]
            gained_msat = funds_msat - replacement_msat - kept[KEPT_FUNDS]
            terms[4] = (noted[INCOME] - costs_msat - gained_msat) / 1000.0
        funds_msat -= replacement_msat
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
        allowed[channel] = credit >= change_ms and _is_there(address, task, index, channel)
        is_active = network.links.disabled[direction] == 0 and network.links.disabled[direction ^ 1] == 0
        sends = is_active and spendable(network, balances, None, direction) > 0
        receives = is_active and spendable(network, balances, None, direction ^ 1) > 0
        allowed[channels + channel] = sends
        allowed[2 * channels + channel] = receives
        allowed[3 * channels + channel] = sends and spendable(network, balances, None, direction) >= least_msat
        allowed[4 * channels + channel] = receives and wallet_msat >= least_msat
        if _mine(task, "closes") > 0:
            allowed[5 * channels + channel] = _can_close(address, task, index, channel)
        if _mine(task, "opens") > 0:
            opens = allowed.shape[0] - channels
            allowed[opens + channel] = _can_open(address, task, index, channel)
    at = channels * features
    row[at] = np.float32(wallet_msat * _BY_MSAT)
    row[at + 1] = np.float32(_sat_per_vbyte(address, task, index) * 0.1)
    row[at + 2] = np.float32((now % DAY_MS) / DAY_MS)
    row[at + 3] = np.float32(now / DAY_MS * 0.1)
