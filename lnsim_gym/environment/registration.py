"""Registration of every environment file with Gymnasium: at once, or as soon as Gymnasium is imported.

Whoever plays imports Gymnasium; a command that only looks at a network answers sooner without it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:  # which takes longer to import than all that is here
    Loader = MetaPathFinder = object

__all__ = ["CORRIDOR_DESCRIPTION", "CORRIDOR_ID", "register_environments"]

CORRIDOR_ID = "LightningOperatorCorridor-v0"
CORRIDOR_DESCRIPTION = "Episodes of LightningOperatorFees-v0, surveyed once and replayed: for programs to train in"
_CORRIDOR_OF = "LightningOperatorFees-v0"
"""Whose settings it has."""
_GYMNASIUM = "gymnasium"


def register_environments() -> None:
    """Register each file of ``envs/`` that is not yet, once Gymnasium is there; harmless when called again."""
    if _GYMNASIUM not in sys.modules:
        if not any(isinstance(finder, _Awaiting) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Awaiting())
        return
    import gymnasium as gym  # noqa: PLC0415

    from lnsim_gym.environment.files import environment_files  # noqa: PLC0415

    for file in environment_files():
        if file.id not in gym.registry:
            gym.register(
                id=file.id,
                entry_point="lnsim_gym.environment.single:LightningNetEnv",
                vector_entry_point="lnsim_gym.environment.vector:LightningNetVectorEnv",
                order_enforce=False,  # the environment itself asks for a reset before the first step
                max_episode_steps=file.max_episode_steps,
                nondeterministic=file.nondeterministic,
                kwargs=file.settings,
            )
        if file.id == _CORRIDOR_OF and CORRIDOR_ID not in gym.registry:
            gym.register(
                id=CORRIDOR_ID,
                entry_point="lnsim_gym.environment.corridor:CorridorEnv",
                order_enforce=False,
                kwargs=file.settings,
            )


class _Awaiting(MetaPathFinder):
    """Finds Gymnasium as it would be found anyway, and has the environments registered when it was loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where Gymnasium is; None for every other module."""
        if fullname != _GYMNASIUM:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((found for found in others if found is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Registering(spec.loader, self)
        return spec


class _Registering(Loader):
    """Loads Gymnasium by the loader that it has, which it keeps, and registers the environments then."""

    def __init__(self, loader: Loader, awaiting: _Awaiting) -> None:
        self._loader = loader
        self._awaiting = awaiting

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module that its own loader makes."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Load the module, then register."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if self._awaiting in sys.meta_path:
            sys.meta_path.remove(self._awaiting)
        register_environments()
