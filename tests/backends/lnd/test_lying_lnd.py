"""An lnd that lies: whatever it says, there is one error in our own words, soon, and nothing false is booked."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from lnsim_gym.backends.lnd.network import forwards
from lnsim_gym.backends.lnd.nodes.launchers.attach import read_attach_file
from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2, router_pb2
from lnsim_gym.errors import BackendError, BackendLost, BackendTimeout, BringUpError, ConfigError, LedgerMismatch
from lnsim_gym.network import Channel, Policy, Topology
from lnsim_gym.own_node.reading import attached as attached_node
from tests.backends.lnd.liars import CHAN_ID, PUBKEYS, attached, route
from tests.backends.lnd.live import batch_of

DEADLINE_S = 30
"""More than any of this may take, whatever else the machine does."""
MOST = 2**63 - 1
Attempt, Payment = lightning_pb2.HTLCAttempt, lightning_pb2.Payment
PAGE = lightning_pb2.ForwardingHistoryResponse(
    forwarding_events=[lightning_pb2.ForwardingEvent(incoming_htlc_id=number) for number in range(forwards._PAGE)],
    last_offset_index=forwards._PAGE,
).SerializeToString()


def open_(backend):
    backend.open()


def pay(backend):
    backend.open()
    return backend.pay(batch_of((0, 1, 1_000_000)))


def push(backend):
    backend.open()
    return backend.rebalance((0,), 1_000_000)


def watch(backend):
    backend.open()
    backend.watch(0)


def says(method, message):
    """Return the lie that a node always says the same."""
    return {method.path: lambda request, told: message}


def sends(*messages):
    """Return the lie that a payment is told by those messages."""
    return {rpc.SEND_PAYMENT.path: lambda request, told: iter(messages)}


def info(**fields):
    """Return the lie that what a node says of itself has other fields."""
    truth = {"identity_pubkey": PUBKEYS[0], "block_height": 500, "synced_to_chain": True}
    return says(rpc.GET_INFO, lightning_pb2.GetInfoResponse(**truth | fields))


def channels(*changes):
    """Return the lie that a node's channel is other channels, with those fields."""

    def lie(request, told):
        (truth,) = told().channels
        listed = lightning_pb2.ListChannelsResponse()
        for fields in changes:
            listed.channels.add().CopyFrom(truth)
            for name, value in fields.items():
                setattr(listed.channels[-1], name, value)
        return listed

    return {rpc.LIST_CHANNELS.path: lie}


def settled(*routes):
    """Return a payment that settled over those routes."""
    return Payment(status=Payment.SUCCEEDED, htlcs=[Attempt(status=Attempt.SUCCEEDED, route=each) for each in routes])


def sleep(request, told):
    time.sleep(DEADLINE_S)
    return told()


def given_up():
    """Return the lies that a payment is met with silence, and that the channel is inactive from then on."""
    is_sent = threading.Event()

    def keep_silent(request, told):
        is_sent.set()
        yield sleep(request, dict)

    def list_(request, told):
        listed = told()
        listed.channels[0].active = not is_sent.is_set()
        return listed

    return {rpc.SEND_PAYMENT.path: keep_silent, rpc.LIST_CHANNELS.path: list_}


