"""Where machine code is kept between processes: one folder for each version of the source and of what compiles it.

numba's own cache looks at the one file that holds a kernel; the folder here is named by a hash of every file that
kernels may be made of, so that a change in any of them gets a folder of its own. ``NUMBA_CACHE_DIR`` says where the
folders lie. An installation may bring such a folder, made when it was built (``SHIPPED``): the user's is filled from
it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import llvmlite
import numba
import numpy as np

from lnsim_gym.errors import LnsimError
from lnsim_gym.paths import cache_dir

__all__ = [
    "ABOVE_KERNELS",
    "FINGERPRINT",
    "SHIPPED",
    "cache_folder",
    "drop_old_folders",
    "forget",
    "is_sound",
    "numba_keeps_in",
    "root_folder",
    "seal",
    "take_shipped",
]

ABOVE_KERNELS: Final = (
    "agents",
    "benchmarks",
    "bridge",
    "cli",
    "corridor",
    "dashboard",
    "environment",
    "own_node",
    "rendering",
)
"""Rooms that no other room's kernels are made of: what changes there compiles nothing else anew. A kernel that one of
them holds is made of its own module and of rooms that are not named here, so that numba's look at that one file does.
"""
KEEP_S: Final = 30 * 86_400
"""Age in seconds at which the machine code of a version that is no longer used is dropped."""
_DIGITS: Final = 20
_CHECKSUMS: Final = "checksums.json"
_setting = threading.Lock()


def _fingerprint(package: Path) -> str:
    """Return a hash of every source file that kernels may be made of and of the versions of what compiles it."""
    digest = hashlib.blake2b(digest_size=_DIGITS // 2)
    versions = (numba.__version__, llvmlite.__version__, np.__version__, platform.python_version())
    digest.update(repr(versions).encode())
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        # Wheels bring recipes and single files of agents as data, which a checkout has elsewhere.
        if name.startswith(tuple(f"{room}/" for room in (*ABOVE_KERNELS, "data"))):
            continue
        digest.update(f"\n{name}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


FINGERPRINT: Final = _fingerprint(Path(__file__).resolve().parents[1])
"""Names this version; taken at once, so that a source that changes later is not taken for what was loaded."""
SHIPPED: Final = Path(__file__).resolve().parent / "machine_code" / FINGERPRINT
"""This version's folder inside the package, where the installation brought one."""


def root_folder() -> Path:
    """Return the folder of the folders of all versions.

    Raises:
        LnsimError: It cannot be made.
    """
    return Path(numba.config.CACHE_DIR).absolute() / "lnsim" if numba.config.CACHE_DIR else cache_dir() / "kernels"  # type: ignore[attr-defined]


def cache_folder() -> Path | None:
    """Return this version's folder: the user's, else the installation's, else None where nothing can be written."""
    with suppress(OSError, LnsimError):
        folder = root_folder() / FINGERPRINT
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            os.utime(folder)  # marks it as in use
        return folder
    return SHIPPED if SHIPPED.is_dir() else None


@contextmanager
def numba_keeps_in(folder: Path) -> Iterator[None]:
    """Let numba keep what is decorated meanwhile in a folder."""
    with _setting:
        before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            numba.config.CACHE_DIR = before  # type: ignore[attr-defined]


def seal(folder: Path) -> None:
    """Write down the checksums of all machine code in a folder, for ``is_sound``."""
    sums = {str(file.relative_to(folder)): _checksum(file) for file in folder.rglob("*.nbc")}
    with suppress(OSError):
        beside = folder / f"{_CHECKSUMS}.{os.getpid()}"
        beside.write_text(json.dumps(sums), encoding="utf-8")
        beside.replace(folder / _CHECKSUMS)


def is_sound(folder: Path) -> bool:
    """Return whether the machine code in a folder is what was written: a damaged file could crash the process."""
    try:
        sums = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
        return all(_checksum(folder / name) == known for name, known in sums.items())
    except FileNotFoundError:
        return not any(folder.rglob("*.nbc"))
    except (OSError, ValueError, AttributeError):
        return False


def _checksum(file: Path) -> int:
    """Return a checksum of a file that tells accidents."""
    return zlib.crc32(file.read_bytes())


def forget(folder: Path) -> None:
    """Remove all machine code of a version: some of it is damaged."""
    for file in [*folder.rglob("*.nb[ci]"), folder / _CHECKSUMS]:
        with suppress(OSError):
            file.unlink()


def take_shipped(folder: Path) -> None:
    """Copy what the installation brought into a folder without machine code.

    What is half copied counts as damaged, as its checksums come last.
    """
    with suppress(OSError):
        if SHIPPED.is_dir() and not any(folder.rglob("*.nbc")) and is_sound(SHIPPED):
            for file in [*SHIPPED.rglob("*.nbc"), *SHIPPED.rglob("*.nbi")]:
                copy = folder / file.relative_to(SHIPPED)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
            seal(folder)


def drop_old_folders(folder: Path) -> None:
    """Remove the folders of other versions that were not used for a month."""
    for other in folder.parent.iterdir():
        with suppress(OSError):
            named_so = re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", other.name) is not None
            if named_so and other != folder and time.time() - other.stat().st_mtime > KEEP_S:
                shutil.rmtree(other)
