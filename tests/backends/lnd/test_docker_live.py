"""Networks in containers: brought up, paid over, restored, repaired, and gone without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import docker
import numpy as np
import psutil
import pytest

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.backends.lnd.nodes import images
from lnsim_gym.backends.lnd.nodes.folders import records
from lnsim_gym.backends.lnd.nodes.launchers import containers
from lnsim_gym.backends.lnd.nodes.launchers.choose import choose_launcher
from lnsim_gym.backends.lnd.nodes.launchers.docker import DockerLauncher
from lnsim_gym.errors import BackendLost, BringUpError, ConfigError, MissingDependency
from lnsim_gym.payments import RebalanceReason
from tests.backends.lnd.docker_things import Things, local_docker
from tests.backends.lnd.live import batch_of, half_and_half

pytestmark = [pytest.mark.lnd, pytest.mark.docker]


@pytest.fixture(scope="module")
def client(lnd_binaries) -> docker.DockerClient:
    return local_docker(lnd_binaries)


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory):
    """A state folder of one's own, so that what is left in it is ours."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("LNSIM_STATE_DIR", str(folder))
        yield folder / "networks"


@pytest.fixture(scope="module")
def docker_backend(client, topology, state):
    with LndBackend(
        topology, settings=LndSettings(launcher="docker", idle_timeout_s=1.0, probe_timeout_s=2.0)
    ) as backend:
        yield backend


def containers_of(backend: LndBackend, client: docker.DockerClient) -> dict:
    folder = Path(backend.network_record()[0]["tls_cert_path"]).parent.parent
    return containers.containers_of(client, record_in(folder).details["project"])


def record_in(folder: Path):
    return next(record for record in records() if Path(record.folder) == folder)


def test_payments_in_containers_agree_with_what_lncli_reports(docker_backend, topology, reported_sat):
    docker_backend.reset(half_and_half(topology))
    outcomes = docker_backend.pay(batch_of((0, 3, 40_000_000), (4, 2, 7_654_321), (1, 1 + 1, 900_000_000)))
    assert outcomes.succeeded.tolist() == [True, True, False]
    assert (reported_sat(docker_backend) == docker_backend.balances_msat() // 1000).all()


def test_the_fresh_state_comes_back_from_the_snapshot(docker_backend, topology, reported_sat):
    docker_backend.reset(half_and_half(topology))
    fresh = topology.start_balances_msat()
    for _ in range(2):
        assert docker_backend.reset(fresh).rung == "snapshot"
        assert (reported_sat(docker_backend) == fresh // 1000).all()
        assert docker_backend.rebalance((0,), 250_000_000).reason is RebalanceReason.NONE


def test_ports_are_on_loopback_and_no_credential_is_on_a_command_line(docker_backend, client):
    found = containers_of(docker_backend, client)
    assert len(found) == 6
    hosts = {
        binding["HostIp"]
        for each in found.values()
        for bindings in each.attrs["HostConfig"]["PortBindings"].values()
        for binding in bindings
    }
    assert hosts == {"127.0.0.1"}
    folder = Path(docker_backend.network_record()[0]["tls_cert_path"]).parent.parent
    chain = record_in(folder).chain
    for each in found.values():
        visible = str(each.attrs["Config"])
        assert chain.password not in visible
        assert chain.user not in visible
    private = [path for path in folder.rglob("*") if path.name in {"admin.macaroon", "lnd.conf", "network.json"}]
    assert len(private) == 7
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder, *private))


