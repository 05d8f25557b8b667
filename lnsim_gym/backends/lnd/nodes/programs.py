"""The daemons' programs: found on this machine, built from the pinned Go module, or packed into a Docker image.

The module in ``compose/nodes`` fixes the version and hash of all that ``lnd``, ``lncli`` and ``btcd`` are built
from. Starting them is the work of the launchers.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Final, NamedTuple

from filelock import FileLock

from lnsim_gym.backends.lnd.nodes.posix import require_posix
from lnsim_gym.errors import BackendError, MissingDependency
from lnsim_gym.paths import cache_dir, data_folder, private_dir

__all__ = ["Binaries", "Progress", "binaries_folder", "build_binaries", "find_binaries", "lnd_version"]

Progress = Callable[[str, int, int], None]
"""Called with what is going on, how many packages are done, and how many there are (0 while unknown)."""


class Binaries(NamedTuple):
    """Paths of the three programs."""

    lnd: Path
    lncli: Path
    btcd: Path


_PACKAGES: Final = {
    "lnd": "github.com/lightningnetwork/lnd/cmd/lnd",
    "lncli": "github.com/lightningnetwork/lnd/cmd/lncli",
    "btcd": "github.com/btcsuite/btcd",
}
_TAGS: Final = "autopilotrpc signrpc walletrpc chainrpc invoicesrpc peersrpc kvdb_sqlite lowscrypt"
_FLAGS: Final = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-tags", _TAGS)
_REMEDY: Final = "run `lnsim nodes build` (needs Go, takes some minutes once), or put them on PATH"


def find_binaries() -> Binaries:
    """Find all three programs: on PATH, else in the cache that ``build_binaries`` fills.

    Raises:
        MissingDependency: Neither place has all three; the text says which are missing and what to do.
    """
    on_path = {name: shutil.which(name) for name in Binaries._fields}
    missing = [name for name, path in on_path.items() if path is None]
    if not missing:
        return Binaries(*(Path(path).absolute() for path in on_path.values() if path))
    cached = _in_folder(binaries_folder())
    if cached is None:
        raise MissingDependency(
            f"expected lnd, lncli and btcd on PATH or in {binaries_folder()}, "
            f"found no {' and no '.join(missing)}: {_REMEDY}"
        )
    return cached


def _in_folder(folder: Path) -> Binaries | None:
    """Return the three programs of a folder, or nothing unless all are there."""
    found = Binaries(*(folder / name for name in Binaries._fields))
    return found if all(os.access(path, os.X_OK) for path in found) else None


@cache
def lnd_version() -> str:
    """Return the version of lnd that the module pins, such as ``0.21.2-beta``."""
    text = (data_folder("compose") / "nodes" / "go.mod").read_text()
    found = re.search(r"^\s*github\.com/lightningnetwork/lnd v(\S+)", text, re.MULTILINE)
    if not found:
        raise MissingDependency("expected compose/nodes/go.mod to pin lnd, it does not: install lnsim_gym again")
    return found[1]


def binaries_folder() -> Path:
    """Return the folder of the cache that belongs to the pinned module, the build flags and this kind of machine."""
    module = data_folder("compose") / "nodes"
    key = hashlib.sha256("\0".join((*_FLAGS, platform.system(), platform.machine())).encode())
    for name in ("go.mod", "go.sum"):
        key.update((module / name).read_bytes())
    return cache_dir() / "nodes" / f"lnd-{lnd_version()}-{key.hexdigest()[:16]}"


def build_binaries(progress: Progress = lambda *_: None) -> Binaries:
    """Build the three programs from the pinned module into the cache, unless they are there already.

    Safe to interrupt and to run twice at once: a folder appears in the cache whole or not at all.

    Args:
        progress: Called with what is going on; see ``Progress``.

    Raises:
        MissingDependency: Go is missing or too old, or this is no POSIX system.
        BackendError: The build failed; the text carries the compiler's last lines.
    """
    require_posix()
    target = binaries_folder()
    room = private_dir(target.parent)
    progress("waiting for another build", 0, 0)
    with FileLock(room / "build.lock"):
        if (ready := _in_folder(target)) is not None:
            return ready
        for abandoned in room.glob(".build-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=room, prefix=".build-") as scratch:
            built = _build_in(Path(scratch), progress)
            shutil.rmtree(target, ignore_errors=True)
            built.rename(target)
    return Binaries(*(target / name for name in Binaries._fields))


def _build_in(scratch: Path, progress: Progress) -> Path:
    """Build in a copy of the module and return the folder with the checked programs."""
    shutil.copytree(data_folder("compose") / "nodes", scratch / "module", copy_function=shutil.copyfile)
    module = scratch / "module"
    out = scratch / "bin"
    out.mkdir(mode=0o700)
    _require_go(module)
    packages = list(_PACKAGES.values())
    progress("downloading modules", 0, 0)
    total = sum(1 for _ in _go(module, "list", "-deps", "-tags", _TAGS, *packages))
    for done, _ in enumerate(_go(module, "build", "-v", *_FLAGS, "-o", f"{out}{os.sep}", *packages), start=1):
        progress("compiling", min(done, total), total)
    progress("compiling", total, total)
    _check_versions(out)
    return out


def _require_go(module: Path) -> None:
    """Refuse a machine without Go, or whose Go is older than the module asks for."""
    wanted = re.search(r"^go (\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    needed = wanted[1] if wanted else "1.21"
    if shutil.which("go") is None:
        raise MissingDependency(
            f"expected Go {needed} or newer on PATH to build lnd, found none: see https://go.dev/dl"
        )
    answer = subprocess.run(
        ["go", "env", "GOVERSION"], cwd=module, env=_go_env(), capture_output=True, text=True, check=False
    )
    found = answer.stdout.strip().removeprefix("go")
    if answer.returncode or _numbers(found) < _numbers(needed):
        raise MissingDependency(
            f"expected Go {needed} or newer to build lnd, got {found or answer.stderr.strip()}: see https://go.dev/dl"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, such as (1, 25, 10)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _go_env() -> dict[str, str]:
    """Return the environment for Go: the caller's, without settings that would change what is built."""
    neutral = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOOS": "", "GOARCH": "", "GO111MODULE": "on"}
    return {**os.environ, **neutral}


def _go(module: Path, *arguments: str) -> Iterator[str]:
    """Run Go in the module and yield its lines as they come.

    Raises:
        BackendError: Go failed.
    """
    lines: list[str] = []
    with _process_group(["go", *arguments], module) as (process, stream):
        for line in stream:
            lines = [*lines[-19:], line.rstrip()]
            if not line.startswith("go: downloading"):
                yield line.rstrip()
        if process.wait() != 0:
            tail = "\n".join(lines)
            raise BackendError(f"expected `go {arguments[0]}` to succeed, it ended with {process.returncode}:\n{tail}")


@contextmanager
def _process_group(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run a program with its children as a group that does not survive the block."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_go_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        if process.stdout is not None:
            yield process, process.stdout
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _check_versions(folder: Path) -> None:
    """Refuse programs that do not start or are not what the module pins."""
    for name in Binaries._fields:
        answer = subprocess.run([folder / name, "--version"], capture_output=True, text=True, check=False, timeout=60)
        expected = f"{name} version {'' if name == 'btcd' else lnd_version()}"
        if not answer.stdout.startswith(expected):
            raise BackendError(
                f"expected the built {name} to say {expected!r}, got {(answer.stdout or answer.stderr)[:200]!r}: "
                "clear Go's caches (`go clean -cache -modcache`) and build again"
            )
