"""Named topologies that ship with the package."""

from __future__ import annotations

from lnsim_gym.errors import TopologyError, did_you_mean
from lnsim_gym.network.topology import Channel, Topology

__all__ = ["PRESETS", "preset"]


def _five_nodes() -> Topology:
    """Five nodes in a ring with two chords, 1,000,000 sat each, every channel funded by one side."""
    pairs = ("alice bob", "bob carol", "carol dave", "dave eve", "eve alice", "alice carol", "bob eve")
    return Topology(
        nodes=("alice", "bob", "carol", "dave", "eve"),
        channels=tuple(
            Channel(initiator=initiator, peer=peer, capacity_sat=1_000_000)
            for initiator, peer in (pair.split() for pair in pairs)
        ),
    )


PRESETS = {"default": _five_nodes}
"""Functions that build each preset, by name."""


def preset(name: str) -> Topology:
    """Return the preset of that name.

    Raises:
        TopologyError: There is no such preset.
    """
    if name not in PRESETS:
        raise TopologyError(
            f"unknown topology preset {name!r}.{did_you_mean(name, PRESETS)} Known: {', '.join(sorted(PRESETS))}"
        )
    return PRESETS[name]()
