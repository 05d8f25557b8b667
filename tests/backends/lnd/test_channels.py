"""Which channel of the nodes is which of the topology, and which of parallel ones carried an HTLC; without nodes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from lnsim_gym.backends.lnd.network import forwards as forwards_module
from lnsim_gym.backends.lnd.network.forwards import Forwards
from lnsim_gym.backends.lnd.network.live import LiveChannel, LiveNetwork, channel_name, match_channels
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.errors import BackendError, LedgerMismatch
from lnsim_gym.network import Channel, Topology

ENDS = ("ab", "ab", "ba", "bc", "bc", "cd")
TOPOLOGY = Topology(
    nodes=tuple("abcd"),
    channels=tuple(Channel(initiator=one, peer=other, capacity_sat=1_000_000) for one, other in ENDS),
)
FIRST_CHAN_ID = 1000


def listed(*channels: tuple[int, str]) -> list[lightning_pb2.Channel]:
    return [lightning_pb2.Channel(chan_id=chan_id, memo=memo) for chan_id, memo in channels]


@pytest.mark.parametrize(
    ("channels", "matched"),
    [
        (listed((8, "channels[1]"), (9, "channels[0]")), {0: 9, 1: 8}),
        (listed((8, ""), (9, "channels[0]")), {0: 9, 1: 8}),
        (listed((9, ""), (8, "")), {0: 8, 1: 9}),
        (listed((9, "a note of somebody else's")), {0: 9}),
        (listed(), {}),
    ],
)
def test_parallel_channels_are_told_apart_by_the_memo_they_were_opened_with(channels, matched):
    found = match_channels(TOPOLOGY, {("a", "b", 1_000_000): channels})
    assert {index: channel.chan_id for index, channel in found.items()} == matched


def test_channels_that_exist_are_known_by_their_ids():
    channels = tuple(Channel(initiator="a", peer="b", capacity_sat=1_000_000, chan_id=chan_id) for chan_id in (9, 8, 7))
    topology = Topology(nodes=("a", "b"), channels=channels)
    found = match_channels(topology, {("a", "b", 1_000_000): listed((7, ""), (8, ""), (9, ""))})
    assert [found[index].chan_id for index in range(3)] == [9, 8, 7]


def test_errors_name_parallel_channels_by_their_index():
    assert channel_name(TOPOLOGY, 4) == "channel b-c (channels[4])"


class Node:
    """Answers for the forwarding history of a node, a page at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.endpoint = SimpleNamespace(pubkey=f"key of {name}")
        self.events: list[lightning_pb2.ForwardingEvent] = []
        self.asked = 0

    def forward(
        self, htlc_in: tuple[int, int], htlc_out: tuple[int, int], taken: int, passed_on: int, at_s: int
    ) -> None:
        """Write down a forward; HTLCs are channel index and number."""
        event = lightning_pb2.ForwardingEvent(
            chan_id_in=FIRST_CHAN_ID + htlc_in[0],
            chan_id_out=FIRST_CHAN_ID + htlc_out[0],
            incoming_htlc_id=htlc_in[1],
            outgoing_htlc_id=htlc_out[1],
            amt_in_msat=taken,
            amt_out_msat=passed_on,
            timestamp_ns=at_s * 10**9,
        )
        self.events.append(event)

    async def call(self, method, request):
        self.asked += 1
        await asyncio.sleep(0)
        since = [event for event in self.events if event.timestamp_ns >= request.start_time * 10**9]
        page = since[request.index_offset : request.index_offset + request.num_max_events]
        return lightning_pb2.ForwardingHistoryResponse(
            forwarding_events=page, last_offset_index=request.index_offset + len(page)
        )


@pytest.fixture
def nodes() -> dict[str, Node]:
    return {name: Node(name) for name in TOPOLOGY.nodes}


@pytest.fixture
def forwards(nodes, monkeypatch) -> Forwards:
    monkeypatch.setattr(forwards_module, "_WRITTEN_WITHIN_S", 0.05)
    channels = tuple(LiveChannel(FIRST_CHAN_ID + index, f"tx:{index}") for index in range(len(ENDS)))
    return Forwards(LiveNetwork(TOPOLOGY, tuple(nodes.values()), channels))


