"""The Docker network as files: a compose file for any topology, and the credentials and settings it mounts.

One compose file serves the official images and the one of ``lnsim nodes image``, ``docker compose`` and
``docker-compose``, a network started by hand and one started by the Docker launcher: what differs between them is
in variables, which a ``.env`` file beside it sets. Nothing here talks to Docker.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from lnsim_gym.backends.lnd.nodes.flags import BTCD_FLAGS, LND_FLAGS, WUMBO_FLAG, alias
from lnsim_gym.backends.lnd.nodes.programs import lnd_version
from lnsim_gym.backends.lnd.nodes.record import CHAIN
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.paths import private_dir, write_private

__all__ = [
    "CHAIN_RPC_PORT",
    "COMPOSE_FILE",
    "GRPC_PORT",
    "LABEL",
    "LND_FOLDER",
    "OFFICIAL_BTCD_IMAGE",
    "PEER_PORT",
    "RPC_CERT",
    "Service",
    "compose_text",
    "known_grpc_port",
    "official_lnd_image",
    "read_credentials",
    "services",
    "write_network",
]

LABEL: Final = "io.lnsim"
"""Prefix of the labels on everything that is ours: ``.network``, ``.owner``, ``.node``."""
COMPOSE_FILE: Final = "docker-compose.yml"
OFFICIAL_BTCD_IMAGE: Final = "btcsuite/btcd:v0.25.0"
GRPC_PORT: Final = 10009
REST_PORT: Final = 8080
PEER_PORT: Final = 9735
CHAIN_RPC_PORT: Final = 18334
LND_FOLDER: Final = "/root/.lnd"
"""State folder of every lnd inside its container."""
RPC_CERT: Final = "/rpc/rpc.cert"
"""btcd's RPC certificate inside every container."""
_FIRST_GRPC_PORT: Final = 10001
_FIRST_REST_PORT: Final = 8001

_HEAD: Final = """\
# Written by `lnsim compose`. Works with `docker compose` and with `docker-compose`.
# The folder LNSIM_SECRETS holds btcd/btcd.conf and lnd/lnd.conf with the credentials of btcd's RPC;
# `lnsim compose TOPOLOGY --output FOLDER` writes them, this file, and a .env file that names them.
services:
"""

_CHAIN: Final = """\
  btcd:
    image: "${{LNSIM_BTCD_IMAGE:-{image}}}"
    container_name: "${{LNSIM_PREFIX:-}}btcd"
    hostname: btcd
    entrypoint: ["btcd"]
    command:
{command}
    environment:
      HOME: /root
    volumes:
      - btcd-data:/root/.btcd
      - btcd-rpc:/rpc
      - "${{LNSIM_SECRETS:?lnsim compose writes this folder}}/btcd:/etc/btcd:ro"
    ports:
      - "127.0.0.1:${{LNSIM_RPC_PORT:-{port}}}:{port}"
{labels}
"""

_NODE: Final = """\
  {service}:
    image: "${{LNSIM_LND_IMAGE:-{image}}}"
    container_name: "${{LNSIM_PREFIX:-}}{service}"
    hostname: {service}
    depends_on: [btcd]
    entrypoint: ["lnd"]
    command:
{command}
    environment:
      HOME: /root
    volumes:
      - {service}-data:{folder}
      - btcd-rpc:/rpc:ro
      - "${{LNSIM_SECRETS:?lnsim compose writes this folder}}/lnd:/etc/lnd:ro"
    ports:
      - "127.0.0.1:${{LNSIM_GRPC_PORT_{number}:-{grpc}}}:{grpc_inside}"
      - "127.0.0.1:${{LNSIM_REST_PORT_{number}:-{rest}}}:{rest_inside}"
{labels}
"""


class Service(NamedTuple):
    """How one node of a topology appears in the compose file."""

    node: str
    """Name in the topology."""
    name: str
    """Service, host and (without prefix) container name, such as ``lnd-alice``."""
    number: int
    """Place in the topology, from 1; part of the variables for its ports."""


def services(topology: Topology) -> tuple[Service, ...]:
    """Return the lnd services of a topology in the order of its nodes.

    Names that Docker would refuse are replaced by ``node-NUMBER``.
    """
    plain = {name for name in topology.nodes if re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,40}", name)}
    return tuple(
        Service(name, f"lnd-{name}" if name in plain else _free_name(number, plain), number)
        for number, name in enumerate(topology.nodes, start=1)
    )


def _free_name(number: int, taken: set[str]) -> str:
    """Return a service name for a node whose own name Docker would refuse."""
    name = f"node-{number}"
    while name in taken:
        name += "-"
    return f"lnd-{name}"


def official_lnd_image() -> str:
    """Return the name of lnd's official image in the version that the Go module pins."""
    return f"lightninglabs/lnd:v{lnd_version()}"


def compose_text(topology: Topology, lnd_flags: tuple[str, ...] = ()) -> str:
    """Return the compose file of a topology: one btcd, and one lnd per node.

    Args:
        topology: The nodes.
        lnd_flags: Flags of every lnd besides ``LND_FLAGS``.
    """
    every = services(topology)
    flags = (WUMBO_FLAG, *lnd_flags) if topology.wumbo else lnd_flags
    volumes = ["btcd-data", "btcd-rpc", *(f"{service.name}-data" for service in every)]
    return "".join(
        (
            _HEAD,
            _chain_text(),
            *(_node_text(service, flags) for service in every),
            "networks:\n  default:\n" + _labels(None) + "\n",
            "volumes:\n" + "".join(f"  {volume}:\n{_labels(None)}\n" for volume in volumes),
        )
    )


