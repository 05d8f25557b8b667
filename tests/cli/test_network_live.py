"""Named networks through the command itself, with both launchers: up, used, broken, repaired, kept, gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.backends.lnd.docker_things import Things, local_docker

pytestmark = pytest.mark.lnd

COMMAND = [sys.executable, "-c", "from lnsim_gym.cli import main; main()"]
NAME = f"test-{os.getpid()}"
LINE = """\
nodes = ["one", "two", "three"]
[[channels]]
initiator = "one"
peer = "two"
capacity_sat = 1_000_000
[[channels]]
initiator = "two"
peer = "three"
capacity_sat = 1_000_000
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(home) -> Run:
    """Run lnsim with a state folder of its own."""
    environment = {**os.environ, "LNSIM_STATE_DIR": str(home / "state"), "COLUMNS": "200"}

    def call(*arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert "Traceback" not in done.stderr
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    return call


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def network(request, run, home, lnd_binaries):
    """A named network of three nodes in a line; gone after the tests."""
    if request.param == "docker":
        local_docker(lnd_binaries)
    (home / "line.toml").write_text(LINE)
    run("up", "--name", NAME, "--topology", "line.toml", "--launcher", request.param)
    yield request.param
    run("down", "--name", NAME)


@pytest.fixture(scope="module")
def status(run, network) -> Callable[..., dict[str, Any]]:
    def look(code: int = 0) -> dict[str, Any]:
        """Ask until the status is as expected: on a busy machine a node may not answer in time."""
        for _ in range(10):
            done = run("status", "--name", NAME, "--json", code=None)
            if done.returncode == code:
                break
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    return look


@pytest.fixture(scope="module")
def pay(run, network) -> Callable[[], dict[str, Any]]:
    """Pay 5,000 sat from one end of the line to the other, with lncli alone."""

    def send() -> dict[str, Any]:
        invoice = json.loads(run("cli", "--name", NAME, "three", "addinvoice", "--amt", "5000").stdout)
        pay = ("payinvoice", "--force", "--json", invoice["payment_request"])
        said = run("cli", "--name", NAME, "one", *pay, code=None).stdout
        result: dict[str, Any] = json.loads(said)
        return result

    return send


def channel_points(run: Run) -> list[str]:
    listed = json.loads(run("cli", "--name", NAME, "two", "listchannels").stdout)
    return sorted(channel["channel_point"] for channel in listed["channels"])


def strike(network: str, status: dict[str, Any], node: str, how: str) -> None:
    """Kill or freeze one daemon from outside."""
    record = json.loads((Path(status["folder"]) / "network.json").read_text())
    if network == "docker":
        subject = f"{NAME}-btcd" if node == "btcd" else f"{NAME}-lnd-{node}"
        subprocess.run(["docker", {"kill": "kill", "freeze": "pause"}[how], subject], check=True, capture_output=True)
    else:
        number = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}[how]
        psutil.Process(int(record["details"]["pids"][node][0])).send_signal(number)


def test_a_network_is_ready_as_soon_as_up_returns(status, pay):
    assert [node["state"] for node in status()["nodes"]] == ["up"] * 3
    assert pay()["status"] == "SUCCEEDED"


def test_up_again_opens_no_second_set_of_channels(run, status):
    before = channel_points(run)
    assert len(before) == 2
    run("up", "--name", NAME)
    assert channel_points(run) == before


def test_up_refuses_to_make_another_network_of_it(run, network):
    done = run("up", "--name", NAME, "--topology", "default", code=2)
    assert f"lnsim down --name {NAME}" in done.stderr


def test_the_status_lets_any_client_connect(status, lnd_binaries):
    for node in status()["nodes"]:
        assert node["host"] == "127.0.0.1"
        reach = (
            f"--rpcserver={node['host']}:{node['port']}",
            f"--tlscertpath={node['tls_cert_path']}",
            f"--macaroonpath={node['macaroon_path']}",
        )
        said = subprocess.run(
            [lnd_binaries.lncli, "--network=regtest", *reach, "getinfo"], check=True, capture_output=True
        ).stdout
        assert json.loads(said)["identity_pubkey"] == node["pubkey"]


