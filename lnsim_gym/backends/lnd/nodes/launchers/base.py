"""What every launcher of a live network offers: daemons started, reached, looked after, stopped, and nothing more.

A launcher knows processes, containers or files, not channels: coins, peers, channels and policies are the work of
``network.bringup``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from lnsim_gym.backends.lnd.nodes.record import ChainEndpoint, NetworkRecord
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.errors import BackendError

if TYPE_CHECKING:  # lncli and logs need no numpy
    from lnsim_gym.network import Topology

__all__ = ["Launcher"]


class Launcher(ABC):
    """Starts, reaches and stops the daemons of one network: one btcd and one lnd per node of a topology.

    Implementations make the chain backend pay block rewards to ``flags.MINING_ADDRESS`` and start every lnd with
    ``flags.LND_FLAGS``. All waits have deadlines; a failure is a ``BringUpError`` with the log's last lines.
    """

    kind: ClassVar[str]
    """Value of the ``launcher`` setting that names this class."""
    managed: ClassVar[bool] = True
    """Whether the daemons are ours to stop, wipe, snapshot and mine with; False for ``attach``."""

    name: str
    """Name of the network, unique on this machine."""

    @classmethod
    @abstractmethod
    def connect(cls, record: NetworkRecord) -> Self:
        """Take hold of a network that runs already (left by ``detach``)."""

    @abstractmethod
    def start_chain(self, topology: Topology) -> None:
        """Make the private folder, sweep what dead owners left behind, start btcd, wait until its RPC answers."""

    @abstractmethod
    def start_nodes(self) -> None:
        """Start every lnd of the topology given to ``start_chain``; do not wait for their RPC. Needs a fresh tip."""

    @abstractmethod
    def record(self) -> NetworkRecord:
        """Describe the running network; public keys are empty."""

    @abstractmethod
    def alive(self) -> dict[str, bool]:
        """Say of each node and of ``CHAIN`` whether its process or container exists and is not stopped or frozen."""

    @abstractmethod
    def log_tail(self, node: str, lines: int = 20) -> str:
        """Return the last lines of the log of a node or of ``CHAIN``; an empty string when there is none."""

    @abstractmethod
    def snapshot(self) -> None:
        """Copy the state folders of all lnds at one moment (all frozen), and resume them."""

    @abstractmethod
    def has_snapshot(self) -> bool:
        """Whether ``restore`` has something to restore."""

    @abstractmethod
    def restore(self) -> None:
        """Kill every lnd, dead or hung ones included, put the snapshot back, start them; does not touch btcd."""

    @abstractmethod
    def stop(self, *, keep: bool = False) -> None:
        """Stop the lnds, then btcd, hung ones included; harmless when done already.

        Args:
            keep: Leave the state, so that ``connect``, ``start_chain`` and ``start_nodes`` go on from it; otherwise
                everything that was made is deleted.
        """

    @abstractmethod
    def detach(self) -> None:
        """Forget the network without stopping it."""

    @property
    def endpoints(self) -> dict[str, NodeEndpoint]:
        """Endpoint of each node by name, in the order of the topology."""
        return {endpoint.name: endpoint for endpoint in self.record().nodes}

    @property
    def folder(self) -> Path:
        """Private folder of the network."""
        return Path(self.record().folder)

    @property
    def _snapshot_folder(self) -> Path:
        """Folder of the snapshot of a network that is managed."""
        return self.folder / "snapshot"

    @property
    def _chain(self) -> ChainEndpoint:
        """Endpoint of the chain backend of a network that is managed.

        Raises:
            BackendError: The record has none.
        """
        chain = self.record().chain
        if chain is None:
            raise BackendError(
                f"expected a chain endpoint in the record of {self.name!r}, found none: rebuild the network"
            )
        return chain
