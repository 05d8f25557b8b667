"""From foreign channels to a topology that LND could run: what is left out, what is changed, and a report of both.

The formats themselves are read elsewhere; by the time a channel gets here its units are ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from lnsim_gym.errors import TopologyError, warn
from lnsim_gym.network.limits import (
    DEFAULT_FEE_PER_KW,
    DUST_LIMIT_SAT,
    least_initiator_sat,
    max_value_in_flight_msat,
    owned_total_sat,
)
from lnsim_gym.network.names import unique_names, without_surrogates
from lnsim_gym.network.policies import (
    MAX_FEE,
    MAX_INBOUND_FEE,
    MAX_TIME_LOCK_DELTA,
    MIN_TIME_LOCK_DELTA,
    ChannelPolicies,
    Policy,
)
from lnsim_gym.network.topology import (
    MAX_FUNDING_SAT,
    MAX_WUMBO_FUNDING_SAT,
    MIN_FUNDING_SAT,
    Channel,
    Topology,
    unconnected_is_fine,
)

__all__ = ["ForeignChannel", "ForeignNetwork", "Report", "announce", "build_network", "channel_number"]

_CAPACITY: Final = f"with a capacity outside {MIN_FUNDING_SAT:,}..{MAX_WUMBO_FUNDING_SAT:,} sat"
_LOOP: Final = "from a node to itself"
_MALFORMED: Final = "malformed"

_MISSING: Final = "directions without a policy taken as disabled"
_FEES: Final = "directions with fees outside LND's limits taken as disabled"
_HTLC_RANGE: Final = "directions with an empty range of HTLC sizes taken as disabled"
_CUT: Final = "policies cut to LND's limits on time lock and HTLC size"
_NO_BALANCES: Final = "channels whose balances are negative or do not add up, and are not used"
_MOVED: Final = "balances moved to zero or to LND's reserve, as it has none between"

_DISABLED: Final = Policy(disabled=True)
"""What a direction gets whose policy is missing or would not be accepted: LND's default policy, disabled."""
_PUBLIC_KEY: Final = re.compile("0[23][0-9a-f]{64}")
_LONGEST_PROBLEM: Final = 300
_LONGEST_ID: Final = 40
"""Characters of a short channel id at most, however it is written."""


class ForeignChannel(msgspec.Struct, gc=False):
    """A channel as another program describes it, in our units."""

    ends: tuple[str, str]
    """Keys of the two nodes."""
    capacity_sat: int
    policies: tuple[Policy | None, Policy | None] | None
    """Policy of each end, None when it is missing; None when the format has none at all."""
    balances_msat: tuple[int, int] | None = None
    """Balance of each end when it is known."""
    chan_id: int | None = None
    funding: str = ""
    """Funding transaction and output, where the format has them."""
    initiator: int | None = None
    """Which end opened the channel, when that is known."""
    fee_per_kw: int = DEFAULT_FEE_PER_KW


@dataclass(slots=True)
class ForeignNetwork:
    """What a file of another program holds."""

    format: str
    """Its format, for messages."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Alias of each node by its key, in the order they are to have."""
    channels: list[ForeignChannel] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Channels that could not be read, by cause."""
    first_problem: str = ""
    """What is wrong with the first malformed one."""
    remarks: list[str] = field(default_factory=list)
    """What else a reader should know."""

    def add(self, channel: ForeignChannel) -> None:
        """Add a channel, and its nodes where they are not listed."""
        self.channels.append(channel)
        for key in channel.ends:
            self.aliases.setdefault(key, "")

    def leave_out(self, cause: str) -> None:
        """Count a channel that cannot be taken."""
        self.left_out[cause] += 1

    def leave_out_malformed(self, problem: str) -> None:
        """Count a channel that cannot be read."""
        self.leave_out(_MALFORMED)
        self.first_problem = self.first_problem or problem


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the channels of a file."""

    format: str
    """Format of the file."""
    listed: int = 0
    """Channels that the file lists."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many channels were left out, by cause."""
    changed: Mapping[str, int] = field(default_factory=dict)
    """How many things were taken otherwise than the file says, by what."""
    nodes_left_out: int = 0
    """Nodes without a channel."""
    remarks: tuple[str, ...] = ()
    """What else a reader should know."""

    def reasons(self) -> str:
        """Return the causes for which channels were left out, with their numbers."""
        return ", ".join(f"{count:,} {cause}" for cause, count in Counter(self.left_out).most_common())

    def text(self) -> str:
        """Return everything that is lost or changed as one short text; empty when nothing is."""
        dropped = sum(self.left_out.values())
        notes = [
            f"dropped {dropped:,} of {self.listed:,} channels ({self.reasons()})" if dropped else "",
            f"left out {self.nodes_left_out:,} nodes without a channel" if self.nodes_left_out else "",
            *(f"{count:,} {what}" for what, count in self.changed.items() if count),
            *self.remarks,
        ]
        return "; ".join(filter(None, notes))


