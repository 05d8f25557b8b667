"""Every command and every program in the README runs."""

import itertools
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.network.importers.formats import KEYS, describegraph, describegraph_edge
from tests.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:<!-- ([a-z ]+) -->\n)?```(bash|python)\n(.*?)```", README, re.DOTALL)
SET_UP = "set up"
TESTS = "test"
SLOW = "slow"
LONG = re.compile(r"torch|lnsim bench|lnsim train|--seeds")
"""What takes more than ten seconds: training, comparing agents, measuring."""
STREAM = "stream"
ELSEWHERE = ("client", "lens")  # run by the tests of the bridge, which start what they connect to
PORT = "6789"
PROGRAMS = [code for mark, language, code in BLOCKS if language == "python" and mark not in ELSEWHERE]
SHELL = [
    (mark, code)
    for mark, language, code in BLOCKS
    if language == "bash" and mark not in (SET_UP, TESTS, STREAM, *ELSEWHERE)
]
REAL_NODES = re.compile(r"--backend lnd|lnsim up")


def marked(*values: str) -> Any:
    """Return parameters of a test, marked as slow where they are."""
    return pytest.param(*values, marks=[pytest.mark.slow] * bool(LONG.search(values[-1])))


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def run(command: list[str], folder: Path, timeout_s: float = 600) -> str:
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    state = {"LNSIM_STATE_DIR": str(folder / "state")}
    env = os.environ | {"PATH": path} | state
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "program", [marked(code) for code in PROGRAMS], ids=lambda code: code.strip().splitlines()[0][:40]
)
def test_a_program_runs(program, tmp_path):
    if "sb3" in program:
        pytest.importorskip("sb3_contrib", reason="needs the extra 'train'")
    run([sys.executable, "-W", "error::DeprecationWarning", "-c", program.replace(PORT, free_port())], tmp_path)


@pytest.mark.parametrize(
    ("mark", "commands"),
    [marked(*pair) for pair in SHELL if not REAL_NODES.search(pair[1])],
    ids=lambda text: text.strip()[:40],
)
def test_commands_run(mark, commands, tmp_path):
    if mark == SLOW:  # the same command on fewer seeds
        commands, changed = re.subn(r"--seeds (\d+):\d+", r"--seeds \1:1000002", commands)
        assert changed
    put_node(tmp_path)
    run(["bash", "-euc", commands.replace(".venv/bin/", "")], tmp_path)


def put_node(folder: Path) -> None:
    """Put the graph that a node knows into a folder, as a file and behind an ``lncli``."""
    edges = [describegraph_edge(*ends, "1000000") for ends in itertools.combinations(KEYS, 2)]
    (folder / "graph.json").write_text(json.dumps(describegraph(*edges)))
    (folder / "lncli").write_text("#!/bin/sh\ncat graph.json\n")
    (folder / "lncli").chmod(0o755)


@pytest.mark.lnd
@pytest.mark.parametrize(
    "commands", [code for _, code in SHELL if REAL_NODES.search(code)], ids=lambda text: text.strip()[:40]
)
def test_commands_on_real_nodes_run(commands, lnd_binaries, tmp_path):
    try:
        run(["bash", "-euc", commands], tmp_path)
    finally:
        run(["lnsim", "down"], tmp_path)


@pytest.mark.slow
def test_a_stream_and_its_client_run(tmp_path):
    server, client = next(code for mark, _, code in BLOCKS if mark == STREAM).splitlines()
    port = free_port()
    lnsim = [Path(sys.executable).with_name("lnsim"), *server.split()[1:], "--port", port]
    with subprocess.Popen(lnsim, cwd=tmp_path) as stream:
        try:
            wait_until(lambda: stream.poll() is not None or listens(int(port)), deadline_s=60)
            run([sys.executable, *client.split()[1:], "--uri", f"ws://127.0.0.1:{port}"], tmp_path, timeout_s=120)
            assert stream.wait(timeout=60) == 0
        finally:
            stream.kill()


def listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def test_set_up_and_tests_are_what_the_check_script_runs():
    script = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")
    assert [mark for mark, *_ in BLOCKS if mark in (SET_UP, TESTS)] == [SET_UP, TESTS]
    assert f'readme "{SET_UP}"' in script
    assert f"readme {TESTS}" in script


def test_every_environment_is_in_the_table():
    named = set(re.findall(r"^\| `(\w+-v\d+)` \|", README, re.MULTILINE))
    assert named == {path.stem for path in (CHECKOUT / "envs").glob("*.toml")}
