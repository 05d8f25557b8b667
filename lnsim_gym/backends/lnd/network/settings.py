"""Deadlines that bound everything done to a live network, and whether it gets a snapshot."""

from __future__ import annotations

import msgspec

from lnsim_gym.errors import ConfigError

__all__ = ["NetworkSettings"]


class NetworkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long anything done to a live network may take.

    Raises:
        ConfigError: A deadline is not positive.
    """

    bring_up_timeout_s: float = 120.0
    """Longest wait for any one step of bring-up or restore, and for a policy to reach every node, in seconds."""
    rpc_timeout_s: float = 10.0
    """Deadline of a single RPC, in seconds."""
    idle_timeout_s: float = 4.0
    """Silence of a payment after which every node is asked for a sign of life, in seconds."""
    probe_timeout_s: float = 4.0
    """Time every node has to give that sign of life, in seconds."""
    quiet_timeout_s: float = 10.0
    """Longest wait until no HTLC is pending and both ends of every channel agree, in seconds."""
    snapshot: bool = True
    """Take a snapshot at the end of bring-up, for exact and quick resets."""

    def __post_init__(self) -> None:
        """Check what the types cannot."""
        for field in ("bring_up", "rpc", "idle", "probe", "quiet"):
            value = getattr(self, f"{field}_timeout_s")
            if not value > 0:
                raise ConfigError(f"{field}_timeout_s must be positive, got {value:g}")
