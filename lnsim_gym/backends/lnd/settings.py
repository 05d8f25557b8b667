"""Settings of the live backend: who runs the nodes, where, and the deadlines of ``network.settings``."""

from __future__ import annotations

from lnsim_gym.backends.lnd.network.settings import NetworkSettings
from lnsim_gym.backends.lnd.nodes.launchers.choose import LauncherName
from lnsim_gym.errors import ConfigError
from lnsim_gym.fields import described

__all__ = ["LndSettings"]


@described
class LndSettings(NetworkSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the live network is started and how long anything may take.

    Raises:
        ConfigError: A deadline is not positive, or settings exclude each other.
    """

    launcher: LauncherName = "auto"
    """Who runs the daemons; ``auto`` takes Docker when its daemon answers, else processes."""
    network: str | None = None
    """Name of a network that ``lnsim up`` started, to join instead of starting one; it outlives the environment."""
    state_folder: str | None = None
    """Folder for the files of networks; by default tmpfs when there is room, else the temporary folder."""
    attach_file: str | None = None
    """TOML file that describes nodes which others run, for ``launcher = "attach"``."""

    def __post_init__(self) -> None:
        """Check what the types cannot."""
        NetworkSettings.__post_init__(self)
        if self.launcher == "attach" and self.attach_file is None:
            raise ConfigError('launcher "attach" needs attach_file: a TOML file with host, port and credentials')
        if self.launcher != "attach" and self.attach_file is not None:
            raise ConfigError(f'attach_file is for launcher "attach", got launcher {self.launcher!r}')
