"""The launcher that launches nothing: lnds that others run, named in a TOML file.

The file has one table per node, in any order::

    [[nodes]]
    name = "alice"                    # as in the topology
    host = "127.0.0.1"
    port = 10009                      # gRPC
    tls_cert = "alice/tls.cert"       # paths relative to the file
    macaroon = "alice/admin.macaroon"

Such nodes are never stopped, wiped, snapshotted or mined for.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final, NoReturn, Self

import msgspec

from lnsim_gym.backends.lnd.nodes.launchers.base import Launcher
from lnsim_gym.backends.lnd.nodes.record import NetworkRecord
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.errors import BackendError, ConfigError, did_you_mean
from lnsim_gym.network import Topology
from lnsim_gym.paths import expanded
from lnsim_gym.schema import convert, read_toml

__all__ = ["AttachLauncher", "AttachedNode", "read_attach_file"]

_PROBE_S: Final = 2.0


class AttachedNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One lnd that others run."""

    name: str
    """Name in the topology."""
    host: str
    """Host of the gRPC listener; the TLS certificate must be valid for it."""
    port: int
    """Port of the gRPC listener."""
    tls_cert: str
    """PEM file with the TLS certificate, relative to the TOML file."""
    macaroon: str
    """Binary file with the admin macaroon, relative to the TOML file."""


class _AttachFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nodes: tuple[AttachedNode, ...]


class AttachLauncher(Launcher):
    """Nodes that others run, as a TOML file describes them.

    Args:
        name: What to call the network.
        file: The TOML file.

    Raises:
        ConfigError: The file is missing or malformed, or a certificate or macaroon it names is missing.
    """

    kind: ClassVar[str] = "attach"
    managed: ClassVar[bool] = False

    def __init__(self, name: str, file: str | Path) -> None:
        self.name = name
        self._file = expanded(file).absolute()
        self._known = read_attach_file(self._file)
        self._record: NetworkRecord | None = None

    @classmethod
    def connect(cls, record: NetworkRecord) -> Self:
        """Take hold of the nodes that a record of this launcher names."""
        launcher = cls(record.name, record.details["file"])
        launcher._record = record
        return launcher

    def start_chain(self, topology: Topology) -> None:
        """Match the file against the topology; nothing is started.

        Raises:
            ConfigError: The file lacks a node of the topology.
        """
        for name in topology.nodes:
            if name not in self._known:
                raise ConfigError(
                    f"expected {self._file} to describe every node of the topology, it lacks {name!r}."
                    f"{did_you_mean(name, self._known)} Add a [[nodes]] table of that name"
                )
        self._record = NetworkRecord(
            name=self.name,
            launcher=self.kind,
            folder=str(self._file.parent),
            topology=topology.to_dict(),
            nodes=tuple(self._known[name] for name in topology.nodes),
            details={"file": str(self._file)},
        )

    def start_nodes(self) -> None:
        """Do nothing: the nodes run already."""

    def record(self) -> NetworkRecord:
        """Describe the nodes; there is no chain endpoint."""
        if self._record is None:
            raise BackendError(f"expected {self.name!r} to be matched with a topology: call start_chain first")
        return self._record

    def alive(self) -> dict[str, bool]:
        """Say of each node whether its gRPC port accepts connections; the chain behind it is not known."""
        return {name: _accepts(endpoint) for name, endpoint in self.endpoints.items()} if self._record else {}

    def log_tail(self, node: str, lines: int = 20) -> str:
        """Return an empty string: the logs are not ours."""
        del node, lines
        return ""

    def snapshot(self) -> None:
        """Refuse."""
        self._refuse("take a snapshot of")

    def has_snapshot(self) -> bool:
        """Return False: there never is one."""
        return False

    def restore(self) -> None:
        """Refuse."""
        self._refuse("restore")

    def stop(self, *, keep: bool = False) -> None:
        """Forget the nodes; they run on, whatever ``keep`` says."""
        del keep
        self._record = None

    def detach(self) -> None:
        """Forget the nodes."""
        self._record = None

    def _refuse(self, what: str) -> NoReturn:
        raise BackendError(
            f"expected nodes of our own to {what}, these are run by others: "
            "use the docker or process launcher for what payments cannot reach"
        )


def read_attach_file(file: Path) -> dict[str, NodeEndpoint]:
    """Read the TOML file into endpoints by node name."""
    data = read_toml(file, f"expected a TOML file of nodes at {file}, got")
    nodes = convert(data, _AttachFile, f"the file {file}").nodes
    endpoints = {node.name: _endpoint(node, file) for node in nodes}
    if len(endpoints) != len(nodes):
        raise ConfigError(f"expected every name once in {file}, got {', '.join(node.name for node in nodes)}")
    return endpoints


def _endpoint(node: AttachedNode, file: Path) -> NodeEndpoint:
    """Return a node's endpoint, its files checked."""
    paths = {key: file.parent / expanded(getattr(node, key)) for key in ("tls_cert", "macaroon")}
    for key, path in paths.items():
        if not os.path.isfile(path):
            raise ConfigError(f"expected the file that {key} of {node.name!r} names in {file}, found no {path}")
    return NodeEndpoint(
        name=node.name,
        host=node.host,
        port=node.port,
        tls_cert_path=str(paths["tls_cert"]),
        macaroon_path=str(paths["macaroon"]),
        peer_address="",
    )


def _accepts(endpoint: NodeEndpoint) -> bool:
    """Whether something accepts connections at an endpoint."""
    with suppress(OSError), socket.create_connection((endpoint.host, endpoint.port), timeout=_PROBE_S):
        return True
    return False
