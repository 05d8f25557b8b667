"""Agents of one's own: classes named as ``module:Class``, or as ``file.py:Class``, where agents are named."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

from lnsim_gym.agents.base import Agent
from lnsim_gym.errors import ConfigError

__all__ = ["FORMS", "is_own", "own_class", "seen_from"]

FORMS = "module:Class or file.py:Class"
"""How classes of one's own are named."""


def is_own(name: str) -> bool:
    """Whether a name is that of a class of one's own, if there is one."""
    return ":" in name and not name.endswith(".toml")


def seen_from(folder: Path, name: str) -> str:
    """Return the name of a class such that it means the same from any folder.

    Args:
        folder: Where the name was written down; a file that it names is relative to it.
        name: As ``own_class`` takes it.
    """
    place, _, attribute = name.rpartition(":")
    return f"{(folder / Path(place).expanduser()).absolute()}:{attribute}" if place.endswith(".py") else name


def own_class(name: str) -> type[Agent]:
    """Import a class of agents.

    Args:
        name: ``module:Class``, looked for on Python's path and in the working folder, or ``file.py:Class``.

    Raises:
        ConfigError: There is no such class, it cannot be imported, or it is no agent.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute.isidentifier():
        raise ConfigError(f"expected an agent of your own as {FORMS}, got {name!r}")
    module = _imported(name, place)
    if not hasattr(module, attribute):
        classes = [each for each, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Agent)]
        held = ", ".join(classes) or "none"
        raise ConfigError(f"{place} has no {attribute}: expected an agent's class as {FORMS}; its agents: {held}")
    kind = getattr(module, attribute)
    if not (inspect.isclass(kind) and issubclass(kind, Agent)):
        raise ConfigError(
            f"{name!r} is no agent: expected a subclass of lnsim_gym.agents.Agent, or for the operator of a node of "
            "lnsim_gym.agents.operator.OperatorRule"
        )
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise ConfigError(f"{name!r} is not whole: expected a class that defines {', '.join(missing)}")
    return kind


def _imported(name: str, place: str) -> ModuleType:
    """Return a module by name, or by its file.

    Raises:
        ConfigError: There is none, or it cannot be imported.
    """
    try:
        return _of_file(Path(place)) if place.endswith(".py") else _of_name(place)
    except FileNotFoundError:
        raise ConfigError(f"cannot import the agent {name!r}: there is no file {place}") from None
    except Exception as problem:  # whatever a module of others raises
        said = f"{type(problem).__name__}: {problem}"
        raise ConfigError(f"cannot import the agent {name!r}, expected {FORMS}: {said}") from problem


def _of_name(place: str) -> ModuleType:
    """Return a module by name; the working folder counts last."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return importlib.import_module(place)


def _of_file(path: Path) -> ModuleType:
    """Return the module that a file holds, once for each file."""
    whole = path.expanduser().resolve(strict=True)
    known = f"lnsim_gym_own_{whole.stem}_{abs(hash(str(whole)))}"
    if known in sys.modules:
        return sys.modules[known]
    spec = importlib.util.spec_from_file_location(known, whole)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[known] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[known]
        raise
    return module