def test_the_status_is_a_table_for_people(run, network):
    said = run("status", "--name", NAME).stdout
    for word in ("one", "two", "three", "1,000,000", network):
        assert word in said


def test_only_loopback_is_listened_on_and_credentials_are_in_no_command_line(network, status):
    record = json.loads((Path(status()["folder"]) / "network.json").read_text())
    if network == "docker":
        pytest.skip("see the tests of the Docker launcher")
    daemons = [psutil.Process(int(pid)) for pid, _ in record["details"]["pids"].values()]
    listening = [each.laddr.ip for daemon in daemons for each in daemon.net_connections() if each.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}
    assert len(listening) >= 7
    secrets = (record["chain"]["password"], record["chain"]["user"])
    assert not any(secret in " ".join(daemon.cmdline()) for daemon in daemons for secret in secrets)


def test_state_and_credentials_are_for_their_owner_only(status):
    folder = Path(status()["folder"])
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "network.json").stat().st_mode & 0o077 == 0


def test_lncli_s_exit_status_and_words_pass_through(run, network):
    done = run("cli", "--name", NAME, "one", "no-such-command", code=None)
    assert done.returncode not in (0, 2)


def test_logs_end_with_the_newest_lines(run, network):
    assert len(run("logs", "--name", NAME, "one", "--lines", "5").stdout.splitlines()) == 5
    assert "Did you mean 'three'" in run("logs", "--name", NAME, "thre", code=2).stderr


