"""sim-ln's ``sim_network``: the simulated network of a sim-ln configuration, as JSON.

Units: every amount is in msat, the capacity and ``base_fee`` too; ``fee_rate_prop`` is in ppm. Both ends start with
half the capacity, as in sim-ln.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from lnsim_gym.network.importers.channels import ForeignChannel, ForeignNetwork, channel_number
from lnsim_gym.network.importers.documents import Document, decode_entries, decoded, entries_of
from lnsim_gym.network.policies import Policy

__all__ = ["read_simln"]


class _End(msgspec.Struct):
    """One end of a channel, as far as it is used."""

    pubkey: str
    min_htlc_size_msat: int
    max_htlc_size_msat: int
    cltv_expiry_delta: int
    base_fee: int
    fee_rate_prop: int
    alias: str | None = ""


class _Channel(msgspec.Struct):
    """A channel of ``sim_network``."""

    capacity_msat: int
    node_1: _End
    node_2: _End
    scid: str | int = ""


_PLAYED: Final = {"sim_network", *_Channel.__struct_fields__, *_End.__struct_fields__}


def read_simln(document: Document) -> ForeignNetwork:
    """Read a sim-ln configuration with a ``sim_network``; ``node_1`` is taken for the initiator.

    Raises:
        TopologyError: It has no list of channels.
    """
    foreign = ForeignNetwork("sim-ln's sim_network")
    entries = entries_of(document, "sim_network", "a sim-ln network")
    for channel in decode_entries(entries, _Channel, "sim_network", foreign.leave_out_malformed):
        for end in (channel.node_1, channel.node_2):
            foreign.aliases[end.pubkey] = foreign.aliases.get(end.pubkey) or end.alias or ""
        foreign.add(
            ForeignChannel(
                ends=(channel.node_1.pubkey, channel.node_2.pubkey),
                capacity_sat=channel.capacity_msat // 1000,
                policies=(_policy(channel.node_1), _policy(channel.node_2)),
                balances_msat=(channel.capacity_msat // 2, channel.capacity_msat // 2),
                chan_id=channel_number(channel.scid),
            )
        )
    if others := sorted(_keys([dict(document), *map(decoded, entries)]) - _PLAYED):
        foreign.remarks.append(f"not played: {', '.join(others[:12])}")
    return foreign


def _keys(tables: Iterable[Any]) -> set[str]:
    """Return the keys of tables and of the ends of channels inside them."""
    found: set[str] = set()
    for table in tables:
        if isinstance(table, dict):
            found.update(table)
            found |= _keys(table[end] for end in ("node_1", "node_2") if end in table)
    return found


def _policy(end: _End) -> Policy:
    """Convert the policy of one end."""
    return Policy(
        fee_base_msat=end.base_fee,
        fee_rate_ppm=end.fee_rate_prop,
        time_lock_delta=end.cltv_expiry_delta,
        min_htlc_msat=end.min_htlc_size_msat,
        max_htlc_msat=end.max_htlc_size_msat,
    )
