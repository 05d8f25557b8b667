"""Every command and every program in the README and in the documentation runs."""

import itertools
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import gymnasium as gym
import pytest

import lnsim_gym
from tests.blocks import ALL, CHECKOUT, README, blocks_of, marked
from tests.network.importers.formats import KEYS, describegraph, describegraph_edge
from tests.own_node.coverage import history
from tests.own_node.exports import core_graph, peer_channel
from tests.own_node.exports import write as write_exports
from tests.own_node.histories import recipe_of, write_folder
from tests.waiting import wait_until

SET_UP = "set up"
TESTS = "test"
SLOW = "slow"
TEN_MINUTES = "ten minutes"
LONG = re.compile(
    r"torch|lnsim bench|lnsim train|--seeds|circular_routes|LightningOperator|lnsim list|--plot|lnsim soak"
)
"""What takes more than ten seconds: training, comparing agents, measuring, kernels that nothing else needs."""
ELSEWHERE = {
    *(SET_UP, TESTS, "quick test"),  # run by the check script, from nothing; the last is both in one line
    "torch",  # takes PyTorch from an index of its own, which not every machine reaches
    *("stream", "server", "node", "node run", "quick start"),  # run below
    *("toolkits", "data sets", "data set read", "cluster"),  # run by the tests of toolkits, in an environment of theirs
    "evolution",  # the tests of training evolve on a smaller recipe
    "parity",  # a small piece is run by the tests of the comparison with real nodes
    *("own node exports", "own node", "own node backtest"),  # run below, one after the other
    *("own node of core lightning", "own node advice", "own node in short", "own node decided"),  # run below
    *("client", "lens"),  # run by the tests of the bridge, which start what they connect to
}
CODE = CHECKOUT / "lnsim_gym" / "compiled" / "machine_code"
PORT = "6789"
REAL_NODES = re.compile(r"--backend lnd|lnsim up")


def parameters(blocks):
    """Return parameters of a test, marked as slow where they are."""
    return [pytest.param(each, id=each.id, marks=[pytest.mark.slow] * bool(LONG.search(each.code))) for each in blocks]


