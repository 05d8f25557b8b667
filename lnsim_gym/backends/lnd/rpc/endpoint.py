"""Where one lnd is reached, and with what credentials: all that a client needs to know of it."""

from __future__ import annotations

import msgspec

__all__ = ["NodeEndpoint"]


class NodeEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where one lnd is reached, and with what."""

    name: str
    """Node name in the topology."""
    host: str
    """Host of the gRPC listener as this machine reaches it."""
    port: int
    """Port of the gRPC listener."""
    tls_cert_path: str
    """PEM file with the node's TLS certificate."""
    macaroon_path: str
    """Binary file with the node's admin macaroon."""
    peer_address: str
    """``host:port`` of the Lightning listener as the other nodes reach it."""
    pubkey: str = ""
    """Identity public key in hex; empty until the node has answered once."""
