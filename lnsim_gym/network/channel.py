"""One channel: who opened it, how large it is, what its ends start with, and what LND accepts of that."""

from __future__ import annotations

from typing import Final

import msgspec

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.limits import (
    ANCHORS_SAT,
    DEFAULT_FEE_PER_KW,
    channel_reserve_sat,
    commit_fee_sat,
    least_initiator_sat,
    owned_total_sat,
)
from lnsim_gym.network.policies import ChannelPolicies, check_policy

__all__ = [
    "MAX_FEE_PER_KW",
    "MAX_FUNDING_SAT",
    "MAX_WUMBO_FUNDING_SAT",
    "MIN_FEE_PER_KW",
    "MIN_FUNDING_SAT",
    "Channel",
    "check_channel",
]

MIN_FUNDING_SAT: Final = 20_000
"""Smallest channel LND opens, in sat."""
MAX_FUNDING_SAT: Final = 16_777_215
"""Largest channel LND opens without wumbo channels, in sat."""
MAX_WUMBO_FUNDING_SAT: Final = 1_000_000_000
"""Largest channel LND opens with wumbo channels, in sat."""
MIN_FEE_PER_KW: Final = 253
MAX_FEE_PER_KW: Final = 100_000
"""Commitment fee rates that LND uses, in sat per kilo-weight."""


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """One public channel, opened and funded by its initiator."""

    initiator: str
    """Node that opened the channel; it pays the commitment fee and both anchors."""
    peer: str
    """The other node."""
    capacity_sat: int
    """Size of the funding output, in sat."""
    initiator_balance_sat: int | None = None
    """Start balance of the initiator in sat, as ``ListChannels`` shows it. One that is given holds at every reset; by
    default environments draw it as ``start_balances`` says, or else the initiator owns everything."""
    policies: ChannelPolicies | None = None
    """Routing policies; by default each direction gets one of its own, so that no two routes tie."""
    fee_per_kw: int = DEFAULT_FEE_PER_KW
    """Commitment fee rate in sat per kilo-weight."""
    chan_id: int | None = None
    """Short channel id as LND writes it (block height, transaction, output in 64 bits), of a channel that exists."""


def check_channel(where: str, channel: Channel, *, wumbo: bool) -> None:
    """Refuse a channel that LND would not open, or start balances it would not allow.

    Args:
        where: Which channel it is, for the text of the error.
        channel: The channel.
        wumbo: Whether it may be larger than 16,777,215 sat.

    Raises:
        TopologyError: Its ends are one, or a number is out of LND's limits.
    """
    if channel.initiator == channel.peer:
        raise TopologyError(f"{where} joins a node to itself: a channel needs two different nodes")
    largest_sat = MAX_WUMBO_FUNDING_SAT if wumbo else MAX_FUNDING_SAT
    if not MIN_FUNDING_SAT <= channel.capacity_sat <= largest_sat:
        wumbo_helps = largest_sat < channel.capacity_sat <= MAX_WUMBO_FUNDING_SAT
        raise TopologyError(
            f"{where}: capacity_sat must lie in {MIN_FUNDING_SAT:,}..{largest_sat:,}, got {channel.capacity_sat:,}"
            + ("; set wumbo = true for larger channels" if wumbo_helps else "")
        )
    if not MIN_FEE_PER_KW <= channel.fee_per_kw <= MAX_FEE_PER_KW:
        raise TopologyError(
            f"{where}: fee_per_kw must lie in {MIN_FEE_PER_KW}..{MAX_FEE_PER_KW:,} sat/kw, got {channel.fee_per_kw:,}"
        )
    _check_start_balance(where, channel)
    if channel.policies is not None:
        for end in ("initiator", "peer"):
            check_policy(f"{where}: policies.{end}", getattr(channel.policies, end), channel.capacity_sat)


def _check_start_balance(where: str, channel: Channel) -> None:
    """Refuse start balances below a reserve or above what the channel holds."""
    reserve_sat = int(channel_reserve_sat(channel.capacity_sat))
    least_sat = int(least_initiator_sat(channel.capacity_sat))
    total_sat = int(owned_total_sat(channel.capacity_sat, channel.fee_per_kw))
    initiator_sat = total_sat if channel.initiator_balance_sat is None else channel.initiator_balance_sat
    if not least_sat <= initiator_sat <= total_sat:
        raise TopologyError(
            f"{where}: initiator_balance_sat must lie between {least_sat:,} sat, the least LND opens it with, "
            f"and {total_sat:,} sat (capacity less {commit_fee_sat(channel.fee_per_kw):,} commitment fee and "
            f"{ANCHORS_SAT} anchors), got {initiator_sat:,}"
        )
    if 0 < total_sat - initiator_sat < reserve_sat:
        raise TopologyError(
            f"{where}: initiator_balance_sat {initiator_sat:,} leaves the peer {total_sat - initiator_sat:,} sat, "
            f"below its reserve of {reserve_sat:,}: use at most {total_sat - reserve_sat:,}, or all {total_sat:,}"
        )
