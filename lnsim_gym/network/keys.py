"""Public keys for nodes that have none: simulated nodes need something to be distinguished by in LND's formats."""

from __future__ import annotations

import hashlib

__all__ = ["stand_in_public_key"]


def stand_in_public_key(name: str) -> str:
    """Return a made-up public key of a node, 33 bytes in hex: the same for a name everywhere, never a real key."""
    return f"02{hashlib.sha256(name.encode()).hexdigest()}"
