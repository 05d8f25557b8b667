"""Named networks: brought up once, used by many programs, and taken down by name, from any process.

The record of each lies in its folder (``state``); a lock beside the folder keeps two users apart.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from filelock import FileLock, Timeout

from lnsim_gym.backends.base import ResetReport
from lnsim_gym.backends.lnd.backend import LndBackend
from lnsim_gym.backends.lnd.network.bringup import bring_up
from lnsim_gym.backends.lnd.network.status import network_status
from lnsim_gym.backends.lnd.nodes import folders
from lnsim_gym.backends.lnd.nodes.kept_chain import load_chain, save_chain
from lnsim_gym.backends.lnd.nodes.launchers.base import Launcher
from lnsim_gym.backends.lnd.nodes.launchers.choose import LauncherName, choose_launcher, connect_launcher
from lnsim_gym.backends.lnd.nodes.launchers.docker import remove_leftovers
from lnsim_gym.backends.lnd.nodes.record import CHAIN, NetworkRecord
from lnsim_gym.backends.lnd.rpc.thread import run
from lnsim_gym.backends.lnd.settings import LndSettings
from lnsim_gym.errors import BackendError, ConfigError
from lnsim_gym.network import Topology

__all__ = ["DEFAULT_NAME", "back_up", "exclusive", "reset", "take_down", "up"]

DEFAULT_NAME: Final = "default"
"""Name of the network that uses the well-known container names and ports."""
_EVERY_LINE: Final = 10_000_000


def up(name: str, topology: Topology | None, launcher: LauncherName, settings: LndSettings) -> NetworkRecord:
    """Bring a named network up, or what is missing of it; harmless when it is up.

    Args:
        name: Its name.
        topology: What it is to be; None for what it is.
        launcher: Who runs it if it is new.
        settings: Deadlines.

    Returns:
        Its record, public keys included.

    Raises:
        ConfigError: It exists with another topology or launcher, or another program uses it.
        BringUpError: It did not become ready. What was new is removed; what was there before stays.
    """
    old = folders.find_named(name)
    if old is None:
        if topology is None:
            raise ConfigError(f"expected a topology for the new network {name!r}, got none")
        new = choose_launcher(launcher, name, detached=True, known_names=name == DEFAULT_NAME)
        try:
            return _bring_up(new, topology, settings)
        except BaseException:
            new.stop()
            raise
    kept = Topology.from_dict(old.topology)
    _refuse_change(old, kept, topology, launcher)
    with exclusive(old):
        return _bring_up(_mended(old, kept), kept, settings)


def reset(name: str) -> ResetReport:
    """Set every channel of a named network back to the balances it was opened with, repairing it first.

    Raises:
        ConfigError: There is none of that name, or another program uses it.
        BringUpError: It could not be repaired.
    """
    record = up(name, None, "auto", LndSettings())
    topology = Topology.from_dict(record.topology)
    with LndBackend(topology, settings=LndSettings(network=name)) as backend:
        return backend.reset(topology.start_balances_msat())


def _mended(record: NetworkRecord, topology: Topology) -> Launcher:
    """Return the launcher of a network that exists, its btcd up with the chain that its nodes know."""
    launcher = connect_launcher(record)
    if not all(launcher.alive().values()):
        # Some of it is gone or hangs: end what is left in good order, and start it all from its state.
        _stop_keeping(record, launcher)
    launcher.start_chain(topology)
    load_chain(record)
    return launcher


def _stop_keeping(record: NetworkRecord, launcher: Launcher) -> None:
    """Stop a network so that it can go on later."""
    with suppress(BackendError):
        save_chain(record)
    launcher.stop(keep=True)


def _bring_up(launcher: Launcher, topology: Topology, settings: LndSettings) -> NetworkRecord:
    """Bring a network up, write its record with public keys, and leave it running."""
    network = bring_up(launcher, topology, settings)
    endpoints = tuple(client.endpoint for client in network.clients)
    run(network.close())
    record = msgspec.structs.replace(launcher.record(), nodes=endpoints)
    folders.write_record(record)
    save_chain(record)
    launcher.detach()
    return record


def _refuse_change(record: NetworkRecord, kept: Topology, topology: Topology | None, launcher: LauncherName) -> None:
    """Refuse to make another network out of one that exists."""
    if topology is not None and topology.to_dict() != kept.to_dict():
        raise ConfigError(
            f"expected the topology that the network {record.name!r} was made with, got another: "
            f"take it down first (`lnsim down --name {record.name}`), or choose another name"
        )
    if launcher not in ("auto", record.launcher):
        raise ConfigError(
            f"expected launcher {record.launcher!r}, which made the network {record.name!r}, got {launcher!r}: "
            f"take it down first (`lnsim down --name {record.name}`), or choose another name"
        )


@contextmanager
def exclusive(record: NetworkRecord) -> Iterator[None]:
    """Hold a network for oneself.

    Raises:
        ConfigError: Another program uses it.
    """
    try:
        with FileLock(f"{record.folder}.lock", timeout=0):
            yield
    except Timeout:
        raise ConfigError(
            f"expected the network {record.name!r} to be free, another program uses it: end that program first"
        ) from None


def take_down(name: str, *, keep: bool = False) -> bool:
    """Stop a named network and remove everything that it made.

    Args:
        name: Its name; what a network of that name left although its record is gone is removed, too.
        keep: Leave its state, so that ``up`` continues with it.

    Returns:
        Whether there was one.
    """
    record = folders.find_named(name)
    if record is None:
        remove_leftovers(name)
        return False
    with exclusive(record):
        launcher = connect_launcher(record)
        if keep:
            _stop_keeping(record, launcher)
        else:
            launcher.stop()
    Path(f"{record.folder}.lock").unlink(missing_ok=True)
    return True


def back_up(record: NetworkRecord, folder: Path, recordings: Path | None = None) -> Path:
    """Copy what a network leaves behind: topology, last status, every log, and recordings.

    Args:
        record: The network.
        folder: Where to make a folder for the copy.
        recordings: Folder of recorded episodes to copy as well.

    Returns:
        The folder made. Its files hold no credentials.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    launcher = connect_launcher(record)
    status = msgspec.to_builtins(network_status(record))
    target = folder / f"{record.name}-{time.strftime('%Y%m%dT%H%M%S')}"
    try:
        (target / "logs").mkdir(parents=True)
        (target / "topology.json").write_text(json.dumps(record.topology, indent=2))
        (target / "status.json").write_text(json.dumps(status, indent=2))
        for node in (CHAIN, *launcher.endpoints):
            safe = re.sub(r"[^\w.-]", "_", node)
            (target / "logs" / f"{safe}.log").write_text(launcher.log_tail(node, _EVERY_LINE))
        if recordings is not None and recordings.is_dir():
            shutil.copytree(recordings, target / "recordings")
    except OSError as problem:
        with suppress(OSError):
            shutil.rmtree(target)
        raise ConfigError(
            f"expected to write a backup to {target}, got {problem.strerror}: choose another folder"
        ) from None
    launcher.detach()
    return target
