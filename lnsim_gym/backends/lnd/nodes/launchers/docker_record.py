"""What a new Docker network is called and where it is reached: its project, ports, files and record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from lnsim_gym.backends.lnd.nodes import compose, folders
from lnsim_gym.backends.lnd.nodes.images import Images
from lnsim_gym.backends.lnd.nodes.launchers.containers import owner_label
from lnsim_gym.backends.lnd.nodes.launchers.daemons import free_ports
from lnsim_gym.backends.lnd.nodes.posix import user_id
from lnsim_gym.backends.lnd.nodes.record import ChainEndpoint, NetworkRecord
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.network import Topology

__all__ = ["project_of", "write_new"]

_LOOPBACK: Final = "127.0.0.1"


def project_of(name: str) -> str:
    """Return the name of a network's compose project, which no other user of the daemon has."""
    return f"lnsim-{user_id()}-{re.sub('[^a-z0-9_-]', '-', name.lower())}"


def write_new(
    name: str,
    folder: Path,
    topology: Topology,
    images: Images,
    owner: psutil.Process | None,
    *,
    known_names: bool,
    lnd_flags: tuple[str, ...] = (),
) -> NetworkRecord:
    """Write the files of a new network, its record included.

    Args:
        name: Name of the network.
        folder: Its private folder, which exists.
        topology: The nodes to run.
        images: The images to run them from.
        owner: The process that the network is to die with; None for a network that outlives its maker.
        known_names: Use the well-known container names and ports.
        lnd_flags: Flags of every lnd besides ``LND_FLAGS``.
    """
    pid, started = (owner.pid, owner.create_time()) if owner else (0, 0.0)
    variables = {
        "LNSIM_SECRETS": "./secrets",
        "LNSIM_LND_IMAGE": images.lnd,
        "LNSIM_BTCD_IMAGE": images.btcd,
        "LNSIM_NETWORK": project_of(name),
        "LNSIM_OWNER": owner_label(pid, started),
        **({} if known_names else _own_names(name, topology)),
    }
    compose.write_network(folder, topology, variables, lnd_flags)
    record = NetworkRecord(
        name=name,
        launcher="docker",
        folder=str(folder),
        topology=topology.to_dict(),
        nodes=_node_endpoints(folder, topology, variables),
        chain=_chain_endpoint(folder, variables),
        owner_pid=pid,
        owner_started=started,
        lnd_flags=lnd_flags,
        details={"project": project_of(name), "variables": variables},
    )
    folders.write_record(record)
    return record


def _own_names(name: str, topology: Topology) -> dict[str, str]:
    """Return the variables for container names and ports that no other network has."""
    chain_port, *ports = free_ports(1 + 2 * len(topology.nodes))
    numbered = {
        f"LNSIM_{kind}_PORT_{service.number}": str(ports.pop())
        for service in compose.services(topology)
        for kind in ("GRPC", "REST")
    }
    return {"LNSIM_PREFIX": f"{name}-", "LNSIM_RPC_PORT": str(chain_port), **numbered}


def _node_endpoints(folder: Path, topology: Topology, variables: Mapping[str, str]) -> tuple[NodeEndpoint, ...]:
    """Return where this machine and the other containers reach each node."""
    return tuple(
        NodeEndpoint(
            name=service.node,
            host=_LOOPBACK,
            port=int(variables.get(f"LNSIM_GRPC_PORT_{service.number}", compose.known_grpc_port(service))),
            tls_cert_path=str(folder / f"node-{service.number - 1}" / "tls.cert"),
            macaroon_path=str(folder / f"node-{service.number - 1}" / "admin.macaroon"),
            peer_address=f"{service.name}:{compose.PEER_PORT}",
        )
        for service in compose.services(topology)
    )


def _chain_endpoint(folder: Path, variables: Mapping[str, str]) -> ChainEndpoint:
    """Return where this machine reaches btcd."""
    user, password = compose.read_credentials(folder)
    return ChainEndpoint(
        host=_LOOPBACK,
        port=int(variables.get("LNSIM_RPC_PORT", compose.CHAIN_RPC_PORT)),
        cert_path=str(folder / "rpc.cert"),
        user=user,
        password=password,
    )
