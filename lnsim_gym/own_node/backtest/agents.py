"""Which agents can run a node of one's own: rules of the operator's task, and agents that were trained for it."""

from __future__ import annotations

from collections.abc import Sequence

from lnsim_gym.agents.operator import OperatorRule
from lnsim_gym.agents.operator.oracle import FeeOracle
from lnsim_gym.agents.own import is_own
from lnsim_gym.agents.recipe import RuleRecipe, known_agents, read_recipe
from lnsim_gym.agents.registry import class_of
from lnsim_gym.agents.rules.plain import NoOp
from lnsim_gym.errors import ConfigError, did_you_mean
from lnsim_gym.tasks.operator.config import DEFAULT_LEVERS
from lnsim_gym.tasks.operator.task import OperatorTask

__all__ = ["operator_agents", "require_operator_agent"]


def operator_agents(levers: Sequence[str] = DEFAULT_LEVERS) -> list[str]:
    """Return the names of the agents that ship with the package and can run a node of one's own.

    Args:
        levers: What may be done there; see ``OperatorConfig.levers``.
    """
    return [name for name in known_agents() if _can_operate(name, levers)]


def require_operator_agent(name: str, levers: Sequence[str] = DEFAULT_LEVERS, others: Sequence[str] = ()) -> None:
    """Refuse an agent that cannot run a node of one's own.

    Args:
        name: Name of an agent, its recipe file, or a class of one's own.
        levers: See ``operator_agents``.
        others: What else may be named.

    Raises:
        ConfigError: There is no such agent, or it is for another task, or has no policy yet.
    """
    is_file = name.endswith(".toml") or is_own(name)
    if (is_file or name in known_agents()) and _can_operate(name, levers):
        return
    known = [*others, *operator_agents(levers)]
    guess = "" if is_file else did_you_mean(name, known)
    raise ConfigError(
        f"expected an agent that can run a node of your own, got {name!r}.{guess} Known: {', '.join(known)}, "
        "or a recipe file of such a one, or a class of yours as module:Class or file.py:Class"
    )


def _can_operate(name: str, levers: Sequence[str]) -> bool:
    """Whether an agent can act with some levers on a node whose demand is fitted."""
    recipe = read_recipe(name)
    if not isinstance(recipe, RuleRecipe):
        return recipe.trained is not None and recipe.config.task == OperatorTask.name
    kind = class_of(name, recipe)
    if not issubclass(kind, OperatorRule):
        return kind is NoOp or is_own(recipe.policy)  # what a class of others acts on, only it knows
    return kind.NEEDS in levers and not issubclass(kind, FeeOracle)  # which knows a market, and none is known here
