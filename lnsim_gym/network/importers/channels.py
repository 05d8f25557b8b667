"""From foreign channels to a topology that LND could run: what is dropped, what is cut, and one warning that says so.

The formats themselves are read elsewhere; by the time a channel gets here its units are ours.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.limits import (
    DEFAULT_FEE_PER_KW,
    channel_reserve_sat,
    max_value_in_flight_msat,
    owned_total_sat,
)
from lnsim_gym.network.policies import MAX_TIME_LOCK_DELTA, MIN_TIME_LOCK_DELTA, ChannelPolicies, Policy
from lnsim_gym.network.topology import MAX_FUNDING_SAT, MAX_WUMBO_FUNDING_SAT, MIN_FUNDING_SAT, Channel, Topology

__all__ = ["ForeignChannel", "build_topology", "unique_names"]

_NO_POLICIES: Final = "without an enabled policy in both directions"
_CAPACITY: Final = f"with a capacity outside {MIN_FUNDING_SAT:,}..{MAX_WUMBO_FUNDING_SAT:,} sat"
_FEES: Final = "with fees outside LND's limits"
_HTLC_RANGE: Final = "with an empty range of HTLC sizes"
_LOOP: Final = "from a node to itself"
_PARALLEL: Final = "parallel to a larger one"


@dataclass(frozen=True, slots=True)
class ForeignChannel:
    """A channel as another program describes it, in our units."""

    ends: tuple[str, str]
    """Keys of the two nodes."""
    capacity_sat: int
    policies: tuple[Policy | None, Policy | None]
    """Policy of each end, None when it is missing or disabled."""
    balances_msat: tuple[int, int] | None = None
    """Balance of each end when the format has them."""


def unique_names(aliases: Mapping[str, str]) -> dict[str, str]:
    """Name each node by its alias, or by its key when the alias is blank, shared, or the key of another node.

    Args:
        aliases: Alias of each node by its key.
    """
    uses = Counter(aliases.values())
    return {
        key: alias if alias.strip() and uses[alias] == 1 and alias not in aliases else key
        for key, alias in aliases.items()
    }


def build_topology(names: Mapping[str, str], channels: Sequence[ForeignChannel], what: str) -> Topology:
    """Build a topology from the channels that LND could run, and warn once of all that had to be left out.

    Dropped: channels without an enabled policy in both directions, with a capacity or fees outside LND's limits, all
    but the largest between the same two nodes; then nodes without a channel. Cut to LND's limits: time lock deltas
    and the smallest and largest HTLC. The richer end of a channel is its initiator; without known balances the first
    end is, and owns everything.

    Args:
        names: Name of each node by its key, in the order they are to have.
        channels: What the format lists.
        what: How to call it in the warning.

    Raises:
        TopologyError: No channel is left.
    """
    flaws = [_flaw(channel) for channel in channels]
    sound = [channel for channel, flaw in zip(channels, flaws, strict=True) if flaw is None]
    kept = _largest_of_each_pair(sound)
    dropped = Counter(flaw for flaw in flaws if flaw is not None)
    dropped[_PARALLEL] = len(sound) - len(kept)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.most_common() if count)
    if not kept:
        raise TopologyError(
            f"no usable channel: all {len(channels):,} listed were dropped ({reasons or 'the list is empty'})"
        )
    used = {key for channel in kept for key in channel.ends}
    nodes = tuple(name for key, name in names.items() if key in used)
    converted = [_convert(channel, names) for channel in kept]
    notes = [
        f"dropped {sum(dropped.values()):,} of {len(channels):,} channels ({reasons})" if reasons else "",
        f"left out {len(names) - len(nodes):,} nodes without a channel" if len(nodes) < len(names) else "",
        _count(sum(cut for _, cut in converted), "policies cut to LND's limits on time lock and HTLC size"),
    ]
    if any(notes):
        warnings.warn(f"{what}: {'; '.join(filter(None, notes))}", stacklevel=3)
    return Topology(
        nodes=nodes,
        channels=tuple(channel for channel, _ in converted),
        wumbo=any(channel.capacity_sat > MAX_FUNDING_SAT for channel in kept),
    )


def _count(count: int, what: str) -> str:
    """Say how many, or nothing when there are none."""
    return f"{count:,} {what}" if count else ""


def _flaw(channel: ForeignChannel) -> str | None:
    """Say why LND could not run a channel, if so."""
    if channel.ends[0] == channel.ends[1]:
        return _LOOP
    if not MIN_FUNDING_SAT <= channel.capacity_sat <= MAX_WUMBO_FUNDING_SAT:
        return _CAPACITY
    for policy in channel.policies:
        if policy is None:
            return _NO_POLICIES
        if not (0 <= policy.fee_base_msat < 2**32 and 0 <= policy.fee_rate_ppm <= 1_000_000):
            return _FEES
        cut = _cut(policy, channel.capacity_sat)
        if cut.max_htlc_msat is not None and cut.min_htlc_msat > cut.max_htlc_msat:
            return _HTLC_RANGE
    return None


def _largest_of_each_pair(channels: Iterable[ForeignChannel]) -> list[ForeignChannel]:
    """Keep the largest channel between any two nodes, the first of equals, in the order given."""
    largest: dict[frozenset[str], ForeignChannel] = {}
    for channel in channels:
        pair = frozenset(channel.ends)
        if pair not in largest or channel.capacity_sat > largest[pair].capacity_sat:
            largest[pair] = channel
    return list(largest.values())


def _cut(policy: Policy, capacity_sat: int) -> Policy:
    """Cut time lock and HTLC sizes to what LND accepts on a channel of that capacity."""
    ceiling_msat = int(max_value_in_flight_msat(capacity_sat))
    return msgspec.structs.replace(
        policy,
        time_lock_delta=min(max(policy.time_lock_delta, MIN_TIME_LOCK_DELTA), MAX_TIME_LOCK_DELTA),
        min_htlc_msat=max(policy.min_htlc_msat, 1),
        max_htlc_msat=ceiling_msat if policy.max_htlc_msat is None else min(policy.max_htlc_msat, ceiling_msat),
    )


def _convert(channel: ForeignChannel, names: Mapping[str, str]) -> tuple[Channel, int]:
    """Convert a sound channel; also count the policies that were cut."""
    first = 0 if channel.balances_msat is None or channel.balances_msat[0] >= channel.balances_msat[1] else 1
    given = [policy for policy in (channel.policies[first], channel.policies[1 - first]) if policy is not None]
    cut = [_cut(policy, channel.capacity_sat) for policy in given]
    changed = sum(
        new.time_lock_delta != old.time_lock_delta
        or (old.max_htlc_msat is not None and new.max_htlc_msat != old.max_htlc_msat)
        for new, old in zip(cut, given, strict=True)
    )
    converted = Channel(
        initiator=names[channel.ends[first]],
        peer=names[channel.ends[1 - first]],
        capacity_sat=channel.capacity_sat,
        initiator_balance_sat=_initiator_balance_sat(channel),
        policies=ChannelPolicies(initiator=cut[0], peer=cut[1]),
    )
    return converted, changed


def _initiator_balance_sat(channel: ForeignChannel) -> int | None:
    """Start balance of the richer end, which pays commitment fee and anchors; the other end keeps what it has.

    LND has no channel end with a balance between zero and its reserve: the poorer end is rounded to one of them.
    """
    if channel.balances_msat is None:
        return None
    reserve_sat = int(channel_reserve_sat(channel.capacity_sat))
    peer_sat = min(channel.balances_msat) // 1000
    if peer_sat < reserve_sat:
        peer_sat = reserve_sat if 2 * peer_sat >= reserve_sat else 0
    return int(owned_total_sat(channel.capacity_sat, DEFAULT_FEE_PER_KW)) - peer_sat
