"""The launcher that runs btcd and lnd in containers: files by ``compose``, made by compose, run by the Docker SDK."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final, Self

import docker
import psutil
from docker.errors import APIError
from docker.models.containers import Container

from lnsim_gym.backends.lnd.nodes import compose, folders, images
from lnsim_gym.backends.lnd.nodes.chain import ChainClient
from lnsim_gym.backends.lnd.nodes.launchers import containers, docker_record
from lnsim_gym.backends.lnd.nodes.launchers.base import Launcher
from lnsim_gym.backends.lnd.nodes.record import CHAIN, NetworkRecord
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.errors import BackendError, BackendLost, BringUpError, LnsimError, MissingDependency
from lnsim_gym.network import Topology
from lnsim_gym.paths import write_private

__all__ = ["DockerLauncher", "remove_leftovers"]

_START_S: Final = 60.0
_STOP_S: Final = 20
_MACAROON: Final = f"{compose.LND_FOLDER}/data/chain/bitcoin/regtest/admin.macaroon"
_TLS_CERT: Final = f"{compose.LND_FOLDER}/tls.cert"
_PORT_TAKEN: Final = re.compile(r"port is already allocated|address already in use", re.IGNORECASE)


class DockerLauncher(Launcher):
    """btcd and lnd in containers, reached through ports on loopback.

    Args:
        name: Name of the network.
        state_folder: Folder for the folders of networks, instead of the usual one.
        detached: Let the network outlive this process.
        known_names: Use the well-known container names (``lnd-alice``) and ports (gRPC from 10001, REST from 8001)
            rather than names and ports of this network's own.
        lnd_flags: Flags of every lnd besides ``LND_FLAGS``.
    """

    kind: ClassVar[str] = "docker"

    def __init__(
        self,
        name: str,
        *,
        state_folder: str | None = None,
        detached: bool = False,
        known_names: bool = False,
        lnd_flags: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._lnd_flags = lnd_flags
        self._state_folder = state_folder or str(folders.disk_root())
        self._detached = detached
        self._known_names = known_names
        self._record: NetworkRecord | None = None
        self._cached_client: docker.DockerClient | None = None

    @classmethod
    def connect(cls, record: NetworkRecord) -> Self:
        """Take hold of a network that runs already, or of one that was stopped and kept."""
        launcher = cls(
            record.name,
            state_folder=str(Path(record.folder).parent),
            detached=True,
            known_names="LNSIM_PREFIX" not in record.details["variables"],
        )
        launcher._record = record
        return launcher

    def start_chain(self, topology: Topology) -> None:
        """Make the folder, sweep what dead owners left, create all containers, start btcd, wait until it answers."""
        if self._record is not None:
            self._ensure_created()
            self._start_chain()
            return
        try:
            self._create(topology)
            self._start_chain()
        except BaseException:
            self.stop()
            raise

    def _start_chain(self) -> None:
        """Start btcd and wait until its RPC answers."""
        self._start(CHAIN)
        self._fetch(CHAIN, compose.RPC_CERT, Path(self._chain.cert_path))
        self._wait_for_chain()

    def start_nodes(self) -> None:
        """Start every lnd that does not run, and fetch the files that its clients need."""
        containers.in_parallel(self._start_node, self.record().nodes)

    def record(self) -> NetworkRecord:
        """Describe the network."""
        if self._record is None:
            raise BackendError(f"expected the network {self.name!r} to be started, it is not: call start_chain first")
        return self._record

    def alive(self) -> dict[str, bool]:
        """Say of each daemon whether its container runs, unpaused, with a program that is not stopped."""
        if self._record is None:
            return {}
        with containers.docker_errors("the state of the containers"):
            found = containers.containers_of(self._client, self._project)
        running = {name for name, each in found.items() if each.status == "running" and not containers.is_frozen(each)}
        return {name: name in running for name in (*self.endpoints, CHAIN)}

    def log_tail(self, node: str, lines: int = 20) -> str:
        """Return the last lines that a container printed."""
        with suppress(LnsimError, APIError):
            raw: bytes = self._container(node).logs(tail=lines)
            return raw.decode(errors="replace").rstrip()
        return ""

    def snapshot(self) -> None:
        """Copy the folders of all lnds while all of them are paused."""
        shutil.rmtree(self._snapshot_folder, ignore_errors=True)
        fresh = self._snapshot_folder.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        nodes = self._node_containers()
        with containers.docker_errors("a snapshot of the nodes"):
            try:
                containers.in_parallel(lambda node: node.pause(), nodes)
                containers.in_parallel(lambda pair: _save(pair[1], fresh / f"{pair[0]}.tar"), enumerate(nodes))
            finally:
                containers.in_parallel(_resume, nodes)
        fresh.rename(self._snapshot_folder)

    def has_snapshot(self) -> bool:
        """Whether a snapshot was taken."""
        return self._record is not None and self._snapshot_folder.is_dir()

    def restore(self) -> None:
        """Kill every lnd, put the snapshot back, and start them."""
        self._ensure_created()
        nodes = self._node_containers()
        with containers.docker_errors("the snapshot to be put back"):
            containers.in_parallel(containers.kill, nodes)
            containers.in_parallel(
                lambda pair: _put_back(pair[1], self._snapshot_folder / f"{pair[0]}.tar"), enumerate(nodes)
            )
        self.start_nodes()

    def stop(self, *, keep: bool = False) -> None:
        """Stop everything; remove everything unless it is to be kept."""
        if self._record is None:
            return
        with containers.docker_errors("the containers to stop"):
            if keep:
                self._stop_in_order()
                return
            containers.remove_project(self._client, self._project)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._forget()

    def detach(self) -> None:
        """Forget the containers; they go on."""
        self._forget()

    def run_inside(self, node: str, argv: list[str]) -> tuple[int, str]:
        """Run a program in a node's container; return its exit status and all it printed."""
        container = self._container(node)
        with containers.docker_errors(f"to run {argv[0]} in {container.name}"):
            code, output = container.exec_run(argv)
        raw = output if isinstance(output, bytes) else b"".join(output)
        return code or 0, raw.decode(errors="replace")

    def _forget(self) -> None:
        self._record = None
        if self._cached_client is not None:
            self._cached_client.close()
            self._cached_client = None

    def _create(self, topology: Topology) -> None:
        """Make folder, record and containers of a new network; leave nothing behind when that fails."""
        chosen = images.choose_images(self._client)
        images.obtain(self._client, chosen)
        with containers.docker_errors("orphans to be removed"):
            containers.sweep(self._client)
        _sweep_folders(self._state_folder)
        folder = folders.make_folder(self.name, len(topology.nodes), self._state_folder)
        try:
            owner = None if self._detached else psutil.Process()
            self._record = docker_record.write_new(
                self.name,
                folder,
                topology,
                chosen,
                owner,
                known_names=self._known_names,
                lnd_flags=self._lnd_flags,
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        containers.compose_create(self.folder, self._project, self._variables)

    def _ensure_created(self) -> None:
        """Recreate the containers that were removed by hand."""
        with containers.docker_errors("the state of the containers"):
            missing = {*self.endpoints, CHAIN} - set(containers.containers_of(self._client, self._project))
        if missing:
            containers.compose_create(self.folder, self._project, self._variables)

    def _start(self, node: str) -> None:
        """Start a container unless it runs.

        Raises:
            BringUpError: A port is taken, or Docker refuses.
        """
        container = self._container(node)
        with suppress(APIError):
            container.unpause()
        try:
            container.start()
        except APIError as problem:
            said = problem.explanation or str(problem)
            hint = (
                "; a network of another name (`lnsim up --name NAME`) uses ports of its own"
                if _PORT_TAKEN.search(said)
                else ""
            )
            raise BringUpError(f"expected Docker to start {container.name}, it refused: {said}{hint}") from None

    def _start_node(self, endpoint: NodeEndpoint) -> None:
        """Start one lnd and fetch its certificate and macaroon."""
        self._start(endpoint.name)
        self._fetch(endpoint.name, _TLS_CERT, Path(endpoint.tls_cert_path))
        self._fetch(endpoint.name, _MACAROON, Path(endpoint.macaroon_path))

    def _fetch(self, node: str, inside: str, outside: Path) -> None:
        """Copy a file out of a container into one that only its owner can read, as soon as the daemon has made it."""
        container = self._container(node)

        def ready() -> bool:
            content = containers.read_file(container, inside)
            if content:
                outside.parent.mkdir(mode=0o700, exist_ok=True)
                write_private(outside, content)
            return bool(content)

        self._wait(node, f"to write {inside}", ready)

    def _wait_for_chain(self) -> None:
        """Wait until btcd answers."""
        client = ChainClient(self._chain)

        def ready() -> bool:
            with suppress(BackendLost):
                return client.height() >= 0
            return False

        self._wait(CHAIN, "to answer", ready)

    def _wait(self, node: str, what: str, ready: Callable[[], bool]) -> None:
        """Wait for a daemon.

        Raises:
            BringUpError: Its container ended, or the time is over; the text carries its last log lines.
        """
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with containers.docker_errors(f"{node} {what}"):
                if ready():
                    return
                container = self._container(node)
            if container.status not in {"running", "paused", "restarting"}:
                break
            time.sleep(0.05)
        raise BringUpError(
            f"expected {node} {what} within {_START_S:g} s, it did not. Its log ends:\n{self.log_tail(node)}"
        )

    def _stop_in_order(self) -> None:
        """Stop the lnds, then btcd: an lnd without its btcd takes long to stop."""
        found = containers.containers_of(self._client, self._project)
        chain = found.pop(CHAIN, None)
        containers.in_parallel(_stop, found.values())
        if chain is not None:
            _stop(chain)

    def _container(self, node: str) -> Container:
        """Return the container of a node or of ``CHAIN`` as it is now.

        Raises:
            BackendLost: It is gone.
        """
        with containers.docker_errors(f"the container of {node}"):
            found = containers.containers_of(self._client, self._project)
        if node not in found:
            raise BackendLost(f"expected a container for {node}, found none: reset the network")
        return found[node]

    def _node_containers(self) -> list[Container]:
        return [self._container(endpoint.name) for endpoint in self.record().nodes]

    @property
    def _client(self) -> docker.DockerClient:
        if self._cached_client is None:
            self._cached_client = images.connect_docker()
        return self._cached_client

    @property
    def _project(self) -> str:
        return str(self.record().details["project"])

    @property
    def _variables(self) -> dict[str, str]:
        variables: dict[str, str] = self.record().details["variables"]
        return variables


def _sweep_folders(root: str) -> None:
    """Delete the folders of Docker networks whose owner is dead."""
    for record in folders.records(root):
        if record.launcher == DockerLauncher.kind and folders.is_orphan(record):
            shutil.rmtree(record.folder, ignore_errors=True)


def _save(container: Container, path: Path) -> None:
    """Copy the state folder of an lnd into a tar file."""
    stream, _ = container.get_archive(compose.LND_FOLDER)
    with path.open("xb") as file:
        path.chmod(0o600)
        file.writelines(stream)


def _put_back(container: Container, path: Path) -> None:
    """Copy a tar file over the state folder of an lnd that does not run."""
    with path.open("rb") as file:
        container.put_archive(str(Path(compose.LND_FOLDER).parent), file)


def _resume(container: Container) -> None:
    """Let a container go on, paused or not."""
    with suppress(APIError):
        container.unpause()


def _stop(container: Container) -> None:
    """Stop a container in good order, killing it when it does not end in time."""
    _resume(container)
    container.stop(timeout=_STOP_S)


def remove_leftovers(name: str) -> bool:
    """Remove what a Docker network of that name left although its record is gone.

    Returns:
        Whether a Docker daemon answered.
    """
    try:
        client = images.connect_docker()
    except MissingDependency:
        return False
    with containers.docker_errors("leftovers to be removed"):
        containers.remove_project(client, docker_record.project_of(name))
    client.close()
    return True
