"""The server stands up to whatever clients do, lets in whom it should, and never holds an episode up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from lnsim_gym.agents.play import play
from lnsim_gym.bridge import BridgeAgent, StreamEpisodes, session
from lnsim_gym.bridge.frames import text_frame
from lnsim_gym.bridge.server import BridgeServer
from lnsim_gym.bridge.settings import BridgeSettings, Gate
from lnsim_gym.errors import ConfigError
from tests.bridge.clients import Client, raw_socket, streamed
from tests.waiting import wait_until


def test_a_client_that_is_connected_misses_nothing_even_before_the_server_attends_to_it(monkeypatch):
    attend = BridgeServer._handle

    async def attend_late(server, connection):
        await asyncio.sleep(0.5)
        await attend(server, connection)

    monkeypatch.setattr(BridgeServer, "_handle", attend_late)
    with streamed() as env:
        env.reset(seed=3)
        with connect(f"ws://127.0.0.1:{env.bridge.port}", max_size=None) as client:
            env.step(0)
            kinds = [json.loads(client.recv(20))["type"]]
            while kinds[-1] != "step":
                kinds.append(json.loads(client.recv(20))["type"])
    assert kinds[:2] == ["state_update", "connection_status"]
    assert kinds.count("transaction") == 20


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_frames_are_those_of_the_websocket_library(length):
    payload = b"x" * length
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"type": "ping"}, "pong"),
        ({"type": "heartbeat"}, "heartbeat_response"),
        ({"type": "register", "client": "lightning_lens", "message": "hello"}, "registered"),
        ({"event_type": "register", "client": "x"}, "registered"),
        ({"type": "connection_test", "data": [1, {"a": 2}]}, "connection_test_response"),
        ({"type": "request_suggestions"}, "rebalance_suggestions"),
    ],
)
def test_every_question_is_answered(message, kind):
    with streamed() as env, Client(env) as client:
        answer = client.ask(message, kind)
        if kind == "connection_test_response":
            assert answer["data"]["echo_data"] == message["data"]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"text"',
        "{}",
        '{"type": null}',
        '{"type": ["ping"]}',
        '{"type": "pin"}',
        '{"type": "transaction", "data": {}}',
        '{"type": "rebalance_suggestion"}',
        '{"type": "suggestions", "suggestions": {}}',
        '{"type": "subscribe", "kinds": ["everything"]}',
        '{"type": "suggestions", "suggestions": [' + ",".join(["{}"] * 101) + "]}",
        "[" * 30_000,
        '{"type": "connection_test", "data": ' + "9" * 5_000 + "}",
        '{"type": "connection_test", "data": 1e999}',
        b"\xff\xfe{}",
    ],
)
def test_a_message_that_makes_no_sense_gets_an_error_and_the_client_stays(message):
    with streamed() as env, Client(env) as client:
        assert client.ask(message, "error")["data"]["reason"]
        client.ask({"type": "ping"}, "pong")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
kinds = st.sampled_from(
    ["ping", "register", "subscribe", "suggestions", "rebalance_suggestion", "connection_test", "request_suggestions"]
)
keys = st.sampled_from(["data", "suggestion", "suggestions", "kinds", "client", "type", "event_type"])
messages = st.builds(lambda kind, rest: {**rest, "type": kind}, kinds, st.dictionaries(keys, json_values, max_size=4))


@pytest.fixture(scope="module")
def target():
    with streamed(messages_per_second=1e6, max_clients=10_000) as env:  # many at once, so many may join
        BridgeAgent(env.bridge.problem, env.bridge)
        env.reset(seed=0)
        yield env


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.one_of(messages.map(json.dumps), st.text(max_size=200), st.binary(max_size=200)), max_size=8))
def test_hostile_messages_cost_nothing_but_their_answers(target, texts):
    with Client(target) as client, Client(target) as witness:  # the client may unsubscribe from steps
        for text in texts:
            with contextlib.suppress(UnicodeEncodeError):
                client.send(text)
        client.ask({"type": "ping"}, "pong")
        target.step(0)
        assert witness.until("step")["data"]["rebalance"]["status"] == "none"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), upgraded=st.booleans())
def test_hostile_bytes_disturb_nobody_else(target, garbage, upgraded):
    with Client(target) as witness:
        witness.until("connection_status")
        peer = raw_socket(target) if upgraded else socket.create_connection(("127.0.0.1", target.bridge.port))
        with peer, contextlib.suppress(OSError):
            for piece in garbage:
                peer.sendall(piece)
        target.step(0)
        assert witness.until("step")["data"]["rebalance"]["status"] == "none"


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x85abcdHell",  # cut off
        b"\x81\xff" + struct.pack(">Q", 2**40) + b"abcd",  # a terabyte announced
        b"\x83\x80abcd",  # reserved opcode
        b"\xf1\x80abcd",  # reserved bits
        b"\x81\x05hello",  # not masked
        b"\x89\xfe\x00\x7eabcd" + b"x" * 126,  # ping too long
        b"\x01\x85abcdHello",  # first fragment, never finished
    ],
)
def test_broken_frames_end_at_most_their_own_connection(frame):
    with streamed() as env, Client(env) as witness:
        env.reset(seed=1)
        with raw_socket(env) as peer:
            peer.sendall(frame)
            env.step(0)
            assert witness.until("step")["data"]["step"] == 0
        env.step(0)
        assert witness.until("step")["data"]["step"] == 1
        wait_until(lambda: env.bridge.counts().clients == 1)


def test_an_oversized_message_ends_the_connection_and_nothing_else():
    with streamed(max_message_bytes=1000) as env, Client(env) as witness, Client(env) as client:
        with contextlib.suppress(ConnectionClosed):
            client.send(json.dumps({"type": "ping", "data": "x" * 1000}))
            client.until("never")
        assert client.connection.close_code == 1009
        witness.ask({"type": "ping"}, "pong")


def test_a_client_that_talks_too_fast_is_told_so_and_others_are_answered():
    with streamed(messages_per_second=5) as env, Client(env) as witness, Client(env) as client:
        for _ in range(100):
            client.send({"type": "ping"})
        assert "messages per second" in client.until("error")["data"]["reason"]
        assert sum(message["type"] == "pong" for message in client.messages) < 30
        witness.ask({"type": "ping"}, "pong")


def test_every_suggestion_of_a_list_counts():
    with streamed(messages_per_second=5) as env, Client(env) as client:
        client.send({"type": "suggestions", "suggestions": [{}] * 50})
        assert "came too fast: ignored" in client.until("error")["data"]["reason"]
        assert 5 <= sum(message["type"] == "suggestion_ack" for message in client.messages) < 30


def test_a_client_that_asks_on_and_never_reads_is_cut_off_before_its_answers_fill_the_memory():
    with streamed(messages_per_second=1e6) as env, raw_socket(env) as deaf:
        wait_until(lambda: env.bridge.counts().clients)
        question = Frame(Opcode.TEXT, json.dumps({"type": "connection_test", "data": "x" * 60_000}).encode())
        with contextlib.suppress(OSError):
            for _ in range(2000):
                deaf.sendall(question.serialize(mask=True))
        wait_until(lambda: not env.bridge.counts().clients)


def test_a_client_that_rests_is_not_cut_off_for_what_it_said_before(monkeypatch):
    monkeypatch.setattr(session, "MAX_EXCESS", 50)
    with streamed(messages_per_second=50) as env, Client(env) as client:
        for rest_s in (2.2, 0.2):  # the first is long enough to be allowed a full burst again
            for _ in range(140):
                client.send({"type": "ping"})
            time.sleep(rest_s)
        assert client.caught_up()[-1]["type"] == "connection_test_response"


def test_asking_over_and_over_is_turned_away():
    with streamed(max_clients=2) as env:
        answers = [_status_of(env) for _ in range(100)]
    assert answers[:4] == [200] * 4
    assert 429 in answers


def test_connecting_over_and_over_is_turned_away():
    with streamed(max_clients=3) as env:
        for _ in range(3):
            with Client(env) as client:
                client.receive()
        wait_until(lambda: not env.bridge.counts().clients)
        with pytest.raises(InvalidStatus, match="429"), Client(env):
            pass
        time.sleep(0.3)
        with Client(env) as client:
            client.ask({"type": "ping"}, "pong")


def _status_of(env):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{env.bridge.port}/api/suggestions").status
    except urllib.error.HTTPError as problem:
        return problem.code


def test_whatever_a_wrapper_puts_into_the_info_is_streamed_as_text():
    class Annotated(gym.Wrapper):
        def step(self, action):
            *result, info = super().step(action)
            return (*result, {**info, "note": 1 + 2j})

    with StreamEpisodes(Annotated(gym.make("LightningNet-v0")), port=0) as env, Client(env) as client:
        env.reset(seed=0)
        env.step(0)
        assert client.until("step")["data"]["info"]["note"] == "(1+2j)"


def test_more_clients_than_allowed_are_turned_away():
    with streamed(max_clients=2) as env, Client(env) as first, Client(env) as second:
        first.receive()
        second.receive()
        with pytest.raises(InvalidStatus, match="503"), Client(env):
            pass
        first.ask({"type": "ping"}, "pong")


@pytest.mark.parametrize(
    ("origin", "lets_in"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:8080", True),
        ("https://dashboard.example", True),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("null", False),
        ("http://[::1", False),
    ],
)
def test_web_pages_connect_only_from_known_origins(origin, lets_in):
    with streamed(origins=["https://dashboard.example"]) as env:
        refused = contextlib.nullcontext() if lets_in else pytest.raises(InvalidStatus, match="403")
        with refused, Client(env, additional_headers={"Origin": origin}) as client:
            client.receive()


def test_a_name_that_was_pointed_at_this_machine_is_no_way_in():
    with streamed() as env:
        request = urllib.request.Request(
            f"http://127.0.0.1:{env.bridge.port}/api/suggestions", headers={"Host": "evil.example"}
        )
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)


def test_beyond_loopback_the_bridge_asks_for_a_token_file():
    with pytest.raises(ConfigError, match="token_file"):
        BridgeSettings.of({"host": "0.0.0.0"})
    BridgeSettings.of({"host": "::1"})
    assert BridgeSettings().host == "127.0.0.1"


def test_a_token_is_made_for_its_owner_alone_and_asked_of_everyone(tmp_path):
    file = tmp_path / "token"
    with streamed(host="0.0.0.0", token_file=str(file)) as env:
        assert file.stat().st_mode & 0o777 == 0o600
        token = file.read_text().strip()
        assert len(token) >= 32
        for path, headers in (("/", {}), ("/?token=no", {}), ("/", {"Authorization": "Bearer no"}), ("/?token=", {})):
            with pytest.raises(InvalidStatus, match="401"), Client(env, path, additional_headers=headers):
                pass
        with Client(env, f"/?token={token}") as client:
            client.receive()
        with Client(env, additional_headers={"Authorization": f"Bearer {token}"}) as client:
            client.receive()
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Gate(BridgeSettings(token_file=str(file)))


def test_other_paths_are_unknown_and_the_schema_is_served():
    with streamed() as env:
        base = f"http://127.0.0.1:{env.bridge.port}"
        with urllib.request.urlopen(f"{base}/api/schema") as response:
            assert json.load(response)["title"] == "lightningnet/1"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{base}/etc/passwd")


def test_a_client_that_stops_reading_loses_its_oldest_messages_and_holds_nobody_up():
    with streamed(queue_messages=200) as env, Client(env) as reader:
        reader.until("connection_status")
        with raw_socket(env) as sleeper:
            sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wait_until(lambda: env.bridge.counts().clients >= 2)
            env.reset(seed=1)
            wait_until(lambda: env.bridge.counts().dropped, meanwhile=lambda: (env.step(0), reader.until("step")))
            reader.caught_up()
            assert [m["seq"] for m in reader.published()] == list(range(1, env.bridge.seq + 1))


def test_a_slow_client_is_told_how_much_it_lost():
    with streamed(queue_messages=50) as env, Client(env) as client:
        client.until("connection_status")
        env.reset(seed=1)
        with raw_socket(env) as sleeper:
            sleeper.settimeout(20)
            wait_until(lambda: env.bridge.counts().clients >= 2)
            wait_until(lambda: env.bridge.counts().dropped, meanwhile=lambda: env.step(0))
            received = bytearray()
            wait_until(
                lambda: b'"type":"dropped"' in received[-200_000:],
                meanwhile=lambda: received.extend(sleeper.recv(2**20)),
            )
            lost = re.search(rb'"type":"dropped".*?"messages":(\d+)', received)
            assert int(lost[1]) > 0


def test_clients_that_vanish_are_removed_one_by_one_and_the_rest_hear_on():
    with streamed() as env, Client(env) as witness:
        env.reset(seed=1)
        peers = [raw_socket(env) for _ in range(20)]
        wait_until(lambda: env.bridge.counts().clients >= 21)
        for peer in peers:
            # Half a frame, then a reset instead of a goodbye.
            peer.sendall(b"\x81\xfe\x01")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            env.step(0)
            witness.until("step")
        wait_until(lambda: env.bridge.counts().clients == 1)


def test_a_client_without_a_sign_of_life_is_removed_and_one_that_gives_signs_is_not():
    with streamed(ping_interval_s=1) as env, Client(env) as witness, raw_socket(env):
        wait_until(lambda: env.bridge.counts().clients >= 2)
        wait_until(lambda: env.bridge.counts().clients == 1, deadline_s=40)
        assert witness.ask({"type": "ping"}, "pong")["type"] == "pong"


def test_a_client_that_reads_slowly_stays_and_is_removed_once_it_stops():
    with streamed(ping_interval_s=0.5, queue_messages=500) as env, raw_socket(env) as slow:
        wait_until(lambda: env.bridge.counts().clients)
        env.reset(seed=1)
        until = time.monotonic() + 4
        while time.monotonic() < until:  # never a pong: those stand behind a backlog that grows
            env.step(0)
            slow.recv(2**12)
        assert env.bridge.counts().dropped
        assert env.bridge.counts().clients == 1
        wait_until(lambda: not env.bridge.counts().clients, deadline_s=40, meanwhile=lambda: env.step(0))


def test_the_episode_goes_on_when_the_server_is_gone():
    with streamed() as env:
        agent = BridgeAgent(env.bridge.problem, env.bridge)
        with Client(env) as client, ThreadPoolExecutor(1) as pool:
            client.until("connection_status")
            rewards = []
            for step, (reward, _) in enumerate(play(env, agent, 40, 6)):
                rewards.append(reward)
                if step == 10:
                    agent.deadline_s = 10**6  # the next step waits for the client, and the server dies meanwhile
                    dead = pool.submit(lambda: (time.sleep(0.3), _kill_server(env)))
            dead.result()
            assert len(list(play(env, agent, 5, 6))) == 5
        assert len(rewards) == 40
        assert not env.bridge.listening


def _kill_server(env):
    """Let everything that the server's thread does die under it."""
    server = env.bridge._server
    loop = server._loop
    thread = server._thread
    loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    thread.join(20)
    assert not thread.is_alive()


def test_a_stream_that_closes_lets_clients_take_what_was_published():
    with streamed(payments_per_step=200) as env, raw_socket(env) as behind:
        wait_until(lambda: env.bridge.counts().clients)
        env.reset(seed=1)
        for _ in range(90):
            env.step(0)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(env.close)
            received = b"".join(iter(lambda: behind.recv(2**20), b""))
    assert received.count(b'"type":"step"') == 90
    assert received.count(b'"type":"episode_end"') == 1


def test_closing_says_goodbye_and_can_be_done_twice():
    env = streamed()
    with Client(env) as client:
        client.until("connection_status")
        env.close()
        env.close()
        with pytest.raises(ConnectionClosed):
            client.until("never")
        assert client.connection.close_code == 1001
