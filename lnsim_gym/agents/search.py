"""Grid search over the settings of a rule: every combination plays the same episodes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.evaluate import Score
from lnsim_gym.agents.recipe import RuleRecipe, TrainedRecipe
from lnsim_gym.agents.registry import build_rule, settings_of
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["Trial", "default_grid", "recipe_text", "search"]

SHARES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Values that are tried of a setting that is a share."""


class Trial(NamedTuple):
    """One combination of settings, and what it reached."""

    recipe: RuleRecipe | TrainedRecipe
    score: Score


def default_grid(recipe: RuleRecipe) -> dict[str, Sequence[Any]]:
    """Return the values to try by default: ``SHARES`` for every setting that is a number in 0..1.

    Raises:
        ConfigError: The rule has no such setting.
    """
    shares = [name for name, value in settings_of(recipe).items() if isinstance(value, float) and 0 <= value <= 1]
    if not shares:
        raise ConfigError(f"{recipe.policy!r} has no setting that is a share: name values to try, as NAME=V1,V2")
    return dict.fromkeys(shares, SHARES)


def search(
    recipe: RuleRecipe,
    grid: Mapping[str, Sequence[Any]],
    problem: Problem,
    play: Callable[[str, Agent], Score],
    progress: Callable[[int, int], None] | None = None,
) -> list[Trial]:
    """Let a rule play with every combination of settings that it accepts.

    Args:
        recipe: The rule; settings outside the grid stay as it has them.
        grid: Values to try of each setting.
        problem: The problem that rules are built for.
        play: Lets a rule play, under a name, the same episodes as all others.
        progress: Called with the number of combinations done, and of those to do.

    Returns:
        Combinations with their scores, best objective first.

    Raises:
        ConfigError: A setting is unknown, or the rule refuses every combination.
    """
    accepted = []
    refusal = None
    for values in itertools.product(*grid.values()):
        settings = {**recipe.settings, **dict(zip(grid, values, strict=True))}
        variant = msgspec.structs.replace(recipe, settings=settings)
        try:
            accepted.append((variant, build_rule(recipe.policy, variant, problem)))
        except ConfigError as refused:
            refusal = refused
    if not accepted:
        raise refusal or ConfigError("nothing to try: name at least one value of each setting")
    trials = []
    for variant, rule in accepted:
        name = ", ".join(f"{setting} {variant.settings[setting]}" for setting in grid)
        trials.append(Trial(variant, play(name, rule)))
        if progress is not None:
            progress(len(trials), len(accepted))
    return sorted(trials, key=lambda trial: -trial.score.objective)


def recipe_text(recipe: RuleRecipe | TrainedRecipe, comment: str) -> str:
    """Return a recipe as the text of a TOML file that begins with a comment."""
    plain: dict[str, Any] = msgspec.to_builtins(recipe)
    if isinstance(recipe, RuleRecipe):
        plain = {"policy": plain["policy"], **plain["settings"], "view": plain["view"], "views": plain["views"]}
    plain = {key: value for key, value in plain.items() if value is not None and value != {}}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items() if not isinstance(value, dict)]
    for table, entries in plain.items():
        if isinstance(entries, dict):
            lines += ["", f"[{table}]", *(f"{json.dumps(key)} = {_toml(value)}" for key, value in entries.items())]
    return "\n".join([f"# {comment}", *lines, ""])


def _toml(value: Any) -> str:
    """Return a value as TOML writes it: numbers, strings, booleans and lists of them as JSON does, tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(entry)}" for key, entry in value.items()) + " }"
    return json.dumps(value)
