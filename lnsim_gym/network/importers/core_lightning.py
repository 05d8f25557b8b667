"""Core Lightning's ``listchannels``, the aliases of its ``listnodes``, and own channels out of ``listpeerchannels``.

Every entry of ``listchannels`` is one direction of a channel, announced by its ``source``. Units: capacities and HTLC
sizes are in msat, written as numbers or as text with ``msat`` at its end (old versions have ``satoshis`` besides);
``base_fee_millisatoshi`` is in msat, ``fee_per_millionth`` in ppm, ``delay`` in blocks.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lnsim_gym.network.channel import MAX_FEE_PER_KW, MIN_FEE_PER_KW
from lnsim_gym.network.importers.channels import ForeignChannel, ForeignNetwork, channel_number
from lnsim_gym.network.importers.documents import Document, decode_entries, decoded, entries_of
from lnsim_gym.network.limits import DEFAULT_FEE_PER_KW
from lnsim_gym.network.policies import Policy

__all__ = ["PeerChannel", "add_nodes", "add_peer_channels", "is_peer_channels", "read_listchannels"]

_OPEN: Final = ("CHANNELD_NORMAL", "CHANNELD_AWAITING_SPLICE")
"""States of channels that can forward."""
_LONGEST_AMOUNT: Final = 20
_ANCHORS_SAT: Final = 660
"""What the opener of a channel with anchor outputs sets aside for them (BOLT 3)."""


class _Direction(msgspec.Struct):
    """One direction of a channel, as far as it is used."""

    source: str
    destination: str
    short_channel_id: str
    amount_msat: int | str | None = 0
    satoshis: int | None = 0
    active: bool = True
    base_fee_millisatoshi: int = 0
    fee_per_millionth: int = 0
    delay: int = 0
    htlc_minimum_msat: int | str | None = 0
    htlc_maximum_msat: int | str | None = 0


class _Node(msgspec.Struct):
    """A node of ``listnodes``, as far as it is used."""

    nodeid: str
    alias: str | None = ""


class _Update(msgspec.Struct):
    """A policy of ``listpeerchannels``, as it was last announced."""

    htlc_minimum_msat: int | str | None = 0
    htlc_maximum_msat: int | str | None = 0
    cltv_expiry_delta: int = 0
    fee_base_msat: int | str | None = 0
    fee_proportional_millionths: int = 0


class _Updates(msgspec.Struct):
    """The policies of both ends."""

    local: _Update | None = None
    remote: _Update | None = None


class _FeeRate(msgspec.Struct):
    """What the commitment transaction pays."""

    perkw: int = DEFAULT_FEE_PER_KW


class PeerChannel(msgspec.Struct):
    """An entry of ``listpeerchannels``, as far as it is used."""

    peer_id: str
    state: str
    peer_connected: bool = False
    short_channel_id: str | None = ""
    funding_txid: str | None = ""
    funding_outnum: int | None = 0
    private: bool | None = False
    opener: str | None = ""
    to_us_msat: int | str | None = 0
    total_msat: int | str | None = 0
    last_tx_fee_msat: int | str | None = 0
    features: list[str] = []
    feerate: _FeeRate | None = None
    updates: _Updates | None = None

    @property
    def is_open(self) -> bool:
        """Whether payments may go over it."""
        return self.state in _OPEN

    @property
    def number(self) -> int | None:
        """Short channel id; None when it has none yet."""
        return channel_number(self.short_channel_id or "")

    @property
    def funding(self) -> str:
        """Funding transaction and output; empty when they are not told."""
        return f"{self.funding_txid}:{self.funding_outnum or 0}" if self.funding_txid else ""

    @property
    def capacity_sat(self) -> int:
        """All that is in it."""
        return _told_msat(self.total_msat) // 1000

    @property
    def commit_fee_sat(self) -> int:
        """Fee of the commitment transaction, which the opener pays."""
        return _msat(self.last_tx_fee_msat) // 1000

    @property
    def local_sat(self) -> int:
        """What LND would call its local balance: without what the opener sets aside for the commitment."""
        return _less(_told_msat(self.to_us_msat) // 1000, self._set_aside_sat if self.opener == "local" else 0)

    @property
    def remote_sat(self) -> int:
        """The same of the other end; negative when more than all is said to be this node's."""
        rest_sat = self.capacity_sat - -(-_told_msat(self.to_us_msat) // 1000)
        return _less(rest_sat, self._set_aside_sat if self.opener == "remote" else 0)

    @property
    def _set_aside_sat(self) -> int:
        """What the opener holds for the fee and the anchors of the commitment transaction."""
        return self.commit_fee_sat + (_ANCHORS_SAT if any("anchor" in one for one in self.features) else 0)


def is_peer_channels(entries: list[Any]) -> bool:
    """Whether a list of channels is that of ``listpeerchannels``."""
    first = decoded(entries[0]) if entries else None
    return isinstance(first, dict) and "peer_id" in first


def read_listchannels(document: Document) -> ForeignNetwork:
    """Read Core Lightning's ``listchannels``; the end with the smaller public key is taken for the initiator.

    Raises:
        TopologyError: It has no list of channels.
    """
    foreign = ForeignNetwork("Core Lightning's listchannels")
    known: dict[str, dict[str, _Direction]] = {}
    entries = entries_of(document, "channels", foreign.format)
    for direction in decode_entries(entries, _Direction, "channels", foreign.leave_out_malformed):
        known.setdefault(direction.short_channel_id, {})[direction.source] = direction
    for number, directions in known.items():
        one = next(iter(directions.values()))
        ends = (min(one.source, one.destination), max(one.source, one.destination))
        capacity_sat = max(
            _msat(direction.amount_msat) // 1000 or direction.satoshis or 0 for direction in directions.values()
        )
        foreign.add(
            ForeignChannel(
                ends=ends,
                capacity_sat=capacity_sat,
                policies=(_policy(directions.get(ends[0])), _policy(directions.get(ends[1]))),
                chan_id=channel_number(number),
            )
        )
    return foreign


def add_nodes(foreign: ForeignNetwork, document: Document) -> None:
    """Take over the aliases of Core Lightning's ``listnodes``.

    Args:
        foreign: The network, changed in place.
        document: The parsed JSON.

    Raises:
        TopologyError: It has no list of nodes.
    """
    for node in decode_entries(entries_of(document, "nodes", "listnodes"), _Node, "nodes", lambda _: None):
        if node.nodeid in foreign.aliases:
            foreign.aliases[node.nodeid] = node.alias or ""


def add_peer_channels(foreign: ForeignNetwork, document: Document) -> None:
    """Set balances and policies of one node's channels as its ``listpeerchannels`` tells them.

    Channels that were never announced are added.

    Args:
        foreign: The network, changed in place.
        document: The parsed JSON.

    Raises:
        TopologyError: It has no list of channels.
    """
    by_id = {channel.chan_id: channel for channel in foreign.channels if channel.chan_id}
    odd: list[str] = []
    missing: list[PeerChannel] = []
    own_key = ""
    entries = entries_of(document, "channels", "listpeerchannels")
    for own in decode_entries(entries, PeerChannel, "channels", odd.append):
        if not own.is_open or own.number is None:
            continue
        found = by_id.get(own.number)
        if found is None or own.peer_id not in found.ends:
            missing.append(own)
            continue
        own_key = found.ends[1 - found.ends.index(own.peer_id)]
        _take_over(found, own)
    unannounced = [own for own in missing if own.updates is not None and own_key and own.number not in by_id]
    for own in unannounced:
        ends = (min(own_key, own.peer_id), max(own_key, own.peer_id))
        channel = ForeignChannel(ends, own.capacity_sat, policies=(None, None), chan_id=own.number)
        _take_over(channel, own)
        foreign.add(channel)
    if count := len(missing) - len(unannounced) + len(odd):
        foreign.remarks.append(f"{count:,} channels of listpeerchannels that listchannels does not have")


def _take_over(channel: ForeignChannel, own: PeerChannel) -> None:
    """Set what one end knows of its channel."""
    remote = channel.ends.index(own.peer_id)
    amounts = {remote: 1000 * own.remote_sat, 1 - remote: 1000 * own.local_sat}
    channel.balances_msat = (amounts[0], amounts[1])
    if own.opener in ("local", "remote"):
        channel.initiator = remote if own.opener == "remote" else 1 - remote
    if own.feerate is not None:
        channel.fee_per_kw = min(max(own.feerate.perkw, MIN_FEE_PER_KW), MAX_FEE_PER_KW)
    updates, announced = own.updates or _Updates(), channel.policies or (None, None)
    told = {remote: updates.remote, 1 - remote: updates.local}
    policies = [_announced(told[end], announced[end], own.peer_connected) for end in (0, 1)]
    channel.policies = (policies[0], policies[1])


def _announced(update: _Update | None, known: Policy | None, is_connected: bool) -> Policy | None:
    """Return the policy of one end: the newest, disabled where the graph says so."""
    if update is None:
        return known
    return Policy(
        fee_base_msat=_msat(update.fee_base_msat),
        fee_rate_ppm=update.fee_proportional_millionths,
        time_lock_delta=update.cltv_expiry_delta,
        min_htlc_msat=_msat(update.htlc_minimum_msat),
        max_htlc_msat=_msat(update.htlc_maximum_msat) or None,
        disabled=known.disabled if known is not None else not is_connected,
    )


def _less(amount_sat: int, part_sat: int) -> int:
    """Return what is left of an amount; what is not enough for the part is left at 0, what is negative stays so."""
    return max(amount_sat - part_sat, min(amount_sat, 0))


def _policy(direction: _Direction | None) -> Policy | None:
    """Convert the policy of a direction."""
    if direction is None:
        return None
    return Policy(
        fee_base_msat=direction.base_fee_millisatoshi,
        fee_rate_ppm=direction.fee_per_millionth,
        time_lock_delta=direction.delay,
        min_htlc_msat=_msat(direction.htlc_minimum_msat),
        max_htlc_msat=_msat(direction.htlc_maximum_msat) or None,
        disabled=not direction.active,
    )


def _told_msat(amount: int | str | None) -> int:
    """Read an amount in msat that must be told; one that cannot be read is below 0."""
    digits = str(amount).removesuffix("msat")
    return _msat(amount) if digits.isdecimal() and len(digits) <= _LONGEST_AMOUNT else -1


def _msat(amount: int | str | None) -> int:
    """Read an amount in msat; one that cannot be read is 0."""
    digits = str(amount).removesuffix("msat")
    return int(digits) if digits.isdecimal() and len(digits) <= _LONGEST_AMOUNT else 0
