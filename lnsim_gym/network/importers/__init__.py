"""Reading networks that other programs wrote: LND's ``describegraph``, CLoTH's CSV files, sim-ln's ``sim_network``.

Each module knows one format and its units; ``channels`` turns what they read into a ``Topology``.
"""

from lnsim_gym.network.importers.cloth import read_cloth
from lnsim_gym.network.importers.describegraph import from_describegraph, to_describegraph
from lnsim_gym.network.importers.simln import from_simln

__all__ = ["from_describegraph", "from_simln", "read_cloth", "to_describegraph"]
