"""The trained agents that ship with the package do what their recipes say."""

import gymnasium as gym
import pytest

from lnsim_gym.agents import known_agents, make_agent
from lnsim_gym.agents.evaluate import Score, behind, evaluate
from lnsim_gym.agents.recipe import TrainedRecipe, read_recipe, recipe_path, view_of
from lnsim_gym.episodes import Problem
from lnsim_gym.tasks.config import EnvironmentConfig

pytest.importorskip("sb3_contrib", reason="needs the extra 'train'")

SEEDS = range(4_000_000, 4_000_200)
LEAST_DIFFERENCE = 0.02
LARGE = "LightningNet100-v0"
"""Where an episode takes a second, and a step moves the liquidity of one channel in four hundred."""
FEW_SEEDS = range(4_000_000, 4_000_016)
LEAST_DIFFERENCE_LARGE = 0.005
SHIPPED = {
    name: recipe
    for name in known_agents()
    if isinstance(recipe := read_recipe(name), TrainedRecipe) and recipe.trained is not None
}


def score_of(name: str, env: str) -> Score:
    problem = Problem.of(EnvironmentConfig.of({**gym.spec(env).kwargs, **view_of(name)}))
    return evaluate(name, make_agent(name, problem), FEW_SEEDS if env == LARGE else SEEDS, 100)


def test_weights_ship():
    assert {"ppo", "dpi", "dpi_random", "dpi_100"} <= SHIPPED.keys()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (recipe.env == LARGE)) for name, recipe in SHIPPED.items()],
)
def test_a_shipped_agent_reaches_what_its_recipe_says_and_beats_the_rule(name):
    recipe = SHIPPED[name]
    weights = recipe_path(name).parent / recipe.trained.weights
    assert weights.stat().st_size < 500_000
    score = score_of(name, recipe.env)
    rule = score_of("targeted", recipe.env)
    spread = score.success_rate_high - score.success_rate_low
    assert abs(score.success_rate - recipe.trained.success_rate) < spread
    difference, low, _ = behind(rule, score)
    assert difference > (LEAST_DIFFERENCE_LARGE if recipe.env == LARGE else LEAST_DIFFERENCE)
    assert low > 0
