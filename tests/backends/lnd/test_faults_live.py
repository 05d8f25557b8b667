"""Nodes that die or hang in the middle of a batch, and what is left behind after every kind of end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import ExitStack, suppress

import numpy as np
import psutil
import pytest

from lnsim_gym.backends.lnd.nodes.folders import state_root
from lnsim_gym.backends.lnd.nodes.record import CHAIN
from lnsim_gym.benchmarks.disk import OwnDisk
from lnsim_gym.errors import BackendError, BackendLost, BackendTimeout
from tests.backends.lnd.live import batch_of, half_and_half, processes_of, random_batch
from tests.waiting import wait_until

pytestmark = pytest.mark.lnd

DEADLINE_S = 30
"""More than any call may take after a fault, whatever else the machine does."""


def strike(process: psutil.Process, number: signal.Signals, after_s: float) -> threading.Timer:
    timer = threading.Timer(after_s, lambda: process.send_signal(number))
    timer.start()
    return timer


@pytest.mark.parametrize(
    ("victim", "number", "rung"),
    [
        ("alice", signal.SIGKILL, "snapshot"),
        ("alice", signal.SIGSTOP, "snapshot"),
        (CHAIN, signal.SIGKILL, "rebuild"),
        (CHAIN, signal.SIGSTOP, "rebuild"),
    ],
)
def test_a_fault_in_mid_batch_is_raised_in_time_and_the_next_reset_repairs(
    make_backend, triangle, reported_sat, victim, number, rung
):
    backend = make_backend(triangle)
    middle = half_and_half(triangle)
    backend.reset(middle)
    before = processes_of(backend)
    timer = strike(before[victim], number, after_s=0.4)
    started = time.monotonic()
    with pytest.raises(BackendLost):
        backend.pay(random_batch(triangle, np.random.default_rng(1), 60, 100_000_000))
    timer.join()
    assert time.monotonic() - started < DEADLINE_S
    with pytest.raises(BackendError):
        backend.pay(batch_of((0, 1, 1_000_000)))
    assert backend.reset(middle).rung == rung
    assert (backend.balances_msat() == middle).all()
    assert (reported_sat(backend) == middle // 1000).all()
    assert backend.pay(batch_of((0, 1, 1_000_000))).succeeded[0]
    backend.close()
    assert not any(process.is_running() for process in before.values())


@pytest.mark.skipif(not OwnDisk.is_possible(), reason="needs root, and control groups of version 1")
def test_a_full_disk_is_noticed_in_seconds_and_repaired_when_there_is_room(lnd_binaries, make_backend, triangle):
    middle = half_and_half(triangle)
    with OwnDisk() as disk:
        backend = make_backend(triangle, state_folder=str(disk.folder))
        backend.reset(middle)
        batch = random_batch(triangle, np.random.default_rng(1), 15, 100_000_000)
        with disk.full():
            took_s = ended_after_s(backend, batch)
            with suppress(BackendError):  # deleting old files may make room enough, or not
                backend.reset(middle)
        backend.reset(middle)
        assert (backend.balances_msat() == middle).all()
        assert backend.pay(batch_of((0, 1, 1_000_000))).succeeded[0]
        backend.close()
    assert took_s < DEADLINE_S


def ended_after_s(backend, batch) -> float:
    """Pay until the network is lost, and return how long the last batch took."""
    while True:
        started = time.monotonic()
        try:
            backend.pay(batch)
        except BackendError:
            return time.monotonic() - started


def test_a_hung_node_is_reported_as_a_timeout_that_names_it(make_backend, two_nodes):
    backend = make_backend(two_nodes)
    backend.open()
    processes_of(backend)["peer"].suspend()
    with pytest.raises(BackendTimeout, match=r"peer .*within .* s"):
        backend.rebalance((0,), 10_000_000)
    processes = processes_of(backend)
    backend.close()
    assert not any(process.is_running() for process in processes.values())


def test_a_node_that_died_between_steps_is_noticed_at_the_next(make_backend, two_nodes):
    backend = make_backend(two_nodes)
    backend.open()
    processes_of(backend)["peer"].kill()
    with pytest.raises(BackendLost, match="peer"):
        backend.balances_msat()
    assert backend.reset(two_nodes.start_balances_msat()).rung == "snapshot"


def leftovers(name_part: str) -> list[str]:
    """Processes and folders of this machine's networks that carry a name."""
    found = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    running = [" ".join(line) for line in found if line and name_part in " ".join(line)]
    return running + [str(folder) for folder in state_root().iterdir() if name_part in folder.name]


PROGRAM = """
    import os, sys, time
    from lnsim_gym.backends.lnd import LndBackend, LndSettings
    from lnsim_gym.network import Channel, Topology

    channel = Channel(initiator="a", peer="b", capacity_sat=1_000_000)
    topology = Topology(nodes=("a", "b"), channels=(channel,))
    backend = LndBackend(topology, settings=LndSettings(launcher="process"))
    print(os.getpid(), flush=True)
    END
"""


def run_program(end: str) -> subprocess.Popen[str]:
    source = textwrap.dedent(PROGRAM).replace("END", end)
    return subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize(
    "end",
    [
        "backend.open(); backend.close(); backend.close()",
        "backend.open(); sys.exit(3)",
        "backend.open(); raise ValueError('a program of the user fails')",
        "backend.open(); del backend; print('forgotten')",
    ],
)
def test_nothing_is_left_behind_however_a_program_ends(lnd_binaries, end):
    program = run_program(end)
    output, _ = program.communicate(timeout=120)
    assert leftovers(f"env-{output.split()[0]}-") == []


