"""sim-ln's ``sim_network``: the simulated network of a sim-ln configuration, as JSON.

Units: every amount is in msat, the capacity and ``base_fee`` too; ``fee_rate_prop`` is in ppm. Both ends start with
half the capacity, as in sim-ln. Limits on the number and the sum of HTLCs in flight are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.importers.channels import ForeignChannel, build_topology, unique_names
from lnsim_gym.network.policies import Policy
from lnsim_gym.network.topology import Topology
from lnsim_gym.schema import convert

__all__ = ["from_simln"]


class _End(msgspec.Struct):
    """One end of a channel, as far as it is used."""

    pubkey: str
    min_htlc_size_msat: int
    max_htlc_size_msat: int
    cltv_expiry_delta: int
    base_fee: int
    fee_rate_prop: int
    alias: str = ""


class _Channel(msgspec.Struct):
    """A channel of ``sim_network``."""

    capacity_msat: int
    node_1: _End
    node_2: _End


def from_simln(data: Mapping[str, Any], what: str = "the sim-ln network") -> Topology:
    """Build a topology from a sim-ln configuration with a ``sim_network``.

    Nodes are named by their aliases where these are given and unique, else by their public keys; ``node_1`` is taken
    for the initiator.

    Args:
        data: The parsed JSON.
        what: How to call it in the warning.

    Raises:
        TopologyError: A field is missing or of the wrong type, or no channel is usable.
    """
    entries = data.get("sim_network")
    if not isinstance(entries, list):
        raise TopologyError(f"a sim-ln network needs a list under 'sim_network', got {type(entries).__name__}")
    channels = [convert(entry, _Channel, f"sim_network[{index}]", TopologyError) for index, entry in enumerate(entries)]
    aliases: dict[str, str] = {}
    for channel in channels:
        for end in (channel.node_1, channel.node_2):
            aliases[end.pubkey] = aliases.get(end.pubkey) or end.alias
    foreign = [
        ForeignChannel(
            ends=(channel.node_1.pubkey, channel.node_2.pubkey),
            capacity_sat=channel.capacity_msat // 1000,
            policies=(_policy(channel.node_1), _policy(channel.node_2)),
            balances_msat=(channel.capacity_msat // 2, channel.capacity_msat // 2),
        )
        for channel in channels
    ]
    return build_topology(unique_names(aliases), foreign, what)


def _policy(end: _End) -> Policy:
    """Convert the policy of one end."""
    return Policy(
        fee_base_msat=end.base_fee,
        fee_rate_ppm=end.fee_rate_prop,
        time_lock_delta=end.cltv_expiry_delta,
        min_htlc_msat=end.min_htlc_size_msat,
        max_htlc_msat=end.max_htlc_size_msat,
    )
