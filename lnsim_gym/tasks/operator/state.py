"""What the kernels of the operator's task know and keep: its state, and how they read it without copying."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.compiled import inlined, outlined
from lnsim_gym.compiled.binding import reader
from lnsim_gym.tasks.columns import LEDGER
from lnsim_gym.tasks.loop import read
from lnsim_gym.tasks.operator.features import KEPT, KEPT_OF_CHANNEL
from lnsim_gym.tasks.operator.others import Others
from lnsim_gym.traffic.flows import DAY_MS, FlowProgram
from lnsim_gym.traffic.random import PURPOSE_OTHERS, advance, fork, stream, uniform

__all__ = [
    "CHANGED",
    "CREDIT",
    "KEPT_FUNDS",
    "KEPT_WALLET",
    "OperatorState",
    "example",
    "kept_of",
    "ledger_of",
    "mine",
    "others_at",
    "sat_per_vbyte",
    "variant_of",
]

KEPT_FUNDS: Final = KEPT.index("funds_msat")
KEPT_WALLET: Final = KEPT.index("wallet_msat")
CREDIT: Final = KEPT_OF_CHANNEL.index("credit_ms")
CHANGED: Final = KEPT_OF_CHANNEL.index("changed_ms")
"""In ms since the clock began, or -1."""


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


mine = reader(example())
"""Reads a field of the state, as ``loop.read`` does of the loop's."""


@inlined
def variant_of(address: Any, index: Any) -> Any:
    """Return the variant that a network is on."""
    return read(address, "columns.variant")[index]


@inlined
def others_at(task: Any, variant: Any) -> Any:
    """Return what others do on a variant, without copying."""
    return Others(
        mine(task, "others.foreign")[variant],
        mine(task, "others.owned_total_msat")[variant],
        mine(task, "others.reserve_msat")[variant],
        mine(task, "others.competitor")[variant],
        mine(task, "others.normal_table")[variant],
        mine(task, "others.restore_chance")[variant],
        mine(task, "others.low")[variant],
        mine(task, "others.high")[variant],
        mine(task, "others.skew")[variant],
        mine(task, "others.fee_spell_ms")[variant],
        mine(task, "others.fee_log_sd")[variant],
        mine(task, "others.offline_share")[variant],
    )


@inlined
def ledger_of(address: Any, index: Any) -> Any:
    """Return the task's entries of a step."""
    return read(address, "columns.counts")[index, LEDGER:]


@inlined
def kept_of(address: Any, index: Any, channel: Any) -> Any:
    """Return what is kept of an own channel, shape (2,): ``CREDIT`` and ``CHANGED``."""
    first = len(KEPT) + len(KEPT_OF_CHANNEL) * channel
    return read(address, "columns.kept")[index, first : first + len(KEPT_OF_CHANNEL)]


@outlined
def sat_per_vbyte(address: Any, task: Any, index: Any) -> Any:
    """Return the fee rate of the chain on the day of a network: calm within a third, or a spike."""
    seed, episode = read(address, "columns.seeds")[index], read(address, "columns.episodes")[index]
    day = read(address, "columns.now_ms")[index] // DAY_MS
    state = fork(stream(seed, episode, np.int64(-3), PURPOSE_OTHERS), day)
    factor = 0.75 + 0.5 * uniform(state)
    if uniform(advance(state)) < mine(task, "spike_share"):
        factor *= mine(task, "spike_factor")
    return mine(task, "sat_per_vbyte") * factor