def _chain_text() -> str:
    """Return btcd's part of the compose file."""
    command = (
        *BTCD_FLAGS,
        "--configfile=/etc/btcd/btcd.conf",
        "--datadir=/root/.btcd/data",
        "--logdir=/root/.btcd/logs",
        f"--rpclisten=0.0.0.0:{CHAIN_RPC_PORT}",
        f"--rpccert={RPC_CERT}",
        "--rpckey=/root/.btcd/rpc.key",
        "--nolisten",
    )
    return _CHAIN.format(
        image=OFFICIAL_BTCD_IMAGE, command=_items(command), port=CHAIN_RPC_PORT, labels=_labels(CHAIN, depth=4)
    )


def _node_text(service: Service, flags: tuple[str, ...]) -> str:
    """Return one lnd's part of the compose file."""
    command = (
        *(flag for flag in LND_FLAGS if flag != "--norest"),
        *flags,
        "--configfile=/etc/lnd/lnd.conf",
        f"--lnddir={LND_FOLDER}",
        f"--alias={alias(service.node)}",
        f"--listen=0.0.0.0:{PEER_PORT}",
        f"--rpclisten=0.0.0.0:{GRPC_PORT}",
        f"--restlisten=0.0.0.0:{REST_PORT}",
        f"--tlsextradomain={service.name}",
        f"--btcd.rpchost={CHAIN}:{CHAIN_RPC_PORT}",
        f"--btcd.rpccert={RPC_CERT}",
    )
    return _NODE.format(
        service=service.name,
        image=official_lnd_image(),
        command=_items(command),
        folder=LND_FOLDER,
        number=service.number,
        grpc=known_grpc_port(service),
        grpc_inside=GRPC_PORT,
        rest=_FIRST_REST_PORT + service.number - 1,
        rest_inside=REST_PORT,
        labels=_labels(service.node, depth=4),
    )


def _items(values: tuple[str, ...]) -> str:
    """Return a YAML list of strings, safe from compose's own ``$`` substitution."""
    return "\n".join(f"      - {_quoted(value)}" for value in values)


def _quoted(text: str) -> str:
    """Quote a string for YAML, whose double-quoted form is JSON's."""
    return json.dumps(text).replace("$", "$$")


def _labels(node: str | None, depth: int = 4) -> str:
    """Return the labels that mark something as ours, as YAML indented by ``depth`` spaces."""
    lines = [
        "labels:",
        f'  {LABEL}.network: "${{LNSIM_NETWORK:-by-hand}}"',
        f'  {LABEL}.owner: "${{LNSIM_OWNER:-}}"',
        *([f"  {LABEL}.node: {_quoted(node)}"] if node is not None else []),
    ]
    return "\n".join(" " * depth + line for line in lines)


def write_network(
    folder: Path,
    topology: Topology,
    variables: Mapping[str, str] | None = None,
    lnd_flags: tuple[str, ...] = (),
) -> None:
    """Write the compose file, fresh random credentials, and the ``.env`` file that names them.

    Args:
        folder: Where to write. A file that is there already is replaced, except that credentials are kept, so that
            a network can go on. The credentials lie in a folder for the owner only.
        topology: What the compose file describes.
        variables: Further variables for the ``.env`` file.
        lnd_flags: See ``compose_text``.

    Raises:
        ConfigError: A variable holds what an ``.env`` file cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vault = private_dir(folder / "secrets")
    if not (vault / "lnd" / "lnd.conf").exists():
        _write_credentials(vault)
    (folder / COMPOSE_FILE).write_text(compose_text(topology, lnd_flags))
    settings = {"LNSIM_SECRETS": "./secrets", **(variables or {})}
    for name, value in settings.items():
        if re.search(r"[\s'\"\\$#]", value):
            raise ConfigError(f"expected {name} without blanks, quotes, backslashes, $ and #, got {value!r}")
    write_private(folder / ".env", "".join(f"{name}={value}\n" for name, value in settings.items()).encode())


def _write_credentials(folder: Path) -> None:
    """Draw a user and a password for btcd's RPC and write them where btcd and lnd read them."""
    user = secrets.token_hex(16)
    password = secrets.token_hex(32)
    btcd_conf = f"[Application Options]\nrpcuser={user}\nrpcpass={password}\n"
    write_private(private_dir(folder / CHAIN) / "btcd.conf", btcd_conf.encode())
    lnd_conf = f"[Btcd]\nbtcd.rpcuser={user}\nbtcd.rpcpass={password}\n"
    write_private(private_dir(folder / "lnd") / "lnd.conf", lnd_conf.encode())


def read_credentials(folder: Path) -> tuple[str, str]:
    """Return user and password of btcd's RPC out of a folder that ``write_network`` wrote."""
    text = (folder / "secrets" / CHAIN / "btcd.conf").read_text()
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return found["rpcuser"], found["rpcpass"]


def known_grpc_port(service: Service) -> int:
    """Return the gRPC port of a service on this machine unless a variable names another."""
    return _FIRST_GRPC_PORT + service.number - 1
