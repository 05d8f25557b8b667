"""Recipes name a policy and its settings; anything unknown is refused with a hint."""

import pytest

from lnsim_gym.agents import known_agents, make_agent
from lnsim_gym.agents.recipes import POLICIES
from lnsim_gym.agents.rules import RandomActions, Targeted
from lnsim_gym.config import EnvironmentConfig
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

PROBLEM = Problem.of(EnvironmentConfig.of({}))


def test_every_rule_and_the_planner_ship_as_recipes():
    assert set(POLICIES) <= set(known_agents())
    for name, kind in POLICIES.items():
        assert type(make_agent(name, PROBLEM)) is kind


def test_a_recipe_of_one_s_own_sets_what_it_names(tmp_path):
    (tmp_path / "mine.toml").write_text('policy = "targeted"\nlow = 0.1\nhigh = 0.9\nsize = 0.1\n')
    agent = make_agent(str(tmp_path / "mine.toml"), PROBLEM)
    assert isinstance(agent, Targeted)
    assert (agent.low, agent.high, agent.size) == (0.1, 0.9, 1)
    (tmp_path / "mine.toml").write_text('policy = "random"\nmasked = false\n')
    agent = make_agent(str(tmp_path / "mine.toml"), PROBLEM)
    assert isinstance(agent, RandomActions)
    assert not agent.masked


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ('policy = "target"', "unknown policy 'target'. Did you mean 'targeted'"),
        ("low = 0.1", "unknown policy ''"),
        ('policy = "targeted"\nlo = 0.1', "unknown setting 'lo'. Did you mean 'low'"),
        ('policy = "noop"\nmasked = true', "unknown setting 'masked'. Known: none"),
        ('policy = "targeted"\nlow = 0.9', "low < high"),
        ('policy = "planner_oracle"\nhorizon = 0', "horizon must lie in 1.."),
        ('policy = "planner_oracle"\nsizes = 4', "sizes in 1..3"),
        ('policy = "targeted"\nlow = "a"', "low"),
        ("policy = ", "Invalid value"),
    ],
)
def test_a_recipe_at_fault_is_refused_with_a_hint(tmp_path, recipe, said):
    (tmp_path / "mine.toml").write_text(recipe)
    with pytest.raises(ConfigError) as refusal:
        make_agent(str(tmp_path / "mine.toml"), PROBLEM)
    assert said in str(refusal.value)


def test_an_unknown_agent_is_refused_with_a_hint():
    with pytest.raises(ConfigError, match="Did you mean 'targeted'"):
        make_agent("targetted", PROBLEM)
