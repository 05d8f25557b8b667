"""The trained agents that ship with the package do what their recipes say."""

import gymnasium as gym
import pytest

from lnsim_gym.agents import known_agents, make_agent
from lnsim_gym.agents.evaluate import Score, behind, evaluate
from lnsim_gym.agents.recipes import TrainedRecipe, read_recipe, recipe_path, view_of
from lnsim_gym.config import EnvironmentConfig
from lnsim_gym.episodes import Problem

pytest.importorskip("sb3_contrib", reason="needs the extra 'train'")

SEEDS = {"LightningNet100-v0": range(4_000_000, 4_000_016)}
"""Fewer where an episode takes a second."""
MANY_SEEDS = range(4_000_000, 4_000_200)
SHIPPED = {
    name: recipe
    for name in known_agents()
    if isinstance(recipe := read_recipe(name), TrainedRecipe) and recipe.trained is not None
}


def score_of(name: str, env: str) -> Score:
    problem = Problem.of(EnvironmentConfig.of({**gym.spec(env).kwargs, **view_of(name)}))
    return evaluate(name, make_agent(name, problem), SEEDS.get(env, MANY_SEEDS), 100)


def test_weights_ship():
    assert {"ppo", "dpi", "dpi_random", "dpi_100"} <= SHIPPED.keys()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_agent_reaches_what_its_recipe_says_and_beats_the_rule(name):
    recipe = SHIPPED[name]
    weights = recipe_path(name).parent / recipe.trained.weights
    assert weights.stat().st_size < 500_000
    score, rule = score_of(name, recipe.env), score_of("targeted", recipe.env)
    spread = score.success_rate_high - score.success_rate_low
    assert abs(score.success_rate - recipe.trained.success_rate) < spread
    difference, low, _ = behind(rule, score)
    assert difference > (0.005 if recipe.env == "LightningNet100-v0" else 0.02)
    assert low > 0