@pytest.mark.parametrize("moment", ["bringing up", "paying"])
def test_nothing_is_left_behind_after_ctrl_c(lnd_binaries, moment):
    wait = {"bringing up": "backend.open()", "paying": "backend.open(); print('up', flush=True); time.sleep(600)"}
    program = run_program(wait[moment])
    pid = program.stdout.readline().strip()
    if moment == "paying":
        assert program.stdout.readline() == "up\n"
    else:
        until(lambda: leftovers(f"env-{pid}-node-0"), lambda: leftovers(f"env-{pid}-"))
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert leftovers(f"env-{pid}-") == []


def until(*conditions) -> None:
    """Poll until one of some conditions holds, for at most a minute."""
    deadline = time.monotonic() + 60
    while not any(condition() for condition in conditions):
        assert time.monotonic() < deadline, "nothing happened within a minute"


def test_daemons_die_with_a_killed_owner_and_the_next_start_removes_its_files(make_backend, two_nodes):
    program = run_program("backend.open(); print('up', flush=True); time.sleep(600)")
    pid = program.stdout.readline().strip()
    assert program.stdout.readline() == "up\n"
    program.kill()
    program.communicate()
    until(lambda: not [left for left in leftovers(f"env-{pid}-") if "lnd" in left.split()[0].rpartition("/")[2]])
    assert len(leftovers(f"env-{pid}-")) == 1, "only the folder is left"
    make_backend(two_nodes).open()
    assert leftovers(f"env-{pid}-") == []


def test_nothing_is_left_of_two_parents_that_were_killed_one_after_the_other(make_backend, two_nodes):
    """The second is killed while it starts, and removes what the first one left."""
    pids = []
    for after_s in (1.5, 0.3):
        program = run_program("backend.open(); print('up', flush=True); time.sleep(600)")
        pids.append(program.stdout.readline().strip())
        until(lambda: leftovers(f"env-{pids[-1]}-node-0"), lambda: leftovers(f"env-{pids[-1]}-"))
        time.sleep(after_s)
        program.kill()
        program.communicate()
    make_backend(two_nodes).open()
    until(lambda: not [left for pid in pids for left in leftovers(f"env-{pid}-")])


def test_a_port_that_is_lost_to_another_program_is_noticed_and_a_reset_takes_others(make_backend, triangle):
    backend = make_backend(triangle)
    middle = half_and_half(triangle)
    backend.reset(middle)
    alice = processes_of(backend)["alice"]
    ports = {each.laddr.port for each in alice.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    alice.kill()
    alice.wait()
    with ExitStack() as taken:
        for port in ports:
            taken.enter_context(socket.create_server(("127.0.0.1", port)))
        with pytest.raises(BackendLost):
            backend.pay(batch_of((0, 1, 1_000_000)))
        started = time.monotonic()
        assert backend.reset(middle).rung == "rebuild"
        assert time.monotonic() - started < 2 * DEADLINE_S
        assert backend.pay(batch_of((0, 1, 1_000_000))).succeeded.all()
        assert ports.isdisjoint(endpoint.port for endpoint in backend.endpoints().values())


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_ctrl_c_at_any_moment_of_a_start_leaves_no_daemon_and_no_folder(lnd_binaries, after_s):
    program = run_program("backend.open()")
    pid = program.stdout.readline().strip()
    until(lambda: leftovers(f"env-{pid}-"))
    strike(psutil.Process(program.pid), signal.SIGINT, after_s).join()
    program.communicate(timeout=60)
    assert leftovers(f"env-{pid}-") == []


def active_ends(backend, lncli):
    """Count the channel ends that are active, by lncli's word."""
    endpoints = backend.endpoints().values()
    return sum(channel["active"] for endpoint in endpoints for channel in lncli(endpoint, "listchannels")["channels"])


def disconnect(backend, lncli):
    """Part alice and bob, and wait until both know."""
    nodes = backend.endpoints()
    lncli(nodes["alice"], "disconnect", nodes["bob"].pubkey)
    wait_until(lambda: active_ends(backend, lncli) == 4)


def test_a_lost_connection_is_seen_at_the_next_look_and_the_next_reset_brings_it_back(make_backend, triangle, lncli):
    backend = make_backend(triangle)
    middle = half_and_half(triangle)
    backend.reset(middle)
    disconnect(backend, lncli)
    with pytest.raises(BackendLost, match=r"channel alice-bob is not: .*reset\(\) makes it active again"):
        backend.balances_msat()
    assert backend.reset(middle).rung == "snapshot"
    assert active_ends(backend, lncli) == 6


def test_a_connection_that_was_lost_between_episodes_is_made_again_by_a_reset(make_backend, triangle, lncli):
    backend = make_backend(triangle)
    middle = half_and_half(triangle)
    backend.reset(middle)
    disconnect(backend, lncli)
    assert backend.reset(middle).rung == "none"
    assert active_ends(backend, lncli) == 6
    outcomes = backend.pay(batch_of((0, 1, 1_000_000)))
    assert outcomes.part_route[0, 0, :2].tolist() == [0, -1]  # not around carol
