"""Lightning Lens: its checkout runs unmodified, with three coercions, and its proxy gets every record once."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lnsim_gym.bridge import lens_shim
from lnsim_gym.bridge.lens import run_lens
from lnsim_gym.bridge.push import MAX_TRIES, MAX_WAITING, LensPusher
from lnsim_gym.errors import ConfigError, MissingDependency
from tests.bridge.clients import streamed
from tests.bridge.proxy import Proxy
from tests.waiting import wait_until

# What the real client does and needs, without its libraries: datetimes in the learner, capacity among the features,
# and a websocket that it never sets itself.
CLIENT = """
import asyncio, datetime, json, websockets
from src.learner import Learner, Features

class LightningLensClient:
    def __init__(self, websocket_uri):
        self.websocket_uri = websocket_uri
        self.feature_processor = Features()
        self.online_learner = Learner()
        self.channels = {}

    async def connect(self):
        async with websockets.connect(self.websocket_uri) as websocket:
            await websocket.send(json.dumps({"type": "register", "client": "lightning_lens"}))
            async for message in websocket:
                await self.process_message(message)

    async def process_message(self, message):
        data = json.loads(message)
        if data.get("event_type") in ("transaction", "channel_state"):
            self.channels.update(data["channels"])
            if data["event_type"] == "channel_state":
                self.online_learner.add_channel_state(data)
            else:
                self.online_learner.add_transaction(data)
            if len(self.online_learner.buffer) == 30:
                rows = [{**channel, "node": node} for node, ends in self.channels.items() for channel in ends]
                column = {"capacity": [row["capacity"] for row in rows]}
                capacity = self.feature_processor.process_features(column)["capacity"][0]
                suggestion = {"from_node": "lnd-alice", "to_node": "lnd-bob", "amount": capacity // 100}
                await self.websocket.send(json.dumps({"type": "suggestions", "suggestions": [suggestion]}))
        if data.get("type") == "suggestion_ack":
            print(json.dumps(data["data"]), flush=True)
            raise SystemExit
"""
LEARNER = """
import datetime

class Learner:
    def __init__(self):
        self.buffer = []

    def add_transaction(self, record):
        if not isinstance(record["timestamp"], datetime.datetime):
            raise TypeError("unsupported operand type(s) for -: 'str' and 'str'")
        self.buffer.append(record)
        return False

    def add_channel_state(self, record):
        record["_data_type"] = "channel_state"
        return self.add_transaction(record)

class Features:
    def process_features(self, data):
        return {"channel_id": [], "balance_ratio": []}
"""


@pytest.fixture(params=["", "Lightning-Lens/lightning_lens"], ids=["original", "platform"])
def checkout(request, tmp_path):
    """A checkout with the layout of either repository."""
    root = tmp_path / "checkout" / request.param
    for folder in ("scripts", "src", "configs"):
        (root / folder).mkdir(parents=True)
    (root / "scripts" / "websocket_client.py").write_text(textwrap.dedent(CLIENT))
    (root / "src" / "learner.py").write_text(textwrap.dedent(LEARNER))
    (root / "pandas.py").write_text("from datetime import datetime\nto_datetime = datetime.fromisoformat\n")
    return tmp_path / "checkout"


def test_an_unmodified_checkout_learns_and_suggests_through_the_shim(checkout, tmp_path):
    before = sorted(checkout.rglob("*"))
    workdir = tmp_path / "work"
    workdir.mkdir()
    with streamed() as env:
        command = [sys.executable, lens_shim.__file__, str(checkout), "--uri", f"ws://127.0.0.1:{env.bridge.port}"]
        with subprocess.Popen(command, cwd=workdir, stdout=subprocess.PIPE, text=True) as lens:
            wait_until(lambda: env.bridge.counts().clients or lens.poll() is not None)
            assert lens.poll() is None
            env.reset(seed=1)
            env.step(0)
            answer = json.loads(lens.stdout.readline())
    assert (answer["status"], answer["amount"]) == ("refused", 10_000)
    assert "no agent takes suggestions" in answer["why"]
    assert sorted(checkout.rglob("*")) == before
    assert (workdir / "data" / "models").is_dir()


def test_a_folder_without_lightning_lens_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="clone Lightning Lens"):
        run_lens(tmp_path, "ws://127.0.0.1:1")


def test_an_interpreter_may_be_named_from_the_current_folder(checkout, tmp_path, monkeypatch):
    here = tmp_path / "lens-env"
    here.mkdir()
    (here / "python").write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$3 $4" > ran\n')
    (here / "python").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert run_lens(Path("checkout"), "ws://127.0.0.1:1", python="lens-env/python", workdir=Path("work")) == 0
    assert (tmp_path / "work" / "ran").read_text() == "--uri ws://127.0.0.1:1\n"


def test_an_interpreter_without_its_requirements_is_named_with_the_remedy(checkout, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(MissingDependency, match="--python"):
        run_lens(checkout, "ws://127.0.0.1:1", python=str(bare), workdir=tmp_path / "work")
    with pytest.raises(ConfigError, match="expected a Python interpreter"):
        run_lens(checkout, "ws://127.0.0.1:1", python=str(tmp_path / "none"))


def test_each_payment_and_each_changed_end_is_posted_once_with_rolling_values():
    with Proxy() as proxy, streamed(lens=f"http://127.0.0.1:{proxy.server_port}") as env:
        env.reset(seed=3)
        for _ in range(3):
            env.step(0)
        messages = env.bridge.seq - 4  # all but the reset and the steps
        wait_until(lambda: env.bridge.pusher.counts().sent == messages)
        records = proxy.records
    payments = [record for record in records if record["event_type"] == "transaction"]
    assert len(payments) == 60
    assert len({record["timestamp"] for record in records}) == len(records) == messages
    for record in records:
        assert record["path"] == "/api/update"
        assert all(record[field] is not None for field in Proxy.FIELDS)
    assert len({record["success_rate"] for record in payments}) > 5
    assert len({record["avg_amount"] for record in payments}) > 20


def test_a_proxy_that_is_down_costs_the_episode_nothing_and_gets_what_is_left_when_it_is_up():
    with Proxy() as taken:
        port = taken.server_port
    with streamed(lens=f"http://127.0.0.1:{port}") as env:
        env.reset(seed=3)
        env.step(0)
        assert env.bridge.pusher.counts().sent == 0
        with Proxy(port) as proxy:
            wait_until(lambda: env.bridge.pusher.counts().sent == env.bridge.seq - 2)
            assert len(proxy.records) == env.bridge.seq - 2


def test_records_beyond_the_queue_are_dropped_oldest_first_and_counted():
    pusher = LensPusher("http://127.0.0.1:9")
    pusher.offer({"number": number} for number in range(MAX_WAITING + 25))
    assert pusher.counts() == (0, 0, 25)


def test_a_proxy_whose_own_server_is_down_gets_the_records_again():
    with Proxy() as proxy:
        proxy.status_of = lambda record: 500
        pusher = LensPusher(f"http://127.0.0.1:{proxy.server_port}")
        pusher.start()
        pusher.offer([{"number": 1}, {"number": 2}])
        wait_until(lambda: proxy.records)
        proxy.status_of = lambda record: 200
        wait_until(lambda: pusher.counts().sent == 2)
        pusher.stop()
        assert pusher.counts() == (2, 0, 0)
        assert {record["number"] for record in proxy.records} == {1, 2}


def test_a_record_that_the_proxy_always_fails_on_does_not_hold_up_the_others():
    with Proxy() as proxy:
        proxy.status_of = lambda record: 500 if record["number"] == 1 else 200
        pusher = LensPusher(f"http://127.0.0.1:{proxy.server_port}")
        pusher.start()
        pusher.offer([{"number": 1}, {"number": 2}])
        wait_until(lambda: pusher.counts().sent == 1)
        pusher.stop()
        assert pusher.counts() == (1, 1, 0)
        assert [record["number"] for record in proxy.records] == [1] * MAX_TRIES + [2]


@pytest.mark.parametrize("status", [400, 308])
def test_records_that_the_proxy_refuses_are_counted_and_not_sent_again(status):
    with Proxy() as proxy:
        proxy.status_of = lambda record: status
        pusher = LensPusher(f"http://127.0.0.1:{proxy.server_port}")
        pusher.start()
        pusher.offer([{"number": 1}, {"number": 2}])
        wait_until(lambda: pusher.counts().refused == 2)
        pusher.stop()
        assert [record["number"] for record in proxy.records] == [1, 2]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:5050",
        "https://127.0.0.1",
        "http://",
        "ftp://x",
        "http://x:y",
        "http://[::1",
        "http://a..b",
        "http://x/\u00e9",
    ],
)
def test_an_address_that_is_no_plain_http_is_refused(address):
    with pytest.raises(ConfigError, match="expected an address"):
        LensPusher(address)