def test_followed_logs_go_on_until_ctrl_c(run, network, home):
    environment = {**os.environ, "LNSIM_STATE_DIR": str(home / "state"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*COMMAND, "logs", "--name", NAME, "btcd", "--follow", "--lines", "1"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout.readline()
        run("reset", "--name", NAME)
        run("down", "--name", NAME, "--keep")
        assert following.stdout.readline()
        following.send_signal(signal.SIGINT)
        rest = following.stderr.read()
    run("up", "--name", NAME)
    assert following.returncode == 130
    assert "Traceback" not in rest


@pytest.mark.parametrize(("node", "how"), [("one", "kill"), ("two", "freeze"), ("btcd", "kill")])
def test_up_repairs_what_has_stopped_and_keeps_the_balances(run, network, status, pay, node, how):
    pay()
    before = status()
    strike(network, before, node, how)
    broken = status(code=1)
    assert [each["name"] for each in broken["nodes"] if each["state"] == "stopped"] == (
        [] if node == "btcd" else [node]
    )
    run("up", "--name", NAME)
    after = status()
    assert [each["initiator_balance_sat"] for each in after["channels"]] == [
        each["initiator_balance_sat"] for each in before["channels"]
    ]
    assert pay()["status"] == "SUCCEEDED"


def test_a_kept_network_goes_on_with_chain_channels_and_balances(run, status, pay):
    pay()
    before = status()
    points = channel_points(run)
    run("down", "--name", NAME, "--keep")
    stopped = status(code=1)
    assert {node["state"] for node in stopped["nodes"]} == {"stopped"}
    assert not stopped["chain_running"]
    run("up", "--name", NAME)
    after = status()
    assert channel_points(run) == points
    assert [node["pubkey"] for node in after["nodes"]] == [node["pubkey"] for node in before["nodes"]]
    assert [each["peer_balance_sat"] for each in after["channels"]] == [
        each["peer_balance_sat"] for each in before["channels"]
    ]
    assert pay()["status"] == "SUCCEEDED"


def test_reset_brings_the_first_balances_back(run, status, pay):
    pay()
    run("reset", "--name", NAME)
    assert {each["initiator_balance_sat"] for each in status()["channels"]} == {996_530}


def test_down_removes_all_that_up_made_and_backs_up_before(run, home, lnd_binaries):
    """With processes; what Docker is left with is compared in the test below."""
    (home / "line.toml").write_text(LINE)
    (home / "records").mkdir()
    (home / "records" / "payments.csv").write_text("recorded\n")
    name = f"{NAME}-gone"
    run("up", "--name", name, "--topology", "line.toml", "--launcher", "process")
    folder = Path(json.loads(run("status", "--name", name, "--json").stdout)["folder"])
    assert len(processes_in(folder)) == 4
    run("down", "--name", name, "--backup", "backup")
    assert processes_in(folder) == []
    assert not folder.exists()
    assert not Path(f"{folder}.lock").exists()
    (copy,) = (home / "backup").iterdir()
    assert (copy / "recordings" / "payments.csv").read_text() == "recorded\n"
    assert len(list((copy / "logs").iterdir())) == 4
    assert len(json.loads((copy / "status.json").read_text())["channels"]) == 2
    assert not [path for path in copy.rglob("*") if "macaroon" in path.name or path.name == "network.json"]
    assert "there is no such network" in run("down", "--name", name).stdout


def processes_in(folder: Path) -> list[str]:
    """Command lines of the processes that work in a folder."""
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if f"{folder}/" in line]


@pytest.mark.docker
def test_down_leaves_docker_as_it_was(run, home, lnd_binaries):
    client = local_docker(lnd_binaries)
    before = Things.now(client)
    (home / "line.toml").write_text(LINE)
    run("up", "--name", f"{NAME}-d", "--topology", "line.toml", "--launcher", "docker")
    assert len(Things.now(client).containers - before.containers) == 4
    run("down", "--name", f"{NAME}-d")
    assert Things.now(client) == before


@pytest.mark.docker
def test_the_default_network_has_the_names_and_ports_that_users_know(run, lnd_binaries):
    client = local_docker(lnd_binaries)
    if any(container.name in {"btcd", "lnd-alice"} for container in client.containers.list(all=True)):
        pytest.skip("a default network is in use on this machine")
    run("up", "--launcher", "docker")
    try:
        names = {container.name for container in client.containers.list()}
        assert {"btcd", *(f"lnd-{name}" for name in ("alice", "bob", "carol", "dave", "eve"))} <= names
        found = json.loads(run("status", "--json").stdout)
        assert [node["port"] for node in found["nodes"]] == [10001, 10002, 10003, 10004, 10005]
    finally:
        run("down")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("launcher", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_an_interrupted_up_leaves_nothing(home, run, lnd_binaries, launcher, number):
    before = Things.now(local_docker(lnd_binaries)) if launcher == "docker" else None
    (home / "line.toml").write_text(LINE)
    name = f"{NAME}-cut"
    environment = {**os.environ, "LNSIM_STATE_DIR": str(home / "state")}
    arguments = ["up", "--name", name, "--topology", "line.toml", "--launcher", launcher]
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=home, env=environment, stderr=subprocess.PIPE, text=True
    ) as starting:
        roots = (Path("/dev/shm") / f"lnsim-{os.getuid()}", home / "state" / "networks")
        while starting.poll() is None and not any((root / name / "network.json").exists() for root in roots):
            os.sched_yield()
        starting.send_signal(number)
        said = starting.stderr.read()
    assert starting.returncode == 128 + number
    assert "Traceback" not in said, said
    assert not any((root / name).exists() for root in roots)
    assert [line for root in roots for line in processes_in(root / name)] == []
    if before is not None:
        assert Things.now(local_docker(lnd_binaries)) == before


def test_a_name_that_is_not_known_is_refused_with_those_that_are(run, network):
    assert f"Did you mean '{NAME}'" in run("status", "--name", f"{NAME}x", code=2).stderr
