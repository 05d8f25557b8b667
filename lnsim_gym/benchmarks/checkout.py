"""Another checkout of this project, older or newer, whose code runs in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from lnsim_gym.errors import ConfigError, LnsimError

__all__ = ["THIS", "Checkout"]

LNSIM: Final = "from lnsim_gym.cli import main; main()"
"""The ``lnsim`` command of whichever checkout comes first on the path."""


class Checkout(msgspec.Struct, frozen=True):
    """A folder with the package in it."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Checkout:
        """Return the checkout in a folder.

        Raises:
            ConfigError: There is no importable package in that folder.
        """
        own = cls(folder.resolve())
        if not (own.folder / "lnsim_gym" / "__init__.py").is_file():
            raise ConfigError(f"expected a checkout of this project, found no lnsim_gym in {folder}")
        imported = Path(own.python("import lnsim_gym; print(lnsim_gym.__file__)").strip())
        if not imported.is_relative_to(own.folder):
            raise ConfigError(f"expected lnsim_gym to be imported from {folder}, it came from {imported}")
        return own

    def python(self, program: str, *arguments: str, **environment: str) -> str:
        """Run a Python program with the package of this checkout and return its output.

        Args:
            program: Source text.
            arguments: Arguments of the program.
            environment: Environment variables that differ from those of this process.

        Raises:
            LnsimError: The program failed.
        """
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LnsimError(f"the code of {self.folder} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def bench(self, *arguments: str) -> dict[str, Any]:
        """Return what ``lnsim bench`` of this checkout measures.

        Args:
            arguments: Arguments of ``lnsim bench``, without ``--json``.

        Raises:
            LnsimError: The benchmark failed.
        """
        report: dict[str, Any] = msgspec.json.decode(self.python(LNSIM, "bench", *arguments, "--json"))
        return report


THIS: Final = Checkout(Path(__file__).resolve().parents[2])
"""Where this code lies."""
