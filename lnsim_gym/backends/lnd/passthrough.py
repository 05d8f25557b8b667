"""What people do with a running network by hand: read a node's log, and talk to a node through lncli."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

from lnsim_gym.backends.lnd.nodes.launchers.choose import connect_launcher
from lnsim_gym.backends.lnd.nodes.programs import find_binaries
from lnsim_gym.backends.lnd.nodes.record import CHAIN, NetworkRecord
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.errors import ConfigError, MissingDependency, did_you_mean

__all__ = ["log_lines", "run_lncli"]

_POLL_S: Final = 0.5
_OVERLAP_LINES: Final = 2000


def log_lines(record: NetworkRecord, node: str, lines: int, *, follow: bool) -> Iterator[str]:
    """Yield the last lines of a log, and with ``follow`` those that come after them, without end.

    Raises:
        ConfigError: There is no such node.
    """
    _require(record, node, (*(endpoint.name for endpoint in record.nodes), CHAIN))
    launcher = connect_launcher(record)
    shown = launcher.log_tail(node, max(lines, _OVERLAP_LINES)).splitlines()
    yield from shown[-lines:]
    while follow:
        time.sleep(_POLL_S)
        tail = launcher.log_tail(node, _OVERLAP_LINES).splitlines()
        yield from fresh_lines(shown, tail)
        shown = tail


def fresh_lines(shown: Sequence[str], tail: Sequence[str]) -> Sequence[str]:
    """Return what a log's tail has beyond the lines that were shown already.

    Args:
        shown: The tail as it was before.
        tail: The tail now; it begins somewhere within the old one, or after it when much was written.
    """
    for start in range(max(0, len(shown) - len(tail)), len(shown)):
        common = len(shown) - start
        if shown[start] == tail[0] and list(shown[start:]) == list(tail[:common]):
            return tail[common:]
    return tail


def run_lncli(record: NetworkRecord, node: str, arguments: Sequence[str]) -> int:
    """Run lncli on a node with this terminal's input and output.

    The program of this machine is used; without one, that of the node's container.

    Returns:
        Its exit status.

    Raises:
        ConfigError: There is no such node.
        MissingDependency: There is no lncli.
    """
    endpoints = {endpoint.name: endpoint for endpoint in record.nodes}
    _require(record, node, tuple(endpoints))
    try:
        program = find_binaries().lncli
    except MissingDependency:
        return _run_inside(record, node, arguments)
    return subprocess.run([program, *_reach(endpoints[node]), *arguments], check=False).returncode


def _reach(endpoint: NodeEndpoint) -> tuple[str, ...]:
    """Return the options by which lncli reaches a node; credentials by the names of their files."""
    return (
        "--network=regtest",
        f"--rpcserver={endpoint.host}:{endpoint.port}",
        f"--tlscertpath={endpoint.tls_cert_path}",
        f"--macaroonpath={endpoint.macaroon_path}",
    )


def _run_inside(record: NetworkRecord, node: str, arguments: Sequence[str]) -> int:
    """Run the lncli of a node's container."""
    from lnsim_gym.backends.lnd.nodes.launchers.docker import DockerLauncher  # noqa: PLC0415

    launcher = connect_launcher(record)
    if not isinstance(launcher, DockerLauncher):
        raise MissingDependency("expected lncli on PATH or in the cache, found none: run `lnsim nodes build`")
    code, output = launcher.run_inside(node, ["lncli", "--network=regtest", *arguments])
    sys.stdout.write(output)
    return code


def _require(record: NetworkRecord, node: str, known: Sequence[str]) -> None:
    """Refuse a name that the network does not have."""
    if node not in known:
        raise ConfigError(
            f"expected a node of the network {record.name!r}, got {node!r}.{did_you_mean(node, known)} "
            f"Known: {', '.join(known)}"
        )
