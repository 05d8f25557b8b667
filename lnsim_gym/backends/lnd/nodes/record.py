"""The record of a running network: what ``network.json`` says of it to this and to other programs."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint

__all__ = ["CHAIN", "ChainEndpoint", "NetworkRecord"]

CHAIN: Final = "btcd"
"""Name of the chain backend wherever nodes are named: logs, liveness, errors."""


class ChainEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where btcd's JSON-RPC (HTTPS, basic authentication) is reached."""

    host: str
    port: int
    cert_path: str
    """PEM file with btcd's RPC certificate, valid for ``host``."""
    user: str
    password: str


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A running network, as written to ``network.json`` (owner-only) in its folder."""

    name: str
    launcher: str
    """``"process"``, ``"docker"`` or ``"attach"``."""
    folder: str
    """Private folder with everything that belongs to the network."""
    topology: dict[str, Any]
    """``Topology.to_dict()``."""
    nodes: tuple[NodeEndpoint, ...]
    """In the order of ``topology.nodes``."""
    chain: ChainEndpoint | None = None
    owner_pid: int = 0
    """Process that dies together with the network; 0 for a network that outlives its maker."""
    owner_started: float = 0.0
    """Creation time of that process, so that a reused pid is not mistaken for it."""
    lnd_flags: tuple[str, ...] = ()
    """Flags of every lnd besides ``flags.LND_FLAGS``."""
    details: dict[str, Any] = {}
    """What the launcher itself needs to find its daemons again."""
