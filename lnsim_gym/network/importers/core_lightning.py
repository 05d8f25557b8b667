"""Core Lightning's ``listchannels``, and the aliases that its ``listnodes`` knows.

Every entry is one direction of a channel, announced by its ``source``. Units: capacities and HTLC sizes are in msat,
written as numbers or as text with ``msat`` at its end (old versions have ``satoshis`` besides);
``base_fee_millisatoshi`` is in msat, ``fee_per_millionth`` in ppm, ``delay`` in blocks.
"""

from __future__ import annotations

import msgspec

from lnsim_gym.network.importers.channels import ForeignChannel, ForeignNetwork, channel_number
from lnsim_gym.network.importers.documents import Document, decode_entries, entries_of
from lnsim_gym.network.policies import Policy

__all__ = ["add_nodes", "read_listchannels"]


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


def _msat(amount: int | str | None) -> int:
    """Read an amount in msat; one that cannot be read is 0."""
    digits = str(amount).removesuffix("msat")
    return int(digits) if digits.isdecimal() else 0