NO_MESSAGE = b"\xff\xff"
LIES = {
    "no state": (says(rpc.GET_STATE, NO_MESSAGE), open_, BackendError, "answer with a GetStateResponse"),
    "no text": (says(rpc.GET_INFO, b"\x0a\x02\xff\xfe"), open_, BackendError, "answer with a GetInfoResponse"),
    "an unknown state": (
        says(rpc.GET_STATE, lightning_pb2.GetStateResponse(state=77)),
        open_,
        BringUpError,
        "got: state 77",
    ),
    "mainnet": (info(chains=[{"network": "mainnet"}]), open_, ConfigError, "nothing was done with it"),
    "no public key": (info(identity_pubkey="\x1b[2J"), open_, BringUpError, r"says '\\x1b\[2J'"),
    "the key of another": (info(identity_pubkey=PUBKEYS[1]), open_, BringUpError, "keys of their own"),
    "no channel": (channels(), open_, BringUpError, r"missing: initiator-peer"),
    "the same channel a thousand times": (channels(*1000 * [{}]), open_, BringUpError, r"and 989 more\. Use"),
    "a capacity below zero": (channels({"capacity": -1}), open_, BringUpError, r"initiator-peer \(-1 sat\)"),
    "a peer of no name": (channels({"remote_pubkey": "\x1b[2J"}), open_, BringUpError, r"initiator-'\\x1b\[2J'"),
    "a channel of no output": (channels({"channel_point": "none"}), open_, BringUpError, "says 'none'"),
    "another channel id": (channels({"chan_id": 7}), open_, BackendError, "to be open, it is not"),
    "a balance below zero": (channels({"local_balance": -5}), open_, BringUpError, "inactive or busy"),
    "a channel that sleeps": (channels({"active": False}), open_, BringUpError, "inactive or busy"),
    "channels of 300 MiB": (channels({"memo": 300 * 2**20 * "x"}), open_, BackendError, "ListChannels"),
    "nothing for long": ({rpc.LIST_CHANNELS.path: sleep}, open_, BackendError, "within 2 s"),
    "a hundred thousand edges": (
        says(rpc.DESCRIBE_GRAPH, lightning_pb2.ChannelGraph(edges=[{"channel_id": id_} for id_ in range(100_000)])),
        open_,
        BringUpError,
        "2 of 2 directions are missing",
    ),
    "no payment": (sends(NO_MESSAGE), pay, BackendError, "answer with a Payment"),
    "no end of a payment": (sends(), pay, BackendLost, "its stream ended first"),
    "a payment that goes on": (
        {rpc.SEND_PAYMENT.path: lambda request, told: itertools.repeat(Payment(status=Payment.IN_FLIGHT))},
        pay,
        BackendTimeout,
        "within 4 s",
    ),
    "a payment in silence": (
        {rpc.SEND_PAYMENT.path: lambda request, told: map(sleep, (None,), (dict,))},
        pay,
        BackendTimeout,
        "within 4 s",
    ),
    "silence after a channel was given up": (given_up(), pay, BackendLost, "expected active channels"),
    "a status of no name": (sends(Payment(status=9)), pay, BackendLost, "its stream ended first"),
    "a reason of no name": (sends(Payment(status=Payment.FAILED, failure_reason=99)), pay, BackendError, "tells of 99"),
    "settled by nothing": (sends(settled()), pay, BackendError, "0 of 0 msat"),
    "settled over nothing": (sends(settled(lightning_pb2.Route())), pay, BackendError, "1 to 25 hops, it tells of 0"),
    "settled over sixty hops": (sends(settled(route(1_000_000, 60))), pay, BackendError, "it tells of 60"),
    "settled in fifty parts": (sends(settled(*50 * [route(20_000)])), pay, BackendError, "50 of 1,000,000 msat"),
    "settled in part": (sends(settled(route(999_999))), pay, BackendError, "1 of 999,999 msat"),
    "settled the wrong way": (sends(settled(route(-1_000_000))), pay, BackendError, "1 of -1,000,000 msat"),
    "settled more than there is": (sends(settled(route(MOST))), pay, BackendError, "a payment of 1,000,000 msat"),
    "settled elsewhere": (sends(settled(route(1_000_000, chan_id=5))), pay, BackendError, "topology's channels only"),
    "settled without a change": (sends(settled(route(1_000_000))), pay, LedgerMismatch, "LND reports"),
    "a push over nothing": (
        says(rpc.SEND_TO_ROUTE, Attempt(status=Attempt.SUCCEEDED)),
        push,
        BackendError,
        "tells of 0",
    ),
    "a push of more than there is": (
        says(rpc.SEND_TO_ROUTE, Attempt(status=Attempt.SUCCEEDED, route=route(MOST))),
        push,
        LedgerMismatch,
        "LND reports",
    ),
    "a push that failed beyond its route": (
        says(rpc.SEND_TO_ROUTE, Attempt(status=Attempt.FAILED, failure={"failure_source_index": 2**32 - 1})),
        push,
        BackendError,
        "failed at node 4294967295",
    ),
    "no word of HTLCs": (
        {rpc.SUBSCRIBE_HTLC_EVENTS.path: lambda request, told: map(sleep, (None,), (dict,))},
        watch,
        BackendTimeout,
        "begin to tell of its HTLCs within 2 s",
    ),
    "events of nothing without end": (
        {rpc.SUBSCRIBE_HTLC_EVENTS.path: lambda request, told: itertools.repeat(router_pb2.HtlcEvent())},
        watch,
        BackendTimeout,
        "begin to tell of its HTLCs within 2 s",
    ),
    "no more of HTLCs": (
        {rpc.SUBSCRIBE_HTLC_EVENTS.path: lambda request, told: iter(())},
        watch,
        BackendLost,
        "go on telling",
    ),
    "a history without end": (says(rpc.FORWARDING_HISTORY, PAGE), watch, BackendTimeout, "goes on without end"),
    "a history without numbers": (
        says(rpc.FORWARDING_HISTORY, lightning_pb2.ForwardingHistoryResponse(forwarding_events=[{}])),
        watch,
        BackendError,
        "number the HTLCs",
    ),
}
"""By name: the lies, what is done, and the error that comes of it."""


