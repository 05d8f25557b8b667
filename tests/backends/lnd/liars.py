"""Two lnds that are none: gRPC servers that answer as two honest nodes with a channel would, or with a lie."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2, router_pb2
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentOptions

CHAN_ID = 123 << 40 | 1 << 16
PUBKEYS = ("02" + 32 * "11", "03" + 32 * "22")
STREAMS = {rpc.SEND_PAYMENT.path, rpc.TRACK_PAYMENT.path, rpc.SUBSCRIBE_HTLC_EVENTS.path}
BY_PATH = {method.path: method for method in rpc.METHODS}
Lie = Callable[[Any, Callable[[], Any]], Any]
"""Gets the request and what tells the truth; returns a message, bytes, or for a stream an iterator of them."""


class Node(grpc.GenericRpcHandler):
    """One of two nodes: what it answers to each RPC, where no lie takes its place."""

    def __init__(self, topology: Topology, index: int, lies: dict[str, Lie]) -> None:
        self.topology, self.index, self.lies = topology, index, lies
        self.balances_sat = [balance // 1000 for balance in topology.start_balances_msat()[0].tolist()]

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        """See ``grpc.GenericRpcHandler``; answers are bytes, so that they may be anything."""
        method = BY_PATH[details.method]
        told = getattr(self, details.method.rpartition("/")[2], lambda request: method.answer())

        def answer(raw: bytes, context: Any) -> Any:
            request = method.request.FromString(raw)
            lie = self.lies.get(details.method)
            said = lie(request, lambda: told(request)) if lie else told(request)
            return map(as_bytes, said) if details.method in STREAMS else as_bytes(said)

        if details.method in STREAMS:
            return grpc.unary_stream_rpc_method_handler(answer)
        return grpc.unary_unary_rpc_method_handler(answer)

    def GetState(self, request: Any) -> Any:  # noqa: N802 - named as in LND
        return lightning_pb2.GetStateResponse(state=lightning_pb2.SERVER_ACTIVE)

    def GetInfo(self, request: Any) -> Any:  # noqa: N802
        chain = lightning_pb2.Chain(network="regtest")
        pubkey = PUBKEYS[self.index]
        return lightning_pb2.GetInfoResponse(
            identity_pubkey=pubkey, block_height=500, synced_to_chain=True, version="0.21.2-beta", chains=[chain]
        )

    def ListChannels(self, request: Any) -> Any:  # noqa: N802
        return lightning_pb2.ListChannelsResponse(channels=[self.channel()])

    def DescribeGraph(self, request: Any) -> Any:  # noqa: N802
        arrays = self.topology.arrays
        nodes = dict(zip(("node1_pub", "node2_pub"), PUBKEYS, strict=True))
        policies = [
            lightning_pb2.RoutingPolicy(
                fee_base_msat=int(arrays.fee_base_msat[direction]),
                fee_rate_milli_msat=int(arrays.fee_rate_ppm[direction]),
                time_lock_delta=int(arrays.time_lock_delta[direction]),
                min_htlc=int(arrays.min_htlc_msat[direction]),
                max_htlc_msat=int(arrays.max_htlc_msat[direction]),
            )
            for direction in (0, 1)
        ]
        edge = lightning_pb2.ChannelEdge(
            channel_id=CHAN_ID, capacity=1_000_000, node1_policy=policies[0], node2_policy=policies[1], **nodes
        )
        return lightning_pb2.ChannelGraph(edges=[edge])

    def AddInvoice(self, request: Any) -> Any:  # noqa: N802
        return lightning_pb2.AddInvoiceResponse(r_hash=bytes(32), payment_request="lnbcrt1", payment_addr=bytes(32))

    def SendPaymentV2(self, request: Any) -> Any:  # noqa: N802
        yield lightning_pb2.Payment(status=lightning_pb2.Payment.FAILED, failure_reason=3)

    def TrackPaymentV2(self, request: Any) -> Any:  # noqa: N802
        yield from ()

    def SubscribeHtlcEvents(self, request: Any) -> Any:  # noqa: N802
        yield router_pb2.HtlcEvent(subscribed_event=router_pb2.SubscribedEvent())
        while True:
            yield router_pb2.HtlcEvent()

    def BuildRoute(self, request: Any) -> Any:  # noqa: N802
        return router_pb2.BuildRouteResponse(route=route(request.amt_msat))

    def SendToRouteV2(self, request: Any) -> Any:  # noqa: N802
        return lightning_pb2.HTLCAttempt(status=lightning_pb2.HTLCAttempt.FAILED, failure={"code": 15})

    def channel(self, **changes: Any) -> Any:
        """Return the channel as this node sees it."""
        one, other = self.balances_sat[:: 1 if self.index == 0 else -1]
        usual = {
            "active": True,
            "remote_pubkey": PUBKEYS[1 - self.index],
            "channel_point": f"{64 * '0'}:0",
            "chan_id": CHAN_ID,
            "capacity": 1_000_000,
            "local_balance": one,
            "remote_balance": other,
            "initiator": self.index == 0,
        }
        return lightning_pb2.Channel(**usual | changes)


def route(amount_msat: int, hops: int = 1, **changes: Any) -> Any:
    """Return a route over the channel, as often as is wanted."""
    hop = {"chan_id": CHAN_ID, "pub_key": PUBKEYS[1], "amt_to_forward_msat": amount_msat}
    return lightning_pb2.Route(total_amt_msat=amount_msat, hops=[lightning_pb2.Hop(**hop | changes)] * hops)


def as_bytes(message: Any) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


@contextmanager
def attached(folder: Path, topology: Topology, *lies: dict[str, Lie]) -> Iterator[LndBackend]:
    """Serve both nodes, with the lies of the first and of the second, and yield a backend that is attached to them."""
    keys = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", "tls.key", "-out", "tls.cert")
    about = ("-days", "2", "-subj", "/CN=none", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", "-nodes", *keys, *about]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "admin.macaroon").write_bytes(b"none")
    credentials = grpc.ssl_server_credentials([((folder / "tls.key").read_bytes(), (folder / "tls.cert").read_bytes())])
    unbounded = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    servers, tables = [], []
    for index, name in enumerate(topology.nodes):
        server = grpc.server(ThreadPoolExecutor(8), options=unbounded)
        server.add_generic_rpc_handlers([Node(topology, index, lies[index] if index < len(lies) else {})])
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        servers.append(server)
        tables.append(f'[[nodes]]\nname = "{name}"\nhost = "127.0.0.1"\nport = {port}\n')
    files = 'tls_cert = "tls.cert"\nmacaroon = "admin.macaroon"\n'
    (folder / "nodes.toml").write_text("".join(table + files for table in tables))
    limits = {"bring_up_timeout_s": 3.0, "rpc_timeout_s": 2.0, "idle_timeout_s": 1.0, "quiet_timeout_s": 2.0}
    attach = {"launcher": "attach", "attach_file": str(folder / "nodes.toml")}
    options = PaymentOptions(timeout_seconds=2)
    backend = LndBackend(topology, options, LndSettings(**attach | limits))
    try:
        yield backend
    finally:
        backend.close()
        for server in servers:
            server.stop(None)
