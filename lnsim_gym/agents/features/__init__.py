"""What a learning agent may look at instead of the plain observation. Nothing here needs torch."""

from lnsim_gym.agents.features.base import Features
from lnsim_gym.agents.features.channels import ChannelFeatures
from lnsim_gym.agents.features.demand import DemandFeatures
from lnsim_gym.agents.recipe import TrainedRecipe
from lnsim_gym.episodes import Problem

__all__ = ["ChannelFeatures", "DemandFeatures", "Features", "make_features"]


def make_features(recipe: TrainedRecipe, problem: Problem) -> Features | None:
    """Make the features that a recipe names, or None where it names none.

    Args:
        recipe: The recipe.
        problem: The problem of the environment that is looked at.

    Raises:
        ConfigError: The problem has no such features.
    """
    match recipe.features:
        case "demand":
            return DemandFeatures(problem, recipe.max_episode_steps)
        case "channels":
            return ChannelFeatures(problem)
    return None
