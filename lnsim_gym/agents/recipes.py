"""Recipes: the TOML files in ``agents/`` that name an agent and its settings."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.planner import PlannerOracle
from lnsim_gym.agents.rules import NoOp, RandomActions, Targeted
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError, did_you_mean
from lnsim_gym.paths import data_folder

__all__ = ["POLICIES", "known_agents", "make_agent"]

POLICIES: Final[dict[str, type[Agent]]] = {
    "noop": NoOp,
    "random": RandomActions,
    "targeted": Targeted,
    "planner_oracle": PlannerOracle,
}
"""Agents by the ``policy`` of a recipe."""


def known_agents() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    return sorted(path.stem for path in data_folder("agents").glob("*.toml"))


def make_agent(name: str, problem: Problem) -> Agent:
    """Build an agent.

    Args:
        name: Name of a recipe that ships with the package, or path of a TOML file.
        problem: The problem of the environment it will act on.

    Raises:
        ConfigError: There is no such recipe, or a setting of it is unknown or impossible.
    """
    recipe = _read_recipe(name)
    policy = str(recipe.pop("policy", ""))
    if policy not in POLICIES:
        raise ConfigError(f"agent {name!r}: unknown policy {policy!r}.{did_you_mean(policy, POLICIES)}")
    kind = POLICIES[policy]
    known = list(inspect.signature(kind).parameters)[1:]
    types = get_type_hints(kind.__init__)
    for setting, value in recipe.items():
        if setting not in known:
            raise ConfigError(
                f"agent {name!r}: unknown setting {setting!r}.{did_you_mean(setting, known)} "
                f"Known: {', '.join(known) or 'none'}"
            )
        try:
            msgspec.convert(value, types[setting])
        except msgspec.ValidationError as wrong:
            raise ConfigError(f"agent {name!r}: {setting}: {wrong}") from None
    return kind(problem, **recipe)


def _read_recipe(name: str) -> dict[str, Any]:
    """Read a recipe by name or path."""
    path = Path(name) if name.endswith(".toml") else data_folder("agents") / f"{name}.toml"
    if not path.is_file():
        known = known_agents()
        raise ConfigError(
            f"unknown agent {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}, or a .toml file"
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"agent {name!r}: {problem}") from None
