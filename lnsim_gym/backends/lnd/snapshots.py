"""Named snapshots: networks of real nodes kept on disk as they were, from which they are up again in seconds.

A snapshot holds the folders of all lnds at one moment, the chain that they know, and the state that resets go back to.
Its files hold keys and macaroons, and are for their owner only. It is written whole or not at all, with a checksum of
every file, and used with the version of lnd that wrote it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from lnsim_gym import paths
from lnsim_gym.backends.lnd.named import exclusive, take_down, up
from lnsim_gym.backends.lnd.nodes import folders
from lnsim_gym.backends.lnd.nodes.kept_chain import save_chain
from lnsim_gym.backends.lnd.nodes.launchers.choose import connect_launcher
from lnsim_gym.backends.lnd.nodes.launchers.process import ProcessLauncher
from lnsim_gym.backends.lnd.nodes.programs import find_binaries
from lnsim_gym.backends.lnd.nodes.record import NetworkRecord
from lnsim_gym.backends.lnd.settings import LndSettings
from lnsim_gym.errors import BackendError, ConfigError, did_you_mean
from lnsim_gym.network import Topology

__all__ = ["Snapshot", "remove", "save", "snapshots", "up_from"]

_ABOUT: Final = "about.json"
_STATE: Final = "state"
_UNFINISHED: Final = ".unfinished-"
_FORMAT: Final = 1


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a snapshot, as written to ``about.json`` in its folder."""

    name: str
    format: int
    lnd_version: str
    """What ``lnd --version`` says."""
    saved_s: float
    """When it was taken, in Unix seconds."""
    topology: dict[str, Any]
    """``Topology.to_dict()``."""
    pubkeys: tuple[str, ...]
    """Of the nodes, in the order of the topology."""
    lnd_flags: tuple[str, ...] = ()
    """Flags that every lnd is started with besides the usual ones."""
    checksums: dict[str, str]
    """SHA-256 of every file of the state, by its path in there."""
    size_bytes: int

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return _root() / self.name


def save(name: str, network: str) -> Snapshot:
    """Keep a named network, which is up and goes on, as a snapshot.

    Args:
        name: Name of the snapshot.
        network: Name of the network.

    Raises:
        ConfigError: There is a snapshot of that name, no such network, a program uses it, or Docker runs it.
        BackendError: It is not up.
    """
    folders.check_name(name, "snapshot")
    if (_root() / name).exists():
        raise ConfigError(
            f"expected the name of a new snapshot, got {name!r}, which there is: "
            f"choose another, or `lnsim snapshot remove {name}` first"
        )
    record = folders.find_record(network)
    launcher = connect_launcher(record)
    if not isinstance(launcher, ProcessLauncher):
        raise ConfigError(
            f"expected a network that is run as processes, {network!r} is run by the {record.launcher} launcher: "
            "bring one up with `lnsim up --launcher process`"
        )
    with exclusive(record):
        stopped = [node for node, alive in launcher.alive().items() if not alive]
        if stopped:
            raise BackendError(
                f"expected the network {network!r} to be up, {', '.join(stopped)} is not: `lnsim up --name {network}`"
            )
        save_chain(record)
        scratch = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=_root()))
        try:
            launcher.copy_state(scratch / _STATE)
            snapshot = _described(name, record, scratch / _STATE)
            paths.write_private(scratch / _ABOUT, msgspec.json.encode(snapshot))
            scratch.rename(_root() / name)
        except OSError as problem:
            raise ConfigError(
                f"expected to write the snapshot {name!r} to {_root()}, got {problem.strerror}: make room there"
            ) from None
        finally:
            launcher.detach()
            shutil.rmtree(scratch, ignore_errors=True)
    return snapshot


def snapshots() -> list[Snapshot]:
    """Return all snapshots by name; those whose description is damaged are left out."""
    found = []
    for path in sorted(_root().glob(f"*/{_ABOUT}")):
        try:
            found.append(_read(path))
        except ConfigError:
            continue
    return found


def remove(name: str) -> None:
    """Remove a snapshot, also one that is damaged.

    Raises:
        ConfigError: There is none of that name.
    """
    shutil.rmtree(_folder(name))


def up_from(name: str, network: str, settings: LndSettings) -> NetworkRecord:
    """Bring up a new network as a snapshot has it, run as processes.

    Args:
        name: Name of the snapshot.
        network: Name of the new network.
        settings: Deadlines.

    Returns:
        Its record.

    Raises:
        ConfigError: There is no such snapshot, it is damaged or of another version, the network exists, or another one
            has the same nodes.
        BringUpError: The network did not become ready; what was made is removed.
    """
    folder = _folder(name)
    snapshot = _read(folder / _ABOUT)
    _refuse_damage(snapshot)
    if folders.find_named(network) is not None:
        raise ConfigError(
            f"expected the name of a new network, got {network!r}, which there is: "
            f"`lnsim down --name {network}` first, or choose another name"
        )
    _refuse_twins(snapshot)
    launcher = ProcessLauncher(network, detached=True, lnd_flags=snapshot.lnd_flags)
    try:
        launcher.lay(Topology.from_dict(snapshot.topology), folder / _STATE)
        return up(network, None, "auto", settings)
    except BaseException:
        # What was started is known to the record; without one nothing was.
        with suppress(ConfigError):
            take_down(network)
        launcher.stop()
        raise


