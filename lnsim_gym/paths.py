"""Where files lie: the data folders that ship with the package, the user's cache, and the user's state.

One function finds ``envs/``, ``agents/`` and ``compose/``, in a checkout (beside the package) and in an installed
wheel (inside it) alike. What is in those folders is known to the rooms that read them, not here.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, get_args

import platformdirs

from lnsim_gym.errors import ConfigError, MissingDependency, did_you_mean

__all__ = ["DataFolder", "cache_dir", "data_folder", "expanded", "private_dir", "state_dir", "write_private"]

DataFolder = Literal["envs", "agents", "compose"]
"""Name of a root folder that ships inside the wheel."""

_APP: Final = "lnsim"
_PACKAGE: Final = Path(__file__).resolve().parent


def data_folder(name: DataFolder) -> Path:
    """Return the folder of that name that ships with the package.

    Args:
        name: ``"envs"``, ``"agents"`` or ``"compose"``.

    Raises:
        ConfigError: There is no such folder in the project.
        MissingDependency: The installation is incomplete.
    """
    known = get_args(DataFolder)
    if name not in known:
        raise ConfigError(f"expected a data folder out of {', '.join(known)}, got {name!r}.{did_you_mean(name, known)}")
    installed = _PACKAGE / "data" / name
    checkout = _PACKAGE.parent / name
    if installed.is_dir():
        return installed
    # A folder of this name beside an installed package would belong to another program: only a checkout counts.
    if checkout.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return checkout
    raise MissingDependency(f"expected the folder {installed} or {checkout}, found neither: install lnsim_gym again")


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder in place of ``~``.

    Raises:
        ConfigError: It is that of a user there is not.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):
        raise ConfigError(f"expected a path, got {str(path)!r}: there is no such user, write ./~ for a name") from None


def cache_dir() -> Path:
    """Return the folder for what can be rebuilt (binaries), created when missing.

    ``LNSIM_CACHE_DIR`` overrides the platform's own choice.
    """
    return private_dir(os.environ.get("LNSIM_CACHE_DIR") or platformdirs.user_cache_dir(_APP))


def state_dir() -> Path:
    """Return the folder for named networks and their credentials, created when missing, for its owner only.

    ``LNSIM_STATE_DIR`` overrides the platform's own choice.
    """
    return private_dir(os.environ.get("LNSIM_STATE_DIR") or platformdirs.user_state_dir(_APP))


def private_dir(path: str | os.PathLike[str]) -> Path:
    """Create a folder, its parents included, and make sure that only its owner can look inside (mode 0700).

    Raises:
        ConfigError: The folder belongs to another user, or cannot be made.
    """
    folder = expanded(path).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as problem:
        raise ConfigError(
            f"expected to own the folder {folder}, got {problem.strerror}: "
            "set LNSIM_STATE_DIR and LNSIM_CACHE_DIR to folders of your own"
        ) from None
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all; what was there stays until it is.

    A link is followed; what is no file, such as a pipe, is written to as it is.

    Raises:
        ConfigError: It cannot be written there.
    """
    try:
        place = path.expanduser().resolve()
        if place.exists() and not place.is_file():
            place.write_bytes(content)
            return
        descriptor, fresh = tempfile.mkstemp(prefix=f".{place.name[:100]}-", dir=place.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(fresh, place)
        except BaseException:
            with suppress(OSError):
                os.unlink(fresh)
            raise
    except (OSError, RuntimeError) as problem:  # links that lead in a circle are a RuntimeError
        raise ConfigError(f"cannot write {path}: {getattr(problem, 'strerror', None) or problem}") from None
