"""A Docker daemon that is restarted under a network: one that the test starts itself, and no other.

The daemon gets folders and a socket of its own, and with the program that uses it a network namespace of its own, so
that it has no part in what the machine's daemon does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from tests.backends.lnd.docker_things import local_docker

pytestmark = [pytest.mark.lnd, pytest.mark.docker, pytest.mark.slow]

PROGRAM = """
    import json, os, subprocess, sys, time
    from pathlib import Path

    from lnsim_gym.backends.lnd import LndBackend, LndSettings
    from lnsim_gym.backends.lnd.nodes import images
    from lnsim_gym.errors import BackendError, BackendLost
    from lnsim_gym.network import Channel, Topology
    from tests.backends.lnd.docker_things import Things
    from tests.backends.lnd.live import batch_of, half_and_half

    folder = Path(sys.argv[1])
    options = ("data-root", "exec-root", "pidfile")

    def start():
        paths = [f"--{option}={folder / option}" for option in options]
        command = ["dockerd", *paths, "--bridge=none", "-H", os.environ["DOCKER_HOST"]]
        with open(folder / "log", "ab") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(240):
            if subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
                return daemon
            time.sleep(0.25)
        raise SystemExit((folder / "log").read_text()[-2000:])

    def said(deed, kind):
        started = time.monotonic()
        try:
            deed()
        except kind as problem:
            return [str(problem), time.monotonic() - started]

    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    daemon = start()
    try:
        images.build_image()
        client = images.connect_docker()
        before = Things.now(client)
        channel = Channel(initiator="initiator", peer="peer", capacity_sat=1_000_000)
        topology = Topology(nodes=("initiator", "peer"), channels=(channel,))
        middle = half_and_half(topology)
        settings = LndSettings(launcher="docker", idle_timeout_s=1.0, probe_timeout_s=2.0)
        with LndBackend(topology, settings=settings) as backend:
            backend.reset(middle)
            daemon.terminate()
            daemon.wait()
            lost = said(lambda: backend.pay(batch_of((0, 1, 1_000_000))), BackendLost)
            without = said(lambda: backend.reset(middle), BackendError)
            daemon = start()
            rung = backend.reset(middle).rung
            paid = bool(backend.pay(batch_of((0, 1, 1_000_000))).succeeded.all())
        nothing_left = Things.now(client) == before
        print(json.dumps({"lost": lost, "without": without, "rung": rung, "paid": paid, "nothing_left": nothing_left}))
    finally:
        daemon.terminate()
        daemon.wait()
"""


@pytest.fixture
def short():
    """A folder whose name leaves room for those of sockets, of which systems take 108 characters."""
    with tempfile.TemporaryDirectory(prefix="lnsim-", dir="/tmp") as folder:
        yield Path(folder)


def test_a_daemon_that_ends_is_noticed_and_when_it_is_back_a_reset_repairs(lnd_binaries, short):
    local_docker(lnd_binaries)
    if os.getuid() != 0 or not all(map(shutil.which, ("dockerd", "ip", "unshare"))):
        pytest.skip("needs root, dockerd, ip and unshare, to start a Docker daemon of its own")
    variables = {"DOCKER_HOST": f"unix://{short / 'sock'}", "LNSIM_STATE_DIR": str(short / "state")}
    command = ["unshare", "--net", sys.executable, "-c", textwrap.dedent(PROGRAM), str(short)]
    environment = {
        **os.environ,
        **variables,
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }  # nothing for docker-compose
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert "reset the network" in told["lost"][0]
    assert "the Docker daemon does not answer" in told["without"][0]
    assert max(told["lost"][1], told["without"][1]) < 30
    assert told["rung"] in ("snapshot", "rebuild")
    assert told["paid"]
    assert told["nothing_left"]
