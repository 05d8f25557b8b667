"""A step of building wheels: they bring the machine code of the simulator, which need not be compiled at first use.

The build environment gets what the simulator needs, and plays an episode of every task. Where that fails, or with
``HATCH_BUILD_NO_HOOKS=true``, the wheel is a plain one for any machine. An editable installation keeps the machine code
in the checkout, where git ignores it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SIMULATOR = {"gymnasium", "numpy", "numba", "msgspec", "rich", "filelock", "platformdirs"}
"""Those of the project's dependencies that its simulator imports; the others would make each build longer."""
SHIPPED = "lnsim_gym/compiled/machine_code"
PROGRAM = """
import gymnasium as gym
import lnsim_gym
from lnsim_gym.tasks.config import CONFIGS

for task in CONFIGS:
    for max_parts in (1, 4):
        environment = gym.make("LightningNet-v0", task=task, payment={"max_parts": max_parts})
        environment.reset(seed=0)
        environment.step(environment.action_space.sample())
"""


class MachineCode(BuildHookInterface[Any]):
    """Makes machine code and puts it into the wheel, which then is for this platform and this Python."""

    def dependencies(self) -> list[str]:
        """See ``BuildHookInterface``."""
        return [line for line in self.metadata.core.dependencies if re.split(r"[^\w-]", line)[0] in SIMULATOR]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See ``BuildHookInterface``; the version is "standard" or "editable"."""
        made = self._make()
        if made is None:
            return
        if version == "editable":
            shutil.rmtree(Path(self.root, SHIPPED), ignore_errors=True)
            shutil.copytree(made, Path(self.root, SHIPPED))
            return
        build_data["force_include"][str(made)] = SHIPPED
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """See ``BuildHookInterface``."""
        self._scratch.cleanup()

    def _make(self) -> Path | None:
        """Return a folder of machine code, or None where it could not be made."""
        self._scratch = tempfile.TemporaryDirectory(prefix="lnsim-build-", ignore_cleanup_errors=True)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        found = os.pathsep.join([self.root, *filter(None, [variables.get("PYTHONPATH")])])  # installers set it, too
        variables |= {"NUMBA_CACHE_DIR": self._scratch.name, "PYTHONPATH": found}
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, env=variables, cwd=self.root, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()[-1:]
            self.app.display_warning(f"the simulator will be compiled at first use, as it was not here: {reason}")
            return None
        made = Path(self._scratch.name) / "lnsim"
        for lock in made.rglob("*.lock"):
            lock.unlink()
        return made