def announce(what: str, topology: Topology, report: Report) -> None:
    """Warn once of everything that was lost or changed, and of a network in several parts.

    Args:
        what: How to call the network.
        topology: What was made of it.
        report: What became of its channels.
    """
    parts = "" if topology.is_connected else 'in several parts (cut = "component" keeps the largest)'
    if text := "; ".join(filter(None, (report.text(), parts))):
        warn(f"{what}: {text}")


def channel_number(text: str | int) -> int | None:
    """Return a short channel id as LND writes it; None where there is none.

    Args:
        text: The number itself, or block height, transaction and output as in ``"700000x1x0"``.
    """
    if isinstance(text, int):
        return text or None
    if len(text) > _LONGEST_ID:
        return None
    if text.isdecimal():
        return int(text) or None
    parts = re.fullmatch(r"(\d+)[x:](\d+)[x:](\d+)", text)
    if parts is None:
        return None
    block, transaction, output = map(int, parts.groups())
    return block << 40 | transaction << 16 | output


def build_network(foreign: ForeignNetwork) -> tuple[Topology, Report]:
    """Build a topology from the channels that LND could run, and report what became of the others.

    Left out: channels with a capacity outside LND's limits or from a node to itself; then nodes without a channel.
    Directions without a policy that LND accepts are disabled ones with its default policy. Cut to LND's limits: time
    lock deltas, and the smallest and the largest HTLC. Where it is not known which end opened a channel, the richer one
    did; without balances the first.

    Raises:
        TopologyError: No channel is left.
    """
    left_out = Counter(foreign.left_out)
    changed: Counter[str] = Counter()
    kept: list[ForeignChannel] = []
    for channel in foreign.channels:
        if (flaw := _flaw(channel)) is None:
            kept.append(channel)
        else:
            left_out[flaw] += 1
    if foreign.first_problem:
        problem = foreign.first_problem[:_LONGEST_PROBLEM]
        left_out[f"{_MALFORMED}, the first: {problem}"] = left_out.pop(_MALFORMED)
    used = {key for channel in kept for key in channel.ends}
    keys = [key for key in foreign.aliases if key in used]
    report = Report(
        format=foreign.format,
        listed=len(foreign.channels) + sum(foreign.left_out.values()),
        left_out=left_out,
        changed=changed,
        nodes_left_out=len(foreign.aliases) - len(keys),
        remarks=tuple(foreign.remarks),
    )
    if not kept:
        reasons = report.reasons() or "the list is empty"
        remarks = "".join(f"; {remark}" for remark in report.remarks)
        raise TopologyError(f"no usable channel: all {report.listed:,} listed were dropped ({reasons}){remarks}")
    names = unique_names({key: foreign.aliases[key] for key in keys})
    channels = tuple(_convert(channel, names, changed) for channel in kept)
    with unconnected_is_fine():
        topology = Topology(
            nodes=tuple(names.values()),
            channels=channels,
            wumbo=any(channel.capacity_sat > MAX_FUNDING_SAT for channel in kept),
            public_keys=_public_keys(keys),
            aliases=_aliases(foreign.aliases, names),
        )
    return topology, report


def _flaw(channel: ForeignChannel) -> str | None:
    """Say why LND could not run a channel, if so."""
    if channel.ends[0] == channel.ends[1]:
        return _LOOP
    return None if MIN_FUNDING_SAT <= channel.capacity_sat <= MAX_WUMBO_FUNDING_SAT else _CAPACITY