def test_nodes_that_do_not_lie_are_believed(two_nodes, tmp_path):
    with attached(tmp_path, two_nodes, {}) as backend:
        assert pay(backend).failure_reason.tolist() == [3]
        assert push(backend).detail == "failure code 15 from node 0 of the route"
        watch(backend)
        assert not backend.forwards().any()
        assert (backend.balances_msat() == two_nodes.start_balances_msat()).all()


@pytest.mark.parametrize(("lies", "deed", "error", "said"), LIES.values(), ids=LIES)
def test_a_lie_is_one_error_in_time_and_is_not_booked(lies, deed, error, said, two_nodes, tmp_path):
    started = time.monotonic()
    with attached(tmp_path, two_nodes, lies) as backend, pytest.raises(error, match=said) as caught:
        deed(backend)
    assert time.monotonic() - started < DEADLINE_S
    assert type(caught.value).__module__.startswith("lnsim_gym")
    assert len(str(caught.value)) < 1500
    assert all(letter.isprintable() or letter == "\n" for letter in str(caught.value))


def test_nodes_that_lie_together_of_their_balances_are_not_believed(two_nodes, tmp_path):
    total = int(two_nodes.owned_total_msat[0] // 1000)
    seen = [{"local_balance": -5, "remote_balance": total + 5}, {"local_balance": total + 5, "remote_balance": -5}]
    lies = [channels(fields) for fields in seen]
    with (
        attached(tmp_path, two_nodes, *lies) as backend,
        pytest.raises(BackendError, match=r"LND reports \[-5, "),
    ):
        backend.open()


def test_two_channels_of_one_id_are_refused(tmp_path):
    twice = 2 * (Channel(initiator="initiator", peer="peer", capacity_sat=1_000_000),)
    parallel = Topology(nodes=("initiator", "peer"), channels=twice)
    same = channels({}, {})
    with (
        attached(tmp_path, parallel, same, same) as backend,
        pytest.raises(BringUpError, match=f"lists {CHAN_ID} twice"),
    ):
        backend.open()


def test_a_refusal_does_no_harm_to_a_terminal(two_nodes, tmp_path):
    def refuse(request, told):
        raise ValueError("\x1b[2J" + 5000 * "x")

    lies = {rpc.UPDATE_CHANNEL_POLICY.path: refuse}
    with attached(tmp_path, two_nodes, lies) as backend:
        backend.open()
        with pytest.raises(BackendError, match="refused") as caught:
            backend.set_policy(0, Policy(fee_base_msat=7))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 3000


def test_an_export_has_an_end(two_nodes, tmp_path, monkeypatch):
    page = lightning_pb2.ListPaymentsResponse(payments=[{}])
    ends = itertools.count(1)

    def always_more(request, told):
        page.last_index_offset = next(ends)
        return page

    monkeypatch.setattr(attached_node, "_MOST_BYTES", 10_000)
    with attached(tmp_path, two_nodes, {rpc.LIST_PAYMENTS.path: always_more}):
        first = read_attach_file(tmp_path / "nodes.toml")[two_nodes.nodes[0]]
        with pytest.raises(BackendError, match="it goes on after"):
            attached_node.export_node(first, tmp_path)
    assert next(ends) > 1000
    assert not (tmp_path / "payments.json").exists()
