"""The launcher of Lightning Lens: an unmodified checkout as a client of the bridge, in an interpreter of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from lnsim_gym.bridge import lens_shim
from lnsim_gym.errors import ConfigError, MissingDependency
from lnsim_gym.paths import private_dir, state_dir

__all__ = ["run_lens"]

_REQUIREMENTS: Final = ("pandas", "sklearn", "joblib", "yaml", "websockets")
_CHECK_TIMEOUT_S: Final = 60


def run_lens(checkout: Path, uri: str, python: str | None = None, workdir: Path | None = None) -> int:
    """Run a checkout of Lightning Lens, or of its successor platform, until it ends; return its exit status.

    Args:
        checkout: Folder of the repository; nothing is written into it.
        uri: Address of the bridge.
        python: Interpreter that has the requirements of Lightning Lens; by default this one.
        workdir: Folder for the logs and data it writes; by default one in the state folder.

    Raises:
        ConfigError: The folder holds no Lightning Lens, or the interpreter cannot be run.
        MissingDependency: The interpreter lacks a requirement.
    """
    try:
        lens_shim.find_client(checkout)
    except FileNotFoundError as problem:
        raise ConfigError(str(problem)) from None
    interpreter = _find_interpreter(python or sys.executable)
    _require_modules(interpreter)
    folder = private_dir(workdir or state_dir() / "lens")
    command = [interpreter, lens_shim.__file__, str(checkout.resolve()), "--uri", uri]
    return subprocess.run(command, cwd=folder, check=False).returncode


def _find_interpreter(python: str) -> str:
    """Return the path of an interpreter that holds in any folder; links stay, as they make an environment."""
    found = shutil.which(python)
    if found is None:
        raise ConfigError(f"expected a Python interpreter, got {python!r}: there is no such program")
    return os.path.abspath(found)


def _require_modules(interpreter: str) -> None:
    """Refuse an interpreter that cannot run Lightning Lens."""
    probe = "import importlib.util, sys; print(*(m for m in sys.argv[1:] if importlib.util.find_spec(m) is None))"
    command = [interpreter, "-c", probe, *_REQUIREMENTS]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_CHECK_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as problem:
        raise ConfigError(f"expected a Python interpreter, got {interpreter!r}: {problem}") from None
    if missing := found.stdout.split():
        raise MissingDependency(
            f"Lightning Lens needs {', '.join(missing)}, which {interpreter} lacks: install its requirements.txt "
            "into an environment of its own and name that with --python"
        )
