"""Settings of the live backend, and the deadlines that bound everything it does."""

from __future__ import annotations

import msgspec

from lnsim_gym.backends.lnd.nodes.launchers import LauncherKind
from lnsim_gym.errors import ConfigError

__all__ = ["LndSettings"]


class LndSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the live network is started and how long anything may take.

    Raises:
        ConfigError: A deadline is not positive, or settings exclude each other.
    """

    launcher: LauncherKind = "auto"
    """Who runs the daemons; ``auto`` takes Docker when its daemon answers, else processes."""
    network: str | None = None
    """Name of a network that ``lnsim up`` started, to join instead of starting one; it outlives the environment."""
    state_folder: str | None = None
    """Folder for the files of networks; by default tmpfs when there is room, else the temporary folder."""
    attach_file: str | None = None
    """TOML file that describes nodes somebody else runs, for ``launcher = "attach"``."""
    bring_up_timeout_s: float = 120.0
    """Longest wait for any one step of bring-up or restore, in seconds."""
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
        if self.launcher == "attach" and self.attach_file is None:
            raise ConfigError('launcher "attach" needs attach_file: a TOML file with host, port and credentials')
        if self.launcher != "attach" and self.attach_file is not None:
            raise ConfigError(f'attach_file is for launcher "attach", got launcher {self.launcher!r}')
