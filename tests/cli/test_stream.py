"""The commands of the bridge, as a user runs them: a stream to its end, and one clear error for each wrong request."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.bridge.proxy import Proxy
from tests.cli.test_commands import COMMAND


@contextmanager
def streaming(*arguments: str):
    """A stream on a port that the system chose: the process and the address it names."""
    command = [*COMMAND, "stream", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            # It may say first that it compiles.
            line = next(line for line in process.stderr if line.startswith("streaming "))
            yield process, line.split(" on ")[1].split(",")[0]
        finally:
            process.kill()


def test_a_stream_begins_with_its_first_client_and_tells_it_everything_to_the_end():
    with streaming("--wait", "--steps", "30", "--steps-per-second", "0") as (process, address):
        with connect(address, max_size=None) as client:
            messages = [json.loads(raw) for raw in client]
        assert process.wait(60) == 0
    assert [message["data"]["step"] for message in messages if message["type"] == "step"] == list(range(30))
    assert messages[-1]["type"] == "episode_end"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_stream_that_is_told_to_end_says_goodbye_and_nothing_else(number, status):
    with streaming("--steps-per-second", "50") as (process, address), connect(address, max_size=None) as client:
        client.recv()
        process.send_signal(number)
        for _ in client:
            pass
        assert client.close_code == 1001
        assert process.wait(60) == status
        assert "Traceback" not in process.stderr.read()


def test_a_stream_says_what_became_of_the_records_it_posted(lnsim):
    with Proxy() as proxy:
        status, _, err = lnsim("stream", "--port", 0, "--steps", 2, "--lens", f"http://127.0.0.1:{proxy.server_port}")
    assert status == 0
    assert f"took {len(proxy.records)} records, refused 0; 0 were dropped" in err
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts, and never answers
        port = deaf.getsockname()[1]
        status, _, err = lnsim("stream", "--port", 0, "--steps", 2, "--lens", f"http://127.0.0.1:{port}")
    assert status == 0
    assert "took 0 records" in err
    assert "; 0 were dropped" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--agent", "noopp"), "Did you mean 'noop'"),
        (("--fallback", "noopp"), "Did you mean 'noop'"),
        (("--agent", "noop", "--deadline", "5"), "with the agent 'bridge' only"),
        (("--agent", "noop", "--fallback", "targeted"), "with the agent 'bridge' only"),
        (("--deadline", "inf"), "deadline of 0 s or more"),
        (("--host", "0.0.0.0"), "set token_file"),
        (("--host", "192.0.2.1", "--token-file", "token"), "choose another address"),
        (("--token-file", "missing/token"), "No such file or directory"),
        (("--token-file", "."), "Is a directory"),
        (("--token-file", "empty"), "expected a token in empty"),
        (("--lens", "127.0.0.1:5050"), "expected an address like http://127.0.0.1:5050"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_in_one_message(lnsim, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").touch(mode=0o600)
    status, _, err = lnsim("stream", "--port", 0, "--steps", 1, *arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_port_in_use_is_named_with_the_remedy(lnsim):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = lnsim("stream", "--port", port, "--steps", 1)
    assert status == 2
    assert f"port {port}" in err
    assert "choose another port" in err


def test_a_checkout_without_lightning_lens_is_refused_in_one_message(lnsim, tmp_path):
    status, _, err = lnsim("lens", tmp_path)
    assert status == 2
    assert err.startswith("error: expected one of scripts/websocket_client.py")
    assert len(err.splitlines()) == 1


def test_the_reference_client_without_a_bridge_says_how_to_start_one():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        command = [sys.executable, "-m", "lnsim_gym.bridge.reference", "--uri"]
        address = f"ws://127.0.0.1:{unused.getsockname()[1]}"
        done = subprocess.run([*command, address], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: expected a bridge at {address}")
    assert len(done.stderr.splitlines()) == 1


def test_beyond_loopback_a_stream_is_open_to_those_who_show_the_token(tmp_path):
    file = tmp_path / "token"
    with streaming("--host", "0.0.0.0", "--token-file", str(file)) as (_, address):
        polled = address.replace("ws://0.0.0.0", "http://127.0.0.1") + "/api/suggestions"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(polled)
        with urllib.request.urlopen(f"{polled}?token={file.read_text().strip()}") as response:
            assert json.load(response) == []


def test_a_stream_without_an_end_says_now_and_then_how_it_goes():
    with streaming("--agent", "noop", "--steps-per-second", "0") as (process, _):
        assert "LightningNet-v0, noop: step 100, " in process.stderr.readline()
        assert "LightningNet-v0, noop: step 200, " in process.stderr.readline()
