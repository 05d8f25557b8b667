"""From names to agents: which class a recipe's ``policy`` stands for, and how an agent is built of a recipe.

Agents that learnt are played with torch where it is installed; it is imported only when one is built.
"""

from __future__ import annotations

import inspect
from typing import Any, Final, get_type_hints

import msgspec

from lnsim_gym.agents.base import Agent
from lnsim_gym.agents.operator import (
    Autofees,
    BoltzAutoswap,
    Bos,
    BrlnAutofee,
    ChargeLnd,
    Clboss,
    CloseDeadChannels,
    FeeAdjuster,
    Feelancer,
    FeeOracle,
    LearnedOperator,
    LightningJet,
    LndgFees,
    Lndmanage,
    LnOperator,
    OperatorAutoloop,
    OperatorLndg,
    OperatorRebalanceLnd,
    OperatorRegolancer,
    RevenueOps,
    Sling,
    StaticFees,
    SwapOut,
)
from lnsim_gym.agents.own import is_own, own_class
from lnsim_gym.agents.planner import Forecast, Planner, PlannerOracle
from lnsim_gym.agents.policy_file import NetworkAgent
from lnsim_gym.agents.recipe import RuleRecipe, TrainedRecipe, read_recipe, recipe_path
from lnsim_gym.agents.rules import (
    Autoloop,
    Lndg,
    MostUnbalanced,
    NoOp,
    Proportional,
    RandomActions,
    RebalanceLnd,
    Regolancer,
    Ring,
    Targeted,
    TargetTable,
    Threshold,
)
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError, MissingDependency, did_you_mean

__all__ = ["POLICIES", "build_rule", "class_of", "make_agent", "settings_of", "tasks_of"]

POLICIES: Final[dict[str, type[Agent]]] = {
    "noop": NoOp,
    "random": RandomActions,
    "targeted": Targeted,
    "target_table": TargetTable,
    "ring": Ring,
    "threshold": Threshold,
    "most_unbalanced": MostUnbalanced,
    "proportional": Proportional,
    "autoloop": Autoloop,
    "lndg": Lndg,
    "regolancer": Regolancer,
    "rebalance_lnd": RebalanceLnd,
    "forecast": Forecast,
    "planner": Planner,
    "planner_oracle": PlannerOracle,
    "static": StaticFees,
    "charge_lnd": ChargeLnd,
    "feelancer": Feelancer,
    "lndg_fees": LndgFees,
    "operator_lndg": OperatorLndg,
    "ln_operator": LnOperator,
    "feeadjuster": FeeAdjuster,
    "lndmanage": Lndmanage,
    "autofees": Autofees,
    "brln_autofee": BrlnAutofee,
    "clboss": Clboss,
    "revenue_ops": RevenueOps,
    "operator_regolancer": OperatorRegolancer,
    "operator_rebalance_lnd": OperatorRebalanceLnd,
    "sling": Sling,
    "bos": Bos,
    "lightning_jet": LightningJet,
    "swap_out": SwapOut,
    "operator_autoloop": OperatorAutoloop,
    "boltz_autoswap": BoltzAutoswap,
    "fee_oracle": FeeOracle,
    "learned_operator": LearnedOperator,
    "close_dead_channels": CloseDeadChannels,
}
"""Agents by the ``policy`` of a recipe."""


def make_agent(name: str, problem: Problem) -> Agent:
    """Build an agent.

    Args:
        name: As for ``read_recipe``.
        problem: The problem of the environment it will act on, with the settings of ``view_of(name)``.

    Raises:
        ConfigError: There is no such recipe, or a setting of it is unknown or impossible.
    """
    recipe = read_recipe(name)
    if isinstance(recipe, TrainedRecipe):
        return _trained_agent(name, problem, recipe)
    return build_rule(name, recipe, problem)


def tasks_of(name: str) -> tuple[str, ...]:
    """Return the names of the tasks that an agent can play.

    Args:
        name: As for ``read_recipe``.

    Raises:
        ConfigError: There is no such recipe.
    """
    recipe = read_recipe(name)
    return (recipe.config.task,) if isinstance(recipe, TrainedRecipe) else class_of(name, recipe).TASKS