def _public_keys(keys: list[str]) -> tuple[str, ...]:
    """Return the keys of the nodes where they are public keys."""
    lower = tuple(key.lower() for key in keys)
    return lower if all(map(_PUBLIC_KEY.fullmatch, lower)) and len(set(lower)) == len(lower) else ()


def _aliases(aliases: Mapping[str, str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the nodes call themselves, where that is not their names."""
    own = tuple(without_surrogates(aliases[key]) for key in names)
    return () if own == tuple(names.values()) or not any(own) else own


def _accepted(policy: Policy | None, ceiling_msat: int, changed: Counter[str]) -> Policy:
    """Return a policy as LND accepts it on a channel that can carry so much, and count what was changed."""
    if policy is None:
        changed[_MISSING] += 1
        return _DISABLED
    largest_msat = ceiling_msat if policy.max_htlc_msat is None else policy.max_htlc_msat
    is_within = MIN_TIME_LOCK_DELTA <= policy.time_lock_delta <= MAX_TIME_LOCK_DELTA and largest_msat <= ceiling_msat
    if not (
        0 <= policy.fee_base_msat <= MAX_FEE
        and 0 <= policy.fee_rate_ppm <= MAX_FEE
        and -MAX_INBOUND_FEE <= policy.inbound_fee_base_msat + 1 <= MAX_INBOUND_FEE + 1
        and -MAX_INBOUND_FEE <= policy.inbound_fee_rate_ppm + 1 <= MAX_INBOUND_FEE + 1
    ):
        changed[_FEES] += 1
        return _DISABLED
    if is_within and 1 <= policy.min_htlc_msat <= largest_msat:
        return policy
    smallest_msat, largest_msat = max(policy.min_htlc_msat, 1), min(largest_msat, ceiling_msat)
    if smallest_msat > largest_msat:
        changed[_HTLC_RANGE] += 1
        return _DISABLED
    changed[_CUT] += not is_within
    return msgspec.structs.replace(
        policy,
        time_lock_delta=min(max(policy.time_lock_delta, MIN_TIME_LOCK_DELTA), MAX_TIME_LOCK_DELTA),
        min_htlc_msat=smallest_msat,
        max_htlc_msat=largest_msat,
    )


def _convert(channel: ForeignChannel, names: Mapping[str, str], changed: Counter[str]) -> Channel:
    """Convert a sound channel."""
    first = channel.initiator
    if first is None:
        first = 0 if channel.balances_msat is None or channel.balances_msat[0] >= channel.balances_msat[1] else 1
    policies = None
    if channel.policies is not None:
        ceiling_msat = max_value_in_flight_msat(channel.capacity_sat)
        policies = ChannelPolicies(
            initiator=_accepted(channel.policies[first], ceiling_msat, changed),
            peer=_accepted(channel.policies[1 - first], ceiling_msat, changed),
        )
    return Channel(
        initiator=names[channel.ends[first]],
        peer=names[channel.ends[1 - first]],
        capacity_sat=channel.capacity_sat,
        initiator_balance_sat=_initiator_balance_sat(channel, first, changed),
        policies=policies,
        fee_per_kw=channel.fee_per_kw,
        chan_id=channel.chan_id,
    )


def _initiator_balance_sat(channel: ForeignChannel, first: int, changed: Counter[str]) -> int | None:
    """Start balance of the initiator, which pays commitment fee and anchors; the other end keeps what it has.

    LND has no channel end with a balance between zero and its reserve: that of the other end is rounded to one of
    them, and the initiator keeps what LND opens a channel with.
    """
    if channel.balances_msat is None:
        return None
    if min(channel.balances_msat) < 0 or sum(channel.balances_msat) // 1000 > channel.capacity_sat:
        changed[_NO_BALANCES] += 1
        return None
    reserve_sat = max(channel.capacity_sat // 100, DUST_LIMIT_SAT)
    total_sat = int(owned_total_sat(channel.capacity_sat, channel.fee_per_kw))
    given_sat = peer_sat = channel.balances_msat[1 - first] // 1000
    if peer_sat < reserve_sat:
        peer_sat = reserve_sat if 2 * peer_sat >= reserve_sat else 0
    peer_sat = min(peer_sat, total_sat - int(least_initiator_sat(channel.capacity_sat)))
    changed[_MOVED] += peer_sat != given_sat
    return total_sat - peer_sat
