"""The exports of a node that runs, taken by its own RPCs: those that read, and no other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from lnsim_gym.backends.lnd.nodes.launchers.attach import read_attach_file
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.client import NodeClient
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.backends.lnd.rpc.thread import run
from lnsim_gym.errors import BackendError, BackendLost, BackendTimeout, ConfigError
from lnsim_gym.own_node.reading.folder import OwnNode, import_node
from lnsim_gym.paths import write_private

__all__ = ["EXPORTS", "answering", "export_node", "import_attached", "read_node_file"]

EXPORTS: Final = ("graph", "channels", "history", "payments", "chain")
"""What is exported, each into a file of its name: as ``lncli`` prints ``describegraph``, ``listchannels``,
``fwdinghistory``, ``listpayments`` and ``listchaintxns``, as far as this package reads them."""
_DEADLINE_S: Final = 120.0
_TOTAL_S: Final = 3600.0
"""Longest time that all pages of a history may take."""
_MOST_BYTES: Final = 2**30
"""Most that they may hold: some ten million forwards or a million payments."""
_FORWARDS: Final = 50_000
"""Most forwards that LND gives at once."""
_PAYMENTS: Final = 5_000
_BEGIN: Final = 1
"""The first second of time: without one, LND tells of the last day only."""


def read_node_file(file: Path) -> NodeEndpoint:
    """Return where the one node of a TOML file is reached; the file is that of the ``attach`` launcher.

    Its macaroon may be ``readonly.macaroon``, which cannot send; no other is needed.

    Raises:
        ConfigError: The file is missing or malformed, or holds another number of nodes.
    """
    nodes = read_attach_file(file.expanduser().absolute())
    if len(nodes) != 1:
        raise ConfigError(f"expected one table [[nodes]] in {file}, that of your node, got {len(nodes)}")
    return next(iter(nodes.values()))


@contextmanager
def answering(endpoint: NodeEndpoint) -> Iterator[None]:
    """Say of a node that does not answer where it was looked for.

    Args:
        endpoint: The node that is asked within.

    Raises:
        BackendLost: It does not answer.
    """
    place = f"{endpoint.host}:{endpoint.port}"
    try:
        yield
    except BackendTimeout:
        raise BackendTimeout(f"the node at {place} does not answer in time: see whether it is busy or hangs") from None
    except BackendLost:
        raise BackendLost(
            f"the node at {place} does not answer: see that lnd runs there, and that host and port in the file of "
            "--attach are those of its gRPC"
        ) from None


def export_node(endpoint: NodeEndpoint, folder: Path) -> dict[str, Path]:
    """Write what a node tells of itself into files that only their owner can read.

    Args:
        endpoint: Where the node is.
        folder: Where to write; it must be there.

    Returns:
        The files, by ``EXPORTS``.

    Raises:
        BackendError: The node does not answer, or refuses.
    """
    with answering(endpoint):
        return run(_export(NodeClient(endpoint, _DEADLINE_S), folder))


def import_attached(file: Path, out: Path, *, failures: Path | None = None, cuts: Sequence[str] = ()) -> OwnNode:
    """Read a node that runs, and keep it in a folder of its own.

    Args:
        file: TOML file that says where the node is; see ``read_node_file``.
        out: See ``import_node``; so are ``failures`` and ``cuts``.
        failures: See ``import_node``.
        cuts: What of the network is kept.

    Raises:
        ConfigError: The file is malformed, or ``out`` holds something else.
        BackendError: The node does not answer, or refuses.
    """
    endpoint = read_node_file(file)
    with tempfile.TemporaryDirectory(prefix="lnsim-node-") as scratch:
        told = export_node(endpoint, Path(scratch))
        return import_node(
            told["graph"],
            told["channels"],
            [told["history"]],
            out,
            payments=[told["payments"]],
            chain=[told["chain"]],
            failures=failures,
            cuts=cuts,
            live=True,
        )


async def _export(client: NodeClient, folder: Path) -> dict[str, Path]:
    """Ask for everything, and write each answer as it comes."""
    paths = {name: folder / f"{name}.json" for name in EXPORTS}
    try:
        graph = await client.call(rpc.DESCRIBE_GRAPH, lightning_pb2.ChannelGraphRequest(include_unannounced=True))
        _write(paths["graph"], [graph])
        channels = await client.call(rpc.LIST_CHANNELS)
        _write(paths["channels"], [channels])
        _write(paths["history"], [page async for page in _bounded(_history(client), client)])
        _write(paths["payments"], [page async for page in _bounded(_payments(client), client)])
        transactions = await client.call(rpc.GET_TRANSACTIONS)
        _write(paths["chain"], [transactions])
    finally:
        await client.close()
    return paths


async def _bounded(pages: AsyncIterator[Message], client: NodeClient) -> AsyncIterator[Message]:
    """Yield pages.

    Raises:
        BackendError: They have no end.
    """
    deadline = time.monotonic() + _TOTAL_S
    told_bytes = 0
    async for page in pages:
        told_bytes += page.ByteSize()
        if told_bytes > _MOST_BYTES or time.monotonic() > deadline:
            raise BackendError(
                f"expected {client.name} to tell of its history in {_TOTAL_S / 60:g} minutes and {_MOST_BYTES >> 20:,} "
                f"MiB at most, it goes on after {told_bytes >> 20:,} MiB: import what `lncli` exports of a shorter time"
            )
        yield page


async def _history(client: NodeClient) -> AsyncIterator[Message]:
    """Yield all forwards, page by page."""
    offset = 0
    while True:
        page = await client.call(
            rpc.FORWARDING_HISTORY,
            lightning_pb2.ForwardingHistoryRequest(start_time=_BEGIN, index_offset=offset, num_max_events=_FORWARDS),
        )
        yield page
        if len(page.forwarding_events) < _FORWARDS or page.last_offset_index <= offset:
            return
        offset = page.last_offset_index


async def _payments(client: NodeClient) -> AsyncIterator[Message]:
    """Yield all payments that settled, page by page."""
    offset = 0
    while True:
        page = await client.call(
            rpc.LIST_PAYMENTS, lightning_pb2.ListPaymentsRequest(index_offset=offset, max_payments=_PAYMENTS)
        )
        yield page
        if not page.payments or page.last_index_offset <= offset:
            return
        offset = page.last_index_offset


def _write(path: Path, messages: Sequence[Message]) -> None:
    """Write messages as JSON, one after the other."""
    told = (
        MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for message in messages
    )
    write_private(path, b"\n".join(map(msgspec.json.encode, told)))
