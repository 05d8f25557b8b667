"""A network as columns: made of its channels and policies at once, and checked at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.network.channel import (
    MAX_FEE_PER_KW,
    MAX_FUNDING_SAT,
    MAX_WUMBO_FUNDING_SAT,
    MIN_FEE_PER_KW,
    MIN_FUNDING_SAT,
    Channel,
)
from lnsim_gym.network.limits import channel_reserve_sat, least_initiator_sat, max_value_in_flight_msat
from lnsim_gym.network.policies import ChannelPolicies, policy_limits

__all__ = ["NetworkArrays", "are_integers", "columns_of", "unsound_channels"]

_CHANNEL_NUMBERS: Final = ("capacity_sat", "fee_per_kw", "initiator_balance_sat")
_POLICY_NUMBERS: Final = (
    *("fee_base_msat", "fee_rate_ppm", "time_lock_delta", "min_htlc_msat", "max_htlc_msat"),
    *("inbound_fee_base_msat", "inbound_fee_rate_ppm"),
)


class NetworkArrays(NamedTuple):
    """A topology as read-only columns.

    Direction ``d = 2 * channel + side`` carries HTLCs from the initiator (side 0) or from the peer (side 1), so
    ``d ^ 1`` is the reverse direction, and a balance array of shape (channels, 2) lies in direction order when
    flattened.
    """

    capacity_sat: Int64  # (channels,)
    fee_per_kw: Int64  # (channels,)
    reserve_msat: Int64  # (channels,)
    source: Int64  # (directions,) node index
    destination: Int64  # (directions,) node index
    fee_base_msat: Int64  # (directions,)
    fee_rate_ppm: Int64  # (directions,)
    time_lock_delta: Int64  # (directions,) blocks
    min_htlc_msat: Int64  # (directions,)
    max_htlc_msat: Int64  # (directions,)
    inbound_fee_base_msat: Int64  # (directions,) charged by the source on what arrives over the reverse direction
    inbound_fee_rate_ppm: Int64  # (directions,) likewise
    disabled: Int64  # (directions,) 1 where senders are told not to use it, else 0

    @property
    def is_plain(self) -> bool:
        """Whether no channels are parallel, no direction is disabled and no inbound fee charged."""
        first, second = np.sort(self.source.reshape(-1, 2), axis=1).T
        has_parallel = len(np.unique(first * (second.max(initial=0) + 1) + second)) < len(first)
        return not (
            has_parallel or self.disabled.any() or self.inbound_fee_base_msat.any() or self.inbound_fee_rate_ppm.any()
        )


def columns_of(
    channels: Sequence[Channel], policies: Sequence[ChannelPolicies], node_index: Mapping[str, int]
) -> NetworkArrays:
    """Return channels as read-only int64 columns.

    Args:
        channels: The channels.
        policies: Their policies, defaults filled in.
        node_index: Index of each node by name.
    """
    capacity_sat = np.array([channel.capacity_sat for channel in channels], np.int64)
    initiators = [node_index[channel.initiator] for channel in channels]
    peers = [node_index[channel.peer] for channel in channels]
    directed = [policy for both in policies for policy in (both.initiator, both.peer)]
    ceiling_msat = np.repeat(max_value_in_flight_msat(capacity_sat), 2)
    given_msat = [policy.max_htlc_msat for policy in directed]
    is_given = np.array([msat is not None for msat in given_msat], np.bool_)
    largest_msat = np.array([msat or 0 for msat in given_msat], np.int64)
    columns = NetworkArrays(
        capacity_sat=capacity_sat,
        fee_per_kw=np.array([channel.fee_per_kw for channel in channels], np.int64),
        reserve_msat=1000 * channel_reserve_sat(capacity_sat),
        source=np.stack([initiators, peers], axis=1).astype(np.int64).ravel(),
        destination=np.stack([peers, initiators], axis=1).astype(np.int64).ravel(),
        fee_base_msat=np.array([policy.fee_base_msat for policy in directed], np.int64),
        fee_rate_ppm=np.array([policy.fee_rate_ppm for policy in directed], np.int64),
        time_lock_delta=np.array([policy.time_lock_delta for policy in directed], np.int64),
        min_htlc_msat=np.array([policy.min_htlc_msat for policy in directed], np.int64),
        max_htlc_msat=np.where(is_given, largest_msat, ceiling_msat),
        inbound_fee_base_msat=np.array([policy.inbound_fee_base_msat for policy in directed], np.int64),
        inbound_fee_rate_ppm=np.array([policy.inbound_fee_rate_ppm for policy in directed], np.int64),
        disabled=np.array([policy.disabled for policy in directed], np.int64),
    )
    for column in columns:
        column.flags.writeable = False
    return columns


def unsound_channels(arrays: NetworkArrays, owned_msat: Int64, initiator_msat: Int64, *, wumbo: bool) -> list[int]:
    """Return the channels that ``check_channel`` would refuse.

    Args:
        arrays: The columns.
        owned_msat: What both ends of each channel own together, shape (channels,).
        initiator_msat: What its initiator starts with, shape (channels,).
        wumbo: Whether channels may be larger than 16,777,215 sat.
    """
    peer_msat = owned_msat - initiator_msat
    sound = (
        (arrays.capacity_sat >= MIN_FUNDING_SAT)
        & (arrays.capacity_sat <= (MAX_WUMBO_FUNDING_SAT if wumbo else MAX_FUNDING_SAT))
        & (arrays.source != arrays.destination)[::2]
        & (arrays.fee_per_kw >= MIN_FEE_PER_KW)
        & (arrays.fee_per_kw <= MAX_FEE_PER_KW)
        & (initiator_msat >= 1000 * least_initiator_sat(arrays.capacity_sat))
        & ((peer_msat == 0) | (peer_msat >= arrays.reserve_msat))
        & _are_accepted(arrays).reshape(-1, 2).all(axis=1)
    )
    unsound: list[int] = np.flatnonzero(~sound).tolist()
    return unsound


def are_integers(channels: Sequence[Channel], policies: Sequence[ChannelPolicies]) -> bool:
    """Whether every number of channels and policies is an integer, which a column does not tell."""
    directed = [policy for both in policies for policy in (both.initiator, both.peer)]
    kinds: set[type] = set()
    for field in _CHANNEL_NUMBERS:
        kinds.update(map(type, map(attrgetter(field), channels)))
    for field in _POLICY_NUMBERS:
        kinds.update(map(type, map(attrgetter(field), directed)))
    # A balance or a largest HTLC may be missing, which its column tells.
    return kinds <= {int, type(None)}


def _are_accepted(arrays: NetworkArrays) -> Bool:
    """Return for each direction whether LND accepts its policy, shape (directions,)."""
    ceiling_msat = np.repeat(max_value_in_flight_msat(arrays.capacity_sat), 2)
    accepted = np.ones(len(ceiling_msat), np.bool_)
    for field, (low, high) in policy_limits(arrays.min_htlc_msat, ceiling_msat).items():
        column = getattr(arrays, field)
        accepted &= (low <= column) & (column <= high)
    return accepted
