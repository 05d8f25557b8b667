"""The RPCs of LND that this package calls: path, request and answer of each, typed; and no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from lnsim_gym.backends.lnd.rpc.proto import invoices_pb2, lightning_pb2, router_pb2

__all__ = ["METHODS", "Method"]

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Request, Answer]):
    """One RPC."""

    path: str
    """``/package.Service/Method``."""
    request: type[Request]
    answer: type[Answer]


GET_STATE: Final = Method("/lnrpc.State/GetState", lightning_pb2.GetStateRequest, lightning_pb2.GetStateResponse)
GET_INFO: Final = Method("/lnrpc.Lightning/GetInfo", lightning_pb2.GetInfoRequest, lightning_pb2.GetInfoResponse)
NEW_ADDRESS: Final = Method(
    "/lnrpc.Lightning/NewAddress", lightning_pb2.NewAddressRequest, lightning_pb2.NewAddressResponse
)
WALLET_BALANCE: Final = Method(
    "/lnrpc.Lightning/WalletBalance", lightning_pb2.WalletBalanceRequest, lightning_pb2.WalletBalanceResponse
)
CONNECT_PEER: Final = Method(
    "/lnrpc.Lightning/ConnectPeer", lightning_pb2.ConnectPeerRequest, lightning_pb2.ConnectPeerResponse
)
OPEN_CHANNEL: Final = Method(
    "/lnrpc.Lightning/OpenChannelSync", lightning_pb2.OpenChannelRequest, lightning_pb2.ChannelPoint
)
LIST_CHANNELS: Final = Method(
    "/lnrpc.Lightning/ListChannels", lightning_pb2.ListChannelsRequest, lightning_pb2.ListChannelsResponse
)
QUERY_ROUTES: Final = Method(
    "/lnrpc.Lightning/QueryRoutes", lightning_pb2.QueryRoutesRequest, lightning_pb2.QueryRoutesResponse
)
DESCRIBE_GRAPH: Final = Method(
    "/lnrpc.Lightning/DescribeGraph", lightning_pb2.ChannelGraphRequest, lightning_pb2.ChannelGraph
)
UPDATE_CHANNEL_POLICY: Final = Method(
    "/lnrpc.Lightning/UpdateChannelPolicy", lightning_pb2.PolicyUpdateRequest, lightning_pb2.PolicyUpdateResponse
)
FORWARDING_HISTORY: Final = Method(
    "/lnrpc.Lightning/ForwardingHistory",
    lightning_pb2.ForwardingHistoryRequest,
    lightning_pb2.ForwardingHistoryResponse,
)
LIST_PAYMENTS: Final = Method(
    "/lnrpc.Lightning/ListPayments", lightning_pb2.ListPaymentsRequest, lightning_pb2.ListPaymentsResponse
)
GET_TRANSACTIONS: Final = Method(
    "/lnrpc.Lightning/GetTransactions", lightning_pb2.GetTransactionsRequest, lightning_pb2.TransactionDetails
)
ADD_INVOICE: Final = Method("/lnrpc.Lightning/AddInvoice", lightning_pb2.Invoice, lightning_pb2.AddInvoiceResponse)
CANCEL_INVOICE: Final = Method(
    "/invoicesrpc.Invoices/CancelInvoice", invoices_pb2.CancelInvoiceMsg, invoices_pb2.CancelInvoiceResp
)
SEND_PAYMENT: Final = Method("/routerrpc.Router/SendPaymentV2", router_pb2.SendPaymentRequest, lightning_pb2.Payment)
TRACK_PAYMENT: Final = Method("/routerrpc.Router/TrackPaymentV2", router_pb2.TrackPaymentRequest, lightning_pb2.Payment)
BUILD_ROUTE: Final = Method("/routerrpc.Router/BuildRoute", router_pb2.BuildRouteRequest, router_pb2.BuildRouteResponse)
SEND_TO_ROUTE: Final = Method(
    "/routerrpc.Router/SendToRouteV2", router_pb2.SendToRouteRequest, lightning_pb2.HTLCAttempt
)
UPDATE_CHAN_STATUS: Final = Method(
    "/routerrpc.Router/UpdateChanStatus", router_pb2.UpdateChanStatusRequest, router_pb2.UpdateChanStatusResponse
)
SUBSCRIBE_HTLC_EVENTS: Final = Method(
    "/routerrpc.Router/SubscribeHtlcEvents", router_pb2.SubscribeHtlcEventsRequest, router_pb2.HtlcEvent
)
RESET_MISSION_CONTROL: Final = Method(
    "/routerrpc.Router/ResetMissionControl",
    router_pb2.ResetMissionControlRequest,
    router_pb2.ResetMissionControlResponse,
)
QUERY_MISSION_CONTROL: Final = Method(
    "/routerrpc.Router/QueryMissionControl",
    router_pb2.QueryMissionControlRequest,
    router_pb2.QueryMissionControlResponse,
)
IMPORT_MISSION_CONTROL: Final = Method(
    "/routerrpc.Router/XImportMissionControl",
    router_pb2.XImportMissionControlRequest,
    router_pb2.XImportMissionControlResponse,
)

METHODS: Final[tuple[Method[Any, Any], ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Method)
)
"""All of them."""
