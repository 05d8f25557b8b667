"""A Lightning network of real lnd nodes on one machine, behind the same interface as the simulator.

From top to bottom: ``named`` (networks that outlive a program) and ``passthrough`` (logs and lncli for people),
``backend`` with its ``settings``, ``network`` (what is done over lnds that are up), ``nodes`` (the daemons), ``rpc``
(speaking to one lnd). Each knows only those below it.
"""

from typing import TYPE_CHECKING

from lnsim_gym.lazy import imported_when_used

if TYPE_CHECKING:
    from lnsim_gym.backends.lnd.backend import LndBackend
    from lnsim_gym.backends.lnd.settings import LndSettings

__all__ = ["LndBackend", "LndSettings"]

# Looking at a network, or talking to one of its nodes, needs none of what playing on it does.
__getattr__ = imported_when_used(
    __name__,
    {"LndBackend": "lnsim_gym.backends.lnd.backend", "LndSettings": "lnsim_gym.backends.lnd.settings"},
)