def here(language):
    """Return the blocks of a language that are run by themselves."""
    return [block for block in ALL if block.language == language and block.mark not in ELSEWHERE]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def run(command, folder, timeout_s=600) -> str:
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | {"PATH": path, "LNSIM_STATE_DIR": str(folder / "state")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("block", parameters(here("python")))
def test_a_program_runs(block, tmp_path):
    if "sb3" in block.code:
        pytest.importorskip("sb3_contrib", reason="needs the extra 'train'")
    program = block.code.replace(PORT, free_port())
    if block.mark == TEN_MINUTES:  # the same program on fewer episodes and steps
        for whole, piece in (("150_000", "2_000"), ("range(16)", "range(1)"), ("10_004", "10_001")):
            assert whole in program
            program = program.replace(whole, piece)
    run([sys.executable, "-W", "error::DeprecationWarning", "-c", program], tmp_path)


@pytest.mark.parametrize("block", parameters(each for each in here("bash") if not REAL_NODES.search(each.code)))
def test_commands_run(block, tmp_path):
    commands = block.code
    if block.mark == SLOW:  # the same command on fewer seeds
        commands, changed = re.subn(r"--seeds (\d+):\d+", r"--seeds \1:1000002", commands)
        assert changed
    put_node(tmp_path)
    run(["bash", "-euc", commands.replace(".venv/bin/", "")], tmp_path)


def put_node(folder):
    """Put the graph that a node knows into a folder, as a file and behind an ``lncli``."""
    edges = [describegraph_edge(*ends, "1000000") for ends in itertools.combinations(KEYS, 2)]
    (folder / "graph.json").write_text(json.dumps(describegraph(*edges)))
    (folder / "lncli").write_text("#!/bin/sh\ncat graph.json\n")
    (folder / "lncli").chmod(0o755)


@pytest.mark.lnd
@pytest.mark.parametrize("block", parameters(each for each in here("bash") if REAL_NODES.search(each.code)))
def test_commands_on_real_nodes_run(block, lnd_binaries, tmp_path):
    try:
        run(["bash", "-euc", block.code], tmp_path)
    finally:
        run(["lnsim", "down"], tmp_path)


@pytest.mark.parametrize("block", parameters(here("toml") + here("json")))
def test_data_is_well_formed(block):
    (tomllib.loads if block.language == "toml" else json.loads)(block.code)


def test_nothing_is_printed_that_no_test_runs():
    known = {"python", "bash", "toml", "json", "text"}
    assert [block.id for block in ALL if block.language not in known and block.mark not in ELSEWHERE] == []


def put_program(folder, name, answers):
    """Put a command line of a node into a folder, which prints a file for each command."""
    cases = "".join(f"{command}) cat '{file}';;" for command, file in answers.items())
    (folder / name).write_text(f"#!/bin/sh\ncase $1 in {cases} *) exit 1;; esac\n")
    (folder / name).chmod(0o755)


def test_a_node_of_ones_own_is_exported_imported_and_booked(tmp_path):
    told = {"describegraph": "graph", "listchannels": "channels", "fwdinghistory": "history"}
    told |= {"listpayments": "payments", "listchaintxns": "chain"}
    (tmp_path / "told").mkdir()
    files = write_exports(tmp_path / "told")
    put_program(tmp_path, "lncli", {command: files[name] for command, name in told.items()})
    run(["bash", "-euc", marked("own node exports").code], tmp_path)
    out = run(["bash", "-euc", marked("own node").code], tmp_path)
    assert "2 channels, 5 forwards, 1 refills, in mynode" in out
    assert "<svg" in (tmp_path / "books.html").read_text()
    out = run(["bash", "-euc", marked("own node in short").code], tmp_path)
    assert "2 channels, 5 forwards, 1 refills, in mynode" in out
    assert "sat earned" in out


def test_a_node_of_core_lightning_is_exported_and_imported(tmp_path):
    (tmp_path / "told").mkdir()
    channels, nodes = core_graph().splitlines()
    own = [peer_channel("bert", "700000x0x0", 100_000_000), peer_channel("cleo", "700001x0x0", 700_000_000)]
    event = {"in_channel": "700001x0x0", "out_channel": "700000x0x0", "in_msat": 5001, "out_msat": 5000}
    event |= {"received_time": 1.6e9, "status": "settled"}
    told = {"listchannels": channels, "listnodes": nodes}
    told |= {"listpeerchannels": json.dumps({"channels": own}), "listforwards": json.dumps({"forwards": [event]})}
    for name, text in told.items():
        (tmp_path / "told" / name).write_text(text)
    put_program(tmp_path, "lightning-cli", {name: tmp_path / "told" / name for name in told})
    run(["bash", "-euc", marked("own node of core lightning").code], tmp_path)
    out = run(["bash", "-euc", "lnsim node import graph.json channels.json history.json --out mynode"], tmp_path)
    assert "anna: 2 channels, 1 forwards" in out


@pytest.mark.slow
def test_a_node_of_ones_own_is_advised(tmp_path):
    from tests.own_node.folders import put_history  # noqa: PLC0415 - prepares the compiler

    put_history(tmp_path / "mynode", days=30)
    out = run(["bash", "-euc", marked("own node advice").code], tmp_path)
    assert "to leave alone (39 draws of what is not known, 7 days)" in " ".join(out.split())
    assert json.loads((tmp_path / "advice.json").read_text())["agent"] == "charge_lnd"
    assert (tmp_path / "scores.svg").read_text().startswith("<svg")


@pytest.mark.slow
def test_a_node_of_ones_own_is_tested_backwards(tmp_path):
    known = history(104, recipe_of(tmp_path, 20), weeks=3)
    write_folder(known, tmp_path / "mynode")
    command = marked("own node backtest").code.replace("--weeks 4", "--weeks 1 --draws 20")
    assert "the simulation reproduces it" in " ".join(run(["bash", "-euc", command], tmp_path).split())
    command = marked("own node decided").code.replace("backtest mynode", "backtest mynode --weeks 1 --draws 20 -p noop")
    out = " ".join(run(["bash", "-euc", command.replace("mynode --th", "mynode --draws 6 --th")], tmp_path).split())
    assert "to leave alone (6 draws of what is not known, 7 days)" in out
    assert "the simulation reproduces it" in out


def play_stream(server, client, folder):
    """Run a server, and a client with its port in place of the one printed; return what the client says."""
    port = free_port()
    lnsim = [sys.executable, "-m", "lnsim_gym", *shlex.split(server)[1:], "--port", port]
    with subprocess.Popen(lnsim, cwd=folder) as stream:
        try:
            wait_until(lambda: stream.poll() is not None or listens(int(port)), deadline_s=120)
            said = run([*client, f"ws://127.0.0.1:{port}"], folder, timeout_s=500)
            assert stream.wait(timeout=60) == 0
        finally:
            stream.kill()
    return said


def listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_stream_and_its_client_run(tmp_path):
    server, client = marked("stream").code.splitlines()
    assert client.startswith("python ")
    assert "applied" in play_stream(server, [sys.executable, *client.split()[1:], "--uri"], tmp_path)


@pytest.mark.slow
def test_the_client_in_another_language_is_heard_in_every_step(tmp_path):
    if shutil.which("node") is None:
        pytest.skip("needs Node.js")
    (tmp_path / "client.mjs").write_text(marked("node").code)
    command = shlex.split(marked("node run").code)
    assert command.pop().endswith(f":{PORT}")
    said = play_stream(marked("server").code, command, tmp_path)
    assert said.count(" sat applied") >= 15
    assert "% settled" in said
    assert "suggestions {" in said


def test_set_up_and_tests_are_what_the_check_script_runs():
    script = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")
    marks = [block.mark for block in blocks_of(README) if block.mark in (SET_UP, TESTS)]
    assert marks == [SET_UP, TESTS]
    assert f'readme "{SET_UP}"' in script
    assert f"readme {TESTS}" in script


def test_the_lines_for_the_impatient_are_the_commands_below():
    install, _ = marked(SET_UP).code.splitlines()
    assert marked("quick test").code.strip() == f"{install} && {marked(TESTS).code.strip()}"
    plain = install.replace("-e '.[dev]'", ".")
    assert marked("quick start").code.strip() == f"{plain} && {marked('run').code.strip()}"


@pytest.mark.slow
def test_the_quick_start_installs_and_plays(tmp_path):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    # Machine code, where the checkout has some, comes along: that it is made from nothing is seen by the set-up.
    machine_code = [str(path.relative_to(CHECKOUT)) for path in CODE.rglob("*") if path.is_file()]
    for name in filter(None, [*listed.split("\0"), *machine_code]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, tmp_path / name)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    done = subprocess.run(
        ["bash", "-euc", marked("quick start").code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "payments/second" in done.stdout
    assert "compiling" not in done.stderr
    site = next((tmp_path / ".venv").glob("lib/python*/site-packages/lnsim_gym/site/index.html"))
    assert "lnsim_gym" in site.read_text()


def test_the_citation_names_this_version():
    assert f"\nversion: {lnsim_gym.__version__}\n" in (CHECKOUT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_environment_is_in_the_table():
    named = set(re.findall(r"^\| `(\w+-v\d+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {name for name in gym.registry if name.startswith("Lightning")}
