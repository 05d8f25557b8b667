"""gRPC client of one lnd (``grpc.aio``).

Every RPC has a deadline, and gRPC's status codes become the package's errors here and nowhere else. What the RPCs are
used for is not known here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

# gRPC's core prints a line for every child process that is started while it works; read once, at import.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# Daemons of one network are started by fork and exec while the clients of others are at work: what gRPC's core does in
# the child, for children that go on with its channels, would crash it there now and then. Ours do not.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from lnsim_gym.backends.lnd.rpc.calls import Method
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.errors import BackendError, BackendLost, BackendTimeout

__all__ = ["NodeClient", "RpcRefused"]

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)

_CHANNEL_OPTIONS: Final = (
    # A node that restarts must be found again at once, not after gRPC's growing pauses of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
)

_MOST_WORDS: Final = 2_000
"""Most characters of a node's own words in an error."""


class RpcRefused(BackendError):
    """A node answered, and refused; ``details`` holds its own words."""

    def __init__(self, message: str, details: str) -> None:
        super().__init__(message)
        self.details = details


class NodeClient:
    """Client of one lnd; all its coroutines belong on the thread of ``thread.run``.

    Args:
        endpoint: Where the node is.
        deadline_s: Deadline in seconds of an RPC that gets none of its own.
    """

    def __init__(self, endpoint: NodeEndpoint, deadline_s: float) -> None:
        self.endpoint = endpoint
        self.name = endpoint.name
        self._deadline_s = deadline_s
        self._metadata = (("macaroon", _read(endpoint.macaroon_path).hex()),)
        self._credentials = grpc.ssl_channel_credentials(_read(endpoint.tls_cert_path))
        self._channel: grpc.aio.Channel | None = None

    async def call(
        self, method: Method[Request, Answer], request: Request | None = None, deadline_s: float | None = None
    ) -> Answer:
        """Call a unary RPC.

        Args:
            method: Which one.
            request: By default an empty request.
            deadline_s: In seconds, instead of the client's own.

        Raises:
            BackendTimeout: No answer within the deadline.
            BackendLost: The node is gone.
            RpcRefused: The node refused.
            BackendError: What it answered is none of LND's messages.
        """
        stub: Any = self._connected().unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
        )
        limit_s = self._deadline_s if deadline_s is None else deadline_s
        try:
            answer = await stub(request or method.request(), timeout=limit_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as problem:
            self._fail(method, problem, limit_s)
        return self._understood(method, answer)

    async def stream(
        self, method: Method[Request, Answer], request: Request, total_s: float | None, idle_s: float | None
    ) -> AsyncIterator[Answer]:
        """Call a streaming RPC and yield its messages.

        Args:
            method: Which one.
            request: What is asked.
            total_s: Budget for the whole stream, in seconds; None for none.
            idle_s: Longest wait for the next message, in seconds; None for any.

        Raises:
            BackendTimeout: One of the budgets ran out.
            BackendLost: The node is gone.
            RpcRefused: The node refused.
            BackendError: What it sent is none of LND's messages.
        """
        stub: Any = self._connected().unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
        )
        call = stub(request, timeout=total_s, metadata=self._metadata)
        try:
            while (message := await asyncio.wait_for(call.read(), idle_s)) is not grpc.aio.EOF:
                yield self._understood(method, message)
        except grpc.aio.AioRpcError as problem:
            self._fail(method, problem, total_s)
        except TimeoutError:
            raise BackendTimeout(
                f"expected a message from {self.name} ({method.path}) within {idle_s:g} s, none came: "
                "the node hangs; reset the network"
            ) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        channel = self._channel
        self._channel = None
        if channel is not None:
            await channel.close()

    def _connected(self) -> grpc.aio.Channel:
        """Return the channel, made on first use because it binds to the running event loop."""
        if self._channel is None:
            address = f"{self.endpoint.host}:{self.endpoint.port}"
            self._channel = grpc.aio.secure_channel(address, self._credentials, options=_CHANNEL_OPTIONS)
        return self._channel

    def _understood(self, method: Method[Any, Answer], raw: bytes) -> Answer:
        """Return the message that bytes stand for; gRPC would log what it cannot read, and go on without it."""
        try:
            return method.answer.FromString(raw)
        except DecodeError:
            raise BackendError(
                f"expected {self.name} ({method.path}) to answer with a {method.answer.__name__}, got what is none: "
                "see that this is lnd's gRPC port, and that its version is supported"
            ) from None

    def _fail(self, method: Method[Any, Any], problem: grpc.aio.AioRpcError, limit_s: float | None) -> NoReturn:
        """Raise the error of this package that stands for a gRPC status."""
        code = problem.code()
        details = _shown(problem.details() or "")
        called = f"{self.name} ({method.path})"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise BackendTimeout(
                f"expected {called} to answer within {limit_s or 0:g} s, it did not: the node hangs; reset the network"
            ) from None
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            raise BackendLost(
                f"expected {called} to answer, got {details}: the node is gone; reset the network"
            ) from None
        denied = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
        if code in denied or "macaroon" in details or details == "permission denied":
            raise RpcRefused(
                f"{called} refused the credentials ({details}): check its macaroon file", details
            ) from None
        if code is grpc.StatusCode.UNIMPLEMENTED:
            raise RpcRefused(
                f"{called} is not offered by this lnd: build it with the tags invoicesrpc and routerrpc", details
            ) from None
        raise RpcRefused(f"{called} refused: {details}", details) from None


def _shown(words: str) -> str:
    """Return what a node said as text that does no harm to a terminal, and has an end."""
    return "".join(letter if letter.isprintable() else " " for letter in words[:_MOST_WORDS])


def _read(path: str) -> bytes:
    """Read a credential file."""
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise BackendError(f"expected a readable credential file, got {path}: {problem.strerror}") from None