def route_over(*hops: tuple[int, int], delivered: int) -> lightning_pb2.Route:
    """A route of (direction, amount in msat)."""
    amounts = [amount for _, amount in hops]
    route = lightning_pb2.Route(total_amt_msat=amounts[0])
    for (direction, _), passed_on in zip(hops, [*amounts[1:], delivered], strict=True):
        node = TOPOLOGY.nodes[TOPOLOGY.arrays.destination[direction]]
        route.hops.add(chan_id=FIRST_CHAN_ID + direction // 2, pub_key=f"key of {node}", amt_to_forward_msat=passed_on)
    return route


A_TO_D = route_over((0, 1300), (6, 1200), (10, 1100), delivered=1100)


def test_the_channels_that_forwarders_chose_are_followed_htlc_by_htlc(nodes, forwards):
    nodes["b"].forward((0, 4), (3, 8), 1300, 1200, at_s=50)  # another payment of the same amounts, to another place
    nodes["b"].forward((0, 5), (4, 9), 1300, 1200, at_s=50)
    nodes["b"].forward((1, 5), (3, 1), 1300, 1200, at_s=50)  # came over another channel
    assert asyncio.run(forwards.directions(A_TO_D)) in ([0, 6, 10], [0, 8, 10])
    assert asyncio.run(forwards.directions(A_TO_D)) in ([0, 6, 10], [0, 8, 10])
    with pytest.raises(LedgerMismatch, match="expected b to know over which channels they forwarded 1,300 msat"):
        asyncio.run(forwards.directions(A_TO_D))


def test_the_chain_of_htlcs_tells_payments_of_the_same_amounts_apart(nodes, forwards):
    there_and_back = route_over((0, 1300), (6, 1200), (9, 1100), (4, 1000), delivered=1000)
    nodes["b"].forward((0, 1), (3, 1), 1300, 1200, at_s=50)
    nodes["b"].forward((0, 2), (4, 2), 1300, 1200, at_s=50)
    nodes["c"].forward((4, 2), (3, 7), 1200, 1100, at_s=49)
    nodes["b"].forward((3, 7), (1, 3), 1100, 1000, at_s=48)
    assert asyncio.run(forwards.directions(there_and_back)) == [0, 8, 7, 3]
    assert asyncio.run(forwards.directions(A_TO_D)) == [0, 6, 10]


def test_nothing_is_asked_where_no_forwarder_had_a_choice(nodes, forwards):
    route = route_over((11, 1100), (9, 1050), delivered=1050)
    only_first_is_parallel = route_over((6, 1200), (10, 1100), delivered=1100)
    assert asyncio.run(forwards.directions(only_first_is_parallel)) == [6, 10]
    assert sum(node.asked for node in nodes.values()) == 0
    nodes["c"].forward((5, 0), (3, 0), 1100, 1050, at_s=9)
    assert asyncio.run(forwards.directions(route)) == [11, 7]
    assert [node.asked for node in nodes.values()] == [0, 0, 1, 0]


def test_what_was_forwarded_before_is_left_out_and_pages_are_turned(nodes, forwards, monkeypatch):
    monkeypatch.setattr(forwards_module, "_PAGE", 3)
    for number in range(7):
        nodes["b"].forward((0, number), (3, number), 1300, 1200, at_s=100 + number)
    asyncio.run(forwards.skip_past())
    nodes["b"].forward((0, 7), (4, 7), 1300, 1200, at_s=105)
    assert asyncio.run(forwards.directions(A_TO_D)) == [0, 8, 10]


def test_events_that_are_being_written_are_waited_for(nodes, forwards):
    async def late() -> list[int]:
        looking = asyncio.ensure_future(forwards.directions(A_TO_D))
        await asyncio.sleep(0.01)
        nodes["b"].forward((0, 7), (4, 7), 1300, 1200, at_s=105)
        return await looking

    assert asyncio.run(late()) == [0, 8, 10]


def test_an_lnd_that_does_not_number_htlcs_is_named(nodes, forwards):
    nodes["b"].events.append(lightning_pb2.ForwardingEvent(chan_id_in=FIRST_CHAN_ID))
    with pytest.raises(BackendError, match=r"expected b to number the HTLCs.*v0\.20"):
        asyncio.run(forwards.directions(A_TO_D))