def _root() -> Path:
    return paths.private_dir(paths.state_dir() / "snapshots")


def _folder(name: str) -> Path:
    """Return the folder of a snapshot.

    Raises:
        ConfigError: There is none of that name.
    """
    known = [path.name for path in _root().iterdir() if not path.name.startswith(".")]
    if name not in known:
        raise ConfigError(
            f"expected the name of a snapshot, got {name!r}.{did_you_mean(name, known)} "
            f"Known: {', '.join(sorted(known)) or 'none'}; `lnsim snapshot save NAME` makes one"
        )
    return _root() / name


def _described(name: str, record: NetworkRecord, state: Path) -> Snapshot:
    """Describe what was copied."""
    files = list(_files(state))
    return Snapshot(
        name=name,
        format=_FORMAT,
        lnd_version=_lnd_version(),
        saved_s=time.time(),
        topology=record.topology,
        pubkeys=tuple(node.pubkey for node in record.nodes),
        lnd_flags=record.lnd_flags,
        checksums={str(path.relative_to(state)): _checksum(path) for path in files},
        size_bytes=sum(path.stat().st_size for path in files),
    )


def _read(about: Path) -> Snapshot:
    """Read what a snapshot says of itself.

    Raises:
        ConfigError: It is none.
    """
    try:
        snapshot = msgspec.json.decode(about.read_bytes(), type=Snapshot)
    except (OSError, msgspec.MsgspecError) as problem:
        raise _damaged(about.parent.name, f"{_ABOUT} cannot be read ({problem})") from None
    return msgspec.structs.replace(snapshot, name=about.parent.name)


def _refuse_damage(snapshot: Snapshot) -> None:
    """Refuse a snapshot that is not as it was saved, or not for this lnd.

    Raises:
        ConfigError: It is so.
    """
    if snapshot.format != _FORMAT or snapshot.lnd_version != _lnd_version():
        raise ConfigError(
            f"expected a snapshot of {_lnd_version()!r} in format {_FORMAT}, {snapshot.name!r} is of "
            f"{snapshot.lnd_version!r} in format {snapshot.format}: `lnsim snapshot remove {snapshot.name}`, and save "
            "it again from a network of this version"
        )
    state = snapshot.folder / _STATE
    found = {str(path.relative_to(state)): path for path in _files(state)}
    for name in sorted(snapshot.checksums.keys() | found.keys()):
        if name not in found:
            raise _damaged(snapshot.name, f"{name} is missing")
        if name not in snapshot.checksums or _checksum(found[name]) != snapshot.checksums[name]:
            raise _damaged(snapshot.name, f"{name} is not as it was saved")
    try:
        Topology.from_dict(snapshot.topology)
    except ConfigError as problem:
        raise _damaged(snapshot.name, f"its topology is none ({problem})") from None


def _refuse_twins(snapshot: Snapshot) -> None:
    """Refuse a second network of the same nodes: each would connect to the other's, and break its channels.

    Raises:
        ConfigError: There is one.
    """
    for record in folders.records():
        if {node.pubkey for node in record.nodes}.intersection(snapshot.pubkeys):
            raise ConfigError(
                f"expected no other network of the nodes of the snapshot {snapshot.name!r}, {record.name!r} is one: no "
                f"two may have the same keys, `lnsim down --name {record.name}` first"
            )


def _damaged(name: str, how: str) -> ConfigError:
    return ConfigError(
        f"expected the snapshot {name!r} to be whole, {how}: `lnsim snapshot remove {name}`, and save it again"
    )


def _files(state: Path) -> Iterator[Path]:
    return (path for path in state.rglob("*") if path.is_file() or path.is_symlink())


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(partial(file.read, 2**20), b""):
                digest.update(block)
    except OSError as problem:
        return f"unreadable: {problem.strerror}"
    return digest.hexdigest()


def _lnd_version() -> str:
    """Return what the lnd that networks are run with says of its version.

    Raises:
        MissingDependency: There is none.
        BackendError: It does not say.
    """
    lnd = find_binaries().lnd
    said = subprocess.run([lnd, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
    if not (found := re.match(r"lnd version (\S+)", said)):
        raise BackendError(f"expected {lnd} to say its version, got {said[:80]!r}: run `lnsim nodes build`")
    return found[1]
