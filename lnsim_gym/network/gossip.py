"""How a changed policy reaches those who pay: LND's gossip, as numbers (discovery/gossiper.go)."""

from __future__ import annotations

import msgspec

from lnsim_gym.errors import ConfigError

__all__ = ["GossipOptions"]


class GossipOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What delays the announcement of a changed policy, and what receivers refuse to pass on; by default LND's."""

    trickle_seconds: int = 90
    """Every node passes on what it has heard of at ticks this far apart (``--trickledelay``)."""
    sub_batch_seconds: int = 5
    """What the announcing node's tick takes until the announcement is out (``--gossip.sub-batch-delay``)."""
    max_update_burst: int = 10
    """Changes of one channel direction that receivers take in a row (``--gossip.max-channel-update-burst``)."""
    update_interval_seconds: int = 60
    """Time after which they take one more (``--gossip.channel-update-interval``). Core Lightning's: 86,400, burst 4."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range, which would reach compiled code otherwise."""
        for name, low, high in (
            ("trickle_seconds", 1, 86_400),
            ("sub_batch_seconds", 0, 86_400),
            ("max_update_burst", 1, 1_000_000),
            ("update_interval_seconds", 1, 30 * 86_400),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"gossip.{name} must lie in {low:,}..{high:,}, got {getattr(self, name):,}")
