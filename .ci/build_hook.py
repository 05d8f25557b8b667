"""A step of building wheels: they bring the machine code of the simulator, and the pages of the documentation.

The build environment gets what the package needs, plays an episode of every task, and builds the pages meanwhile. Where
the first fails, or with ``HATCH_BUILD_NO_HOOKS=true``, the wheel is a plain one for any machine. An editable install
keeps both in the checkout, where git ignores them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MACHINE_CODE = "lnsim_gym/compiled/machine_code"
SITE = "lnsim_gym/site"
"""Where they lie in the package."""
PROGRAM = """
import gymnasium as gym
import lnsim_gym

for task in ("liquidity", "every_node"):
    environment = gym.make("LightningNet-v0", task=task)
    environment.reset(seed=0)
    for _ in range(50):  # until some payment fails, whose attempts are then counted
        environment.step(environment.action_space.sample())
        environment.unwrapped.last_outcomes()
"""
"""Makes what most use; payments in parts, networks with links and the operator's task would take far longer."""


class BuildHook(BuildHookInterface[Any]):
    """Makes machine code and pages, and puts them into the wheel, which then is for this platform and this Python."""

    def dependencies(self) -> list[str]:
        """See ``BuildHookInterface``."""
        return [*self.metadata.core.dependencies, *self.metadata.core.optional_dependencies["docs"]]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See ``BuildHookInterface``; the version is "standard" or "editable"."""
        self._scratch = tempfile.TemporaryDirectory(prefix="lnsim-build-", ignore_cleanup_errors=True)
        scratch = Path(self._scratch.name)
        compiling = self._start(sys.executable, "-c", PROGRAM)
        building = self._start(sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(scratch / "site"))
        if self._done(compiling, "the simulator will be compiled at first use, as it was not here"):
            made = scratch / "lnsim"
            for lock in made.rglob("*.lock"):
                lock.unlink()
            self._ship(made, MACHINE_CODE, version, build_data)
            if version != "editable":
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
        if self._done(building, "the documentation is left out"):
            self._ship(scratch / "site", SITE, version, build_data)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """See ``BuildHookInterface``."""
        self._scratch.cleanup()

    def _start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program that finds the package and keeps its machine code in the scratch folder."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        found = os.pathsep.join([self.root, *filter(None, [variables.get("PYTHONPATH")])])  # installers set it, too
        variables |= {"NUMBA_CACHE_DIR": self._scratch.name, "PYTHONPATH": found, "NO_MKDOCS_2_WARNING": "1"}
        output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=variables, cwd=self.root, text=True, **output)

    def _done(self, program: subprocess.Popen[str], otherwise: str) -> bool:
        """Wait for a program; warn of what its failure means."""
        _, said = program.communicate()
        if program.returncode != 0:
            self.app.display_warning(f"{otherwise}: {said.strip().splitlines()[-1:]}")
        return program.returncode == 0

    def _ship(self, made: Path, place: str, version: str, build_data: dict[str, Any]) -> None:
        """Put a folder into the wheel, or into the checkout that an editable installation uses."""
        if version == "editable":
            shutil.rmtree(Path(self.root, place), ignore_errors=True)
            shutil.copytree(made, Path(self.root, place))
        else:
            build_data["force_include"][str(made)] = place
