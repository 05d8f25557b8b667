"""Public keys of nodes: those that are known, and made-up ones, as LND's formats tell nodes apart by them."""

from __future__ import annotations

import hashlib

from lnsim_gym.network.topology import Topology

__all__ = ["public_keys_of", "stand_in_public_key"]


def stand_in_public_key(name: str) -> str:
    """Return a made-up public key of a node, 33 bytes in hex: the same for a name everywhere, never a real key."""
    return f"02{hashlib.sha256(name.encode()).hexdigest()}"


def public_keys_of(topology: Topology) -> dict[str, str]:
    """Return the public key of each node by its name, in node order; stand-ins where the topology has none."""
    keys = topology.public_keys or map(stand_in_public_key, topology.nodes)
    return dict(zip(topology.nodes, keys, strict=True))
