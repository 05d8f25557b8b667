"""Deadlines that bound everything done to a live network, and whether it gets a snapshot."""

from __future__ import annotations

from typing import Annotated

import msgspec

from lnsim_gym.fields import Range, check_ranges, described

__all__ = ["NetworkSettings"]


@described
class NetworkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long anything done to a live network may take.

    Raises:
        ConfigError: A deadline is not positive.
    """

    bring_up_timeout_s: Annotated[float, Range(0, above=True)] = 120.0
    """Longest wait for any one step of bring-up or restore, and for a policy to reach every node, in seconds."""
    rpc_timeout_s: Annotated[float, Range(0, above=True)] = 10.0
    """Deadline of a single RPC, in seconds."""
    idle_timeout_s: Annotated[float, Range(0, above=True)] = 4.0
    """Silence of a payment after which every node is asked for a sign of life, in seconds."""
    probe_timeout_s: Annotated[float, Range(0, above=True)] = 4.0
    """Time every node has to give that sign of life, in seconds."""
    quiet_timeout_s: Annotated[float, Range(0, above=True)] = 10.0
    """Longest wait until no HTLC is pending and both ends of every channel agree, in seconds."""
    side_by_side: bool = True
    """Whether payments one by one may overlap where, by the simulator's forecast, they cannot meet: all end alike."""
    snapshot: bool = True
    """Take a snapshot at the end of bring-up, for exact and quick resets."""

    def __post_init__(self) -> None:
        """Check what the types cannot."""
        check_ranges(self)
