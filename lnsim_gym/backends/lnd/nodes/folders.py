"""Where live networks keep their files: private folders, and the records by which networks are found again.

Every network has one folder, for its owner only, with a ``network.json`` in it. Folders lie on tmpfs when there is
room, because lnd waits for the disk on every update. Who starts and stops daemons is not known here.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import psutil

from lnsim_gym import paths
from lnsim_gym.backends.lnd.nodes.posix import user_id
from lnsim_gym.backends.lnd.nodes.record import NetworkRecord
from lnsim_gym.errors import ConfigError, did_you_mean

__all__ = [
    "check_name",
    "disk_root",
    "find_named",
    "find_record",
    "is_orphan",
    "make_folder",
    "records",
    "state_root",
    "unrecorded",
    "write_record",
]

RECORD_FILE: Final = "network.json"
_TMPFS: Final = Path("/dev/shm")
_ROOM_PER_NODE: Final = 64 * 1024 * 1024
_ABANDONED_S: Final = 3600.0
_ROOM_SPARE: Final = 256 * 1024 * 1024


def state_root(nodes: int = 2, override: str | None = None) -> Path:
    """Return the folder that holds the folders of networks, created when missing.

    Args:
        nodes: How many lnds there must be room for.
        override: A folder chosen by the user.

    Raises:
        ConfigError: The folder cannot be made, or belongs to another user.
    """
    if override is not None:
        return paths.private_dir(override)
    roomy = _TMPFS.is_dir() and os.access(_TMPFS, os.W_OK)
    if roomy and shutil.disk_usage(_TMPFS).free >= _ROOM_SPARE + nodes * _ROOM_PER_NODE:
        return _own_folder(_TMPFS)
    return _own_folder(Path(tempfile.gettempdir()))


def disk_root() -> Path:
    """Return the folder for networks whose files belong on disk, such as those that Docker keeps there too."""
    return paths.private_dir(paths.state_dir() / "networks")


def make_folder(name: str, nodes: int, override: str | None = None) -> Path:
    """Make the private folder of a new network.

    Raises:
        ConfigError: A network of that name exists already.
    """
    folder = state_root(nodes, override) / name
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise ConfigError(
            f"expected a new network name, got {name!r}, which exists in {folder}: `lnsim down` it or choose another"
        ) from None
    return folder


def write_record(record: NetworkRecord) -> None:
    """Write the record of a network into its folder, in one move, readable by its owner only."""
    paths.write_private(Path(record.folder) / RECORD_FILE, msgspec.json.encode(record))


def records(override: str | None = None) -> Iterator[NetworkRecord]:
    """Yield the records of all networks of this user on this machine."""
    for root in _roots(override):
        for path in sorted(root.glob(f"*/{RECORD_FILE}")):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=NetworkRecord)
            except (OSError, msgspec.MsgspecError):
                continue


def unrecorded(override: str | None = None) -> Iterator[Path]:
    """Yield folders that never got a record, or lost it, and have not changed for an hour: no process works on them."""
    for root in _roots(override):
        for folder in root.iterdir():
            if folder.is_dir() and not (folder / RECORD_FILE).exists():
                with suppress(FileNotFoundError):
                    if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                        yield folder


def find_record(name: str, override: str | None = None) -> NetworkRecord:
    """Return the record of a network.

    Raises:
        ConfigError: There is none of that name.
    """
    known = {record.name: record for record in records(override)}
    if name not in known:
        raise ConfigError(
            f"expected the name of a running network, got {name!r}.{did_you_mean(name, known)} "
            f"Known: {', '.join(known) or 'none'}; start one with `lnsim up`"
        )
    return known[name]


def find_named(name: str) -> NetworkRecord | None:
    """Return the record of a named network, or None when there is none.

    Raises:
        ConfigError: The name is none that a network can have.
    """
    check_name(name, "network")
    return next((record for record in records() if record.name == name and record.owner_pid == 0), None)


def check_name(name: str, what: str) -> None:
    """Refuse a name that a network, or what is made of one, cannot have.

    Args:
        name: The name.
        what: What is named, for the error.

    Raises:
        ConfigError: It is none.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,29}", name):
        raise ConfigError(
            f"expected a {what} name of at most 30 lower-case letters, digits, - and _, "
            f"beginning with a letter or digit, got {name!r}"
        )


def is_orphan(record: NetworkRecord) -> bool:
    """Whether the process that the network should have died with is gone."""
    if record.owner_pid == 0:
        return False
    try:
        return abs(psutil.Process(record.owner_pid).create_time() - record.owner_started) > 1
    except psutil.NoSuchProcess:
        return True


def _roots(override: str | None) -> list[Path]:
    """Return every folder that may hold networks."""
    if override is not None:
        return [paths.private_dir(override)]
    parents = [parent for parent in (_TMPFS, Path(tempfile.gettempdir())) if (parent / _folder_name()).is_dir()]
    return [*map(_own_folder, parents), disk_root()]


def _folder_name() -> str:
    return f"lnsim-{user_id()}"


def _own_folder(parent: Path) -> Path:
    """Make our folder in a directory that every user may write to, and refuse one that another user put there."""
    folder = paths.private_dir(parent / _folder_name())
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user_id():
        raise ConfigError(f"expected {folder} to be a folder of your own, it is not: remove it or set the state folder")
    return folder
