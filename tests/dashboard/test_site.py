"""The page's files: complete, from here alone, and as they were made."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from lnsim_gym.agents import known_agents
from lnsim_gym.dashboard import Dashboard
from lnsim_gym.dashboard.site import STATIC, find_page
from tests.bridge.clients import Client, streamed


@pytest.fixture
def served():
    with streamed() as env:
        env.bridge.add_desk(Dashboard(env.bridge.problem.topology, known_agents(), lambda name: env))
        yield env


def fetch(env, path="/", **headers):
    return urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{env.bridge.port}{path}", headers=headers))


def test_vendored_files_are_those_that_were_made():
    lines = (STATIC / "vendor" / "SHA256SUMS").read_text().splitlines()
    recorded = {name: digest for digest, name in (line.split() for line in lines)}
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (STATIC / "vendor").iterdir()
        if file.name != "SHA256SUMS"
    }
    assert found == recorded


def test_the_page_is_served_with_a_strict_policy_at_the_address_of_the_bridge(served):
    with fetch(served) as page:
        policy = page.headers["Content-Security-Policy"]
        assert page.headers["Content-Type"].startswith("text/html")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert b'<script src="/begin.js">' in page.read()
    with Client(served) as client:
        assert client.receive()["type"] == "state_update"


def test_nothing_is_loaded_from_elsewhere():
    for file in [*STATIC.glob("*.js"), *STATIC.glob("*.html"), *STATIC.glob("*.css")]:
        for loaded in re.findall(r"""(?:src=|href=|\bfrom |\bimport )["']([^"'#,]+)["']""", file.read_text()):
            path = f"/{loaded}" if not loaded.startswith(("/", ".")) else loaded.removeprefix(".")
            assert find_page(path), f"{file.name} loads {loaded}"


@pytest.mark.parametrize(
    "path", ["/../desk.py", "/%2e%2e/desk.py", "/vendor/", "/static/app.js", "//app.js", "/app.js/"]
)
def test_no_other_file_can_be_had(served, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(served, path)


def test_a_name_that_was_pointed_at_this_machine_gets_no_page(served):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(served, Host="evil.example")


def test_the_page_needs_no_token_and_what_it_shows_does(tmp_path):
    with streamed(token_file=str(Path(tmp_path) / "token")) as env:
        env.bridge.add_desk(Dashboard(env.bridge.problem.topology, [], lambda name: env))
        assert fetch(env).status == 200
        with pytest.raises(urllib.error.HTTPError, match="401"):
            fetch(env, "/api/suggestions")