@pytest.mark.parametrize("blow", ["kill", "pause", "stop signal", "remove"])
def test_a_container_that_fails_is_noticed_and_the_next_reset_repairs(
    docker_backend, client, topology, blow, reported_sat
):
    docker_backend.reset(half_and_half(topology))
    victim = containers_of(docker_backend, client)["alice"]
    strikes = {
        "kill": victim.kill,
        "pause": victim.pause,
        "stop signal": lambda: psutil.Process(victim.attrs["State"]["Pid"]).send_signal(signal.SIGSTOP),
        "remove": lambda: victim.remove(force=True),
    }
    strikes[blow]()
    with pytest.raises(BackendLost):
        docker_backend.pay(batch_of((0, 1, 1_000_000), (2, 3, 1_000_000)))
    assert docker_backend.reset(half_and_half(topology)).rung == "snapshot"
    assert docker_backend.pay(batch_of((0, 1, 1_000_000))).succeeded.all()
    assert (reported_sat(docker_backend) == docker_backend.balances_msat() // 1000).all()


def test_two_networks_run_side_by_side_and_leave_nothing(client, two_nodes, state):
    before = Things.now(client)
    files_before = set(state.rglob("*"))
    settings = LndSettings(launcher="docker")
    with LndBackend(two_nodes, settings=settings) as one, LndBackend(two_nodes, settings=settings) as other:
        assert one.pay(batch_of((0, 1, 100_000_000))).succeeded.all()
        assert not np.array_equal(one.balances_msat(), other.balances_msat())
        ports = {endpoint.port for backend in (one, other) for endpoint in backend.endpoints().values()}
        assert len(ports) == 4
    assert Things.now(client) == before
    assert set(state.rglob("*")) == files_before


@pytest.fixture
def foreign(client):
    """Things of another program, some with names like ours."""
    container = client.containers.create(images.local_image(), command=["lnd"], name="foreign-lnd-alice")
    network = client.networks.create("lnsim-foreign", labels={"project": "lnsim"})
    volume = client.volumes.create("lnsim-foreign-data")
    elsewhere = client.containers.create(
        images.local_image(),
        command=["lnd"],
        labels={
            "io.lnsim.owner": "another-machine/0/1/1.00",
            "io.lnsim.network": "lnsim-0-x",
            "io.lnsim.node": "alice",
        },
    )
    yield container, network, volume, elsewhere
    for each in (container, elsewhere):
        each.remove(force=True)
    network.remove()
    volume.remove()


def test_what_belongs_to_others_is_never_touched(client, foreign, two_nodes):
    with_foreign = Things.now(client)
    launcher = DockerLauncher("beside-foreign")
    launcher.start_chain(two_nodes)
    launcher.stop()
    containers.sweep(client)
    assert Things.now(client) == with_foreign


def test_a_name_that_somebody_else_uses_is_an_error_and_leaves_nothing(client, two_nodes):
    taken = client.containers.create(images.local_image(), command=["lnd"], name="taken-lnd-peer")
    before = Things.now(client)
    try:
        with pytest.raises(BringUpError, match="taken-lnd-peer"):
            DockerLauncher("taken").start_chain(two_nodes)
        assert Things.now(client) == before
    finally:
        taken.remove()


def test_what_a_dead_owner_left_is_swept_by_the_next_network(client, two_nodes, state):
    before = Things.now(client)
    files_before = set(state.rglob("*"))
    code = (
        "import os, signal\n"
        "from lnsim_gym.backends.lnd.nodes.launchers.docker import DockerLauncher\n"
        "from lnsim_gym.network import Topology\n"
        f"DockerLauncher('orphan-{os.getpid()}').start_chain(Topology.from_dict({two_nodes.to_dict()!r}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert len(Things.now(client).containers - before.containers) == 3
    launcher = DockerLauncher("sweeper")
    launcher.start_chain(two_nodes)
    launcher.stop()
    assert Things.now(client) == before
    assert set(state.rglob("*")) == files_before


def test_a_daemon_that_ends_at_once_is_explained_by_its_log(client, two_nodes, monkeypatch):
    before = Things.now(client)
    monkeypatch.setattr("lnsim_gym.backends.lnd.nodes.compose.BTCD_FLAGS", ("--no-such-flag",))
    with pytest.raises(BringUpError, match="no-such-flag"):
        DockerLauncher("broken").start_chain(two_nodes)
    assert Things.now(client) == before


def test_an_image_that_cannot_be_had_is_named_with_the_remedy(client, two_nodes, monkeypatch):
    monkeypatch.setenv("LNSIM_LND_IMAGE", "localhost:1/no/such:image")
    assert choose_launcher("auto", "which").kind == "process"
    with pytest.raises(MissingDependency, match=r"localhost:1/no/such:image.*lnsim nodes image"):
        DockerLauncher("no-image").start_chain(two_nodes)


def test_auto_takes_docker_when_it_is_ready_and_processes_when_no_daemon_answers(client, monkeypatch):
    assert choose_launcher("auto", "which").kind == "docker"
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    assert choose_launcher("auto", "which").kind == "process"
    with pytest.raises(MissingDependency, match="Docker daemon"):
        images.connect_docker()


def test_an_unknown_launcher_is_refused_with_a_hint():
    with pytest.raises(ConfigError, match="Did you mean 'docker'"):
        choose_launcher("dokcer", "which")
