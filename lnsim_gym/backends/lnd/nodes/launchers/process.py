"""The launcher that runs btcd and lnd as child processes of this one, with all their files in one private folder."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Self

import msgspec
import psutil

from lnsim_gym.backends.lnd.nodes import folders
from lnsim_gym.backends.lnd.nodes.chain import ChainClient
from lnsim_gym.backends.lnd.nodes.flags import BTCD_FLAGS, LND_FLAGS, WUMBO_FLAG, alias
from lnsim_gym.backends.lnd.nodes.kept_chain import BLOCKS_FILE
from lnsim_gym.backends.lnd.nodes.launchers import daemons
from lnsim_gym.backends.lnd.nodes.launchers.base import Launcher
from lnsim_gym.backends.lnd.nodes.programs import find_binaries
from lnsim_gym.backends.lnd.nodes.record import CHAIN, ChainEndpoint, NetworkRecord
from lnsim_gym.backends.lnd.rpc.endpoint import NodeEndpoint
from lnsim_gym.errors import BackendError, BackendLost, BringUpError
from lnsim_gym.network import Topology
from lnsim_gym.paths import write_private

__all__ = ["ProcessLauncher"]

_LOOPBACK: Final = "127.0.0.1"
_CHAIN_START_S: Final = 20.0
_MACAROON: Final = Path("data/chain/bitcoin/regtest/admin.macaroon")


class ProcessLauncher(Launcher):
    """btcd and lnd as processes on loopback ports.

    Args:
        name: Name of the network.
        state_folder: Folder for the folders of networks, instead of the usual one.
        detached: Let the network outlive this process.
        lnd_flags: Flags of every lnd besides ``LND_FLAGS``.
    """

    kind: ClassVar[str] = "process"

    def __init__(
        self, name: str, *, state_folder: str | None = None, detached: bool = False, lnd_flags: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self._lnd_flags = lnd_flags
        self._state_folder = state_folder
        self._detached = detached
        self._processes: dict[str, psutil.Process] = {}
        self._record: NetworkRecord | None = None

    @classmethod
    def connect(cls, record: NetworkRecord) -> Self:
        """Take hold of a network that runs already, or of one that was stopped and kept."""
        launcher = cls(record.name, state_folder=str(Path(record.folder).parent), detached=True)
        launcher._record = record
        found = {name: daemons.find(int(pid), created) for name, (pid, created) in record.details["pids"].items()}
        launcher._processes = {name: process for name, process in found.items() if process is not None}
        return launcher

    def start_chain(self, topology: Topology) -> None:
        """Make the folder, sweep what dead owners left, start btcd and wait until its RPC answers."""
        if self._record is None:
            self._lay(topology)
        if not self.alive()[CHAIN]:
            self._spawn_chain()
            self._save()
        self._wait_for_chain()

    def lay(self, topology: Topology, state: Path) -> None:
        """Make a new network as one that was stopped, which ``connect``, ``start_chain`` and ``start_nodes`` start.

        Args:
            topology: What it is.
            state: What ``copy_state`` made of another network.
        """
        self._lay(topology)
        shutil.copytree(state, self.folder, dirs_exist_ok=True)

    def copy_state(self, target: Path) -> None:
        """Copy the folders of all lnds at one moment, their chain as far as it was saved, and the snapshot."""
        self._copy_nodes(target)
        for name in (BLOCKS_FILE, self._snapshot_folder.name):
            kept = self.folder / name
            if kept.is_dir():
                shutil.copytree(kept, target / name)
            elif kept.exists():
                shutil.copy2(kept, target / name)

    def start_nodes(self) -> None:
        """Start every lnd that does not run."""
        binary = find_binaries().lnd
        for index, endpoint in enumerate(self.record().nodes):
            if endpoint.name not in self._processes:
                self._spawn(endpoint.name, [str(binary), *self._lnd_arguments(index)])
        self._save()

    def record(self) -> NetworkRecord:
        """Describe the network."""
        if self._record is None:
            raise BackendError(f"expected the network {self.name!r} to be started, it is not: call start_chain first")
        return self._record

    def alive(self) -> dict[str, bool]:
        """Say of each daemon whether it runs."""
        names = (*self.endpoints, CHAIN) if self._record else ()
        return {name: name in self._processes and daemons.is_running(self._processes[name]) for name in names}

    def log_tail(self, node: str, lines: int = 20) -> str:
        """Return the last lines of lnd's or btcd's own log, or of what it printed when it has none yet."""
        if self._record is None:
            return ""
        logs = self.folder / (
            "btcd/logs/regtest/btcd.log" if node == CHAIN else f"{self._key(node)}/logs/bitcoin/regtest/lnd.log"
        )
        for path in (logs, self._stdout_log(node)):
            with suppress(OSError):
                text = path.read_text(errors="replace").splitlines()
                if text:
                    return "\n".join(text[-lines:])
        return ""

    def snapshot(self) -> None:
        """Copy the folders of all lnds while all of them are frozen; lnd's database is whole at every moment."""
        shutil.rmtree(self._snapshot_folder, ignore_errors=True)
        self._copy_nodes(self._snapshot_folder)

    def has_snapshot(self) -> bool:
        """Whether a snapshot was taken."""
        return self._record is not None and self._snapshot_folder.is_dir()

    def restore(self) -> None:
        """Kill every lnd, put the snapshot back, and start them."""
        self._kill_nodes()
        for index in range(len(self.record().nodes)):
            shutil.rmtree(self._node_folder(index))
            shutil.copytree(self._snapshot_folder / f"node-{index}", self._node_folder(index))
        self.start_nodes()

    def stop(self, *, keep: bool = False) -> None:
        """Stop everything; delete everything unless it is to be kept."""
        if self._record is None:
            return
        if keep:
            daemons.terminate(self._node_processes())
            # In this order: an lnd whose btcd is gone takes many seconds to stop.
            daemons.terminate(self._processes[name] for name in self._processes if name == CHAIN)
            self._processes.clear()
            self._save()
            return
        daemons.kill(self._processes.values())
        self._processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._record = None

    def detach(self) -> None:
        """Forget the processes; they go on."""
        self._processes.clear()
        self._record = None

    def _lay(self, topology: Topology) -> None:
        """Sweep what dead owners left, make the folder of a new network, and write its record."""
        sweep(self._state_folder)
        folder = folders.make_folder(self.name, len(topology.nodes), self._state_folder)
        try:
            self._record = self._new_record(folder, topology)
        except BaseException:  # Ctrl-C too
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._save()

    def _copy_nodes(self, target: Path) -> None:
        """Copy the folders of all lnds while all of them are frozen."""
        nodes = self._node_processes()
        daemons.signal_all(nodes, signal.SIGSTOP)
        try:
            for index in range(len(self.record().nodes)):
                shutil.copytree(self._node_folder(index), target / f"node-{index}")
        finally:
            daemons.signal_all(nodes, signal.SIGCONT)

    def _new_record(self, folder: Path, topology: Topology) -> NetworkRecord:
        """Choose ports and credentials for a new network."""
        count = len(topology.nodes)
        chain_port, *ports = daemons.free_ports(1 + 2 * count)
        nodes = tuple(
            NodeEndpoint(
                name=name,
                host=_LOOPBACK,
                port=ports[2 * index],
                tls_cert_path=str(folder / f"node-{index}" / "tls.cert"),
                macaroon_path=str(folder / f"node-{index}" / _MACAROON),
                peer_address=f"{_LOOPBACK}:{ports[2 * index + 1]}",
            )
            for index, name in enumerate(topology.nodes)
        )
        chain = ChainEndpoint(
            host=_LOOPBACK,
            port=chain_port,
            cert_path=str(folder / "btcd" / "rpc.cert"),
            user=secrets.token_hex(8),
            password=secrets.token_hex(24),
        )
        owner = 0 if self._detached else os.getpid()
        return NetworkRecord(
            name=self.name,
            launcher=self.kind,
            folder=str(folder),
            topology=topology.to_dict(),
            nodes=nodes,
            chain=chain,
            owner_pid=owner,
            owner_started=psutil.Process().create_time() if owner else 0.0,
            lnd_flags=self._lnd_flags,
            details={"pids": {}},
        )

    def _save(self) -> None:
        """Write the record with the processes of this moment."""
        details = {"pids": daemons.describe(self._processes)}
        self._record = msgspec.structs.replace(self.record(), details=details)
        folders.write_record(self._record)

    def _spawn_chain(self) -> None:
        """Write btcd's secrets where only we can read them, and start it."""
        folder = self.folder / "btcd"
        chain = self._chain
        folder.mkdir(exist_ok=True)
        secrets_file = folder / "btcd.conf"
        lines = ("[Application Options]", f"rpcuser={chain.user}", f"rpcpass={chain.password}", "")
        write_private(secrets_file, "\n".join(lines).encode())
        arguments = (
            f"--configfile={secrets_file}",
            f"--datadir={folder / 'data'}",
            f"--logdir={folder / 'logs'}",
            f"--rpclisten={chain.host}:{chain.port}",
            f"--rpccert={chain.cert_path}",
            f"--rpckey={folder / 'rpc.key'}",
            "--nolisten",
        )
        argv = [str(find_binaries().btcd), *BTCD_FLAGS, *arguments]
        self._spawn(CHAIN, argv)

    def _wait_for_chain(self) -> None:
        """Wait until btcd answers.

        Raises:
            BringUpError: It ended, or did not answer in time.
        """
        client = ChainClient(self._chain)
        deadline = time.monotonic() + _CHAIN_START_S
        while time.monotonic() < deadline and daemons.is_running(self._processes[CHAIN]):
            with suppress(BackendLost):
                client.height()
                return
            time.sleep(0.02)
        raise BringUpError(
            f"expected {CHAIN} to answer within {_CHAIN_START_S:g} s, it did not. Its log ends:\n{self.log_tail(CHAIN)}"
        )

    def _lnd_arguments(self, index: int) -> list[str]:
        """Return the arguments of one lnd, and write its secrets file."""
        endpoint = self.record().nodes[index]
        folder = self._node_folder(index)
        secrets_file = self.folder / f"node-{index}.conf"
        lines = (
            "[Application Options]",
            f"btcd.rpcuser={self._chain.user}",
            f"btcd.rpcpass={self._chain.password}",
            "",
        )
        write_private(secrets_file, "\n".join(lines).encode())
        wumbo = (WUMBO_FLAG,) if self.record().topology.get("wumbo") else ()
        return [
            *LND_FLAGS,
            *wumbo,
            *self.record().lnd_flags,
            f"--configfile={secrets_file}",
            f"--lnddir={folder}",
            f"--alias={alias(endpoint.name)}",
            f"--listen={endpoint.peer_address}",
            f"--rpclisten={endpoint.host}:{endpoint.port}",
            "--tlsdisableautofill",
            f"--btcd.rpchost={self._chain.host}:{self._chain.port}",
            f"--btcd.rpccert={self._chain.cert_path}",
        ]

    def _spawn(self, name: str, argv: list[str]) -> None:
        register = partial(self._processes.__setitem__, name)
        daemons.spawn(argv, self.folder, self._stdout_log(name), register, dies_with_us=not self._detached)

    def _kill_nodes(self) -> None:
        daemons.kill(self._node_processes())
        self._processes = {name: process for name, process in self._processes.items() if name == CHAIN}

    def _node_processes(self) -> list[psutil.Process]:
        return [process for name, process in self._processes.items() if name != CHAIN]

    def _key(self, node: str) -> str:
        """Name of a node's files: node names need not be valid file names."""
        return f"node-{[endpoint.name for endpoint in self.record().nodes].index(node)}"

    def _node_folder(self, index: int) -> Path:
        return self.folder / f"node-{index}"

    def _stdout_log(self, node: str) -> Path:
        return self.folder / f"{CHAIN if node == CHAIN else self._key(node)}.out"


def sweep(state_folder: str | None = None) -> None:
    """Kill the daemons and delete the folders of process networks whose owner is gone."""
    for record in folders.records(state_folder):
        if record.launcher == ProcessLauncher.kind and folders.is_orphan(record):
            found = (daemons.find(int(pid), created) for pid, created in record.details["pids"].values())
            daemons.kill(process for process in found if process is not None)
            shutil.rmtree(record.folder, ignore_errors=True)
    for folder in folders.unrecorded(state_folder):
        shutil.rmtree(folder, ignore_errors=True)