def build_rule(name: str, recipe: RuleRecipe, problem: Problem) -> Agent:
    """Build the agent of a rule's recipe.

    Args:
        name: How errors call it.
        recipe: The rule and its settings.
        problem: As for ``make_agent``.

    Raises:
        ConfigError: There is no such policy, or a setting is unknown or impossible.
    """
    kind = class_of(name, recipe)
    known = _settings(kind)
    for setting, value in recipe.settings.items():
        if setting not in known:
            raise ConfigError(
                f"agent {name!r}: unknown setting {setting!r}.{did_you_mean(setting, known)} "
                f"Known: {', '.join(known) or 'none'}"
            )
        try:
            msgspec.convert(value, known[setting].annotation)
        except msgspec.ValidationError as wrong:
            raise ConfigError(f"agent {name!r}: {setting}: {wrong}") from None
    missing = [each.name for each in known.values() if each.default is each.empty and each.name not in recipe.settings]
    if missing:
        raise ConfigError(
            f"agent {name!r}: the policy {recipe.policy!r} needs {', '.join(missing)}: name it in the recipe"
        )
    return kind(problem, **recipe.settings)


def settings_of(recipe: RuleRecipe) -> dict[str, Any]:
    """Return all settings of a rule, those that the recipe leaves out with their defaults.

    Raises:
        ConfigError: There is no such policy.
    """
    settings = _settings(class_of(recipe.policy, recipe)).values()
    defaults = {each.name: each.default for each in settings if each.default is not inspect.Parameter.empty}
    return {**defaults, **recipe.settings}


def _settings(kind: type[Agent]) -> dict[str, inspect.Parameter]:
    """Return the settings of a class of agents: its arguments after the problem, and those it passes on to its base."""
    found: dict[str, inspect.Parameter] = {}
    for each in (one for one in kind.__mro__ if "__init__" in vars(one)):
        types = _hints(vars(each)["__init__"])
        passes_on = False
        for parameter in list(inspect.signature(each).parameters.values())[1:]:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                passes_on = True
            else:
                found.setdefault(parameter.name, parameter.replace(annotation=types.get(parameter.name, Any)))
        if not passes_on:
            break
    return found


def _hints(made: Any) -> dict[str, Any]:
    """Return the types of arguments, none where they are known to type checkers only."""
    try:
        return get_type_hints(made)
    except NameError:
        return {}


def class_of(name: str, recipe: RuleRecipe) -> type[Agent]:
    """Return the class that a rule's recipe names.

    Args:
        name: How errors call the agent.
        recipe: The rule.

    Raises:
        ConfigError: There is no such class.
    """
    if is_own(recipe.policy):
        return own_class(recipe.policy)
    if recipe.policy not in POLICIES:
        raise ConfigError(
            f"agent {name!r}: unknown policy {recipe.policy!r}.{did_you_mean(recipe.policy, POLICIES)} "
            f"Known: {', '.join(POLICIES)}"
        )
    return POLICIES[recipe.policy]


def _trained_agent(name: str, problem: Problem, recipe: TrainedRecipe) -> Agent:
    """Build the agent of a trained recipe; without torch, as a plain network if it is one."""
    if recipe.trained is None:
        raise ConfigError(
            f"agent {name!r} has not been trained yet: run `lnsim train {name}`, and name the recipe that it writes"
        )
    weights = recipe_path(name).parent / recipe.trained.weights
    try:
        from lnsim_gym.agents.learning.trained import load_agent  # noqa: PLC0415 - torch is an extra
    except ModuleNotFoundError as missing:
        try:
            return NetworkAgent.load(name, problem, recipe, weights)
        except ValueError as not_plain:
            if isinstance(not_plain, ConfigError):
                raise
            raise MissingDependency(
                f"agent {name!r} needs {missing.name}, which is not installed, as {not_plain}: "
                "pip install 'lnsim_gym[train]'"
            ) from None
    return load_agent(name, problem, recipe, weights)
