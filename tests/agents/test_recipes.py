"""Recipes name a policy and its settings; anything unknown is refused with a hint."""

import json

import pytest
from typer.testing import CliRunner

from lnsim_gym.agents import known_agents, make_agent, view_of
from lnsim_gym.agents.operator import OperatorRule
from lnsim_gym.agents.recipe import View
from lnsim_gym.agents.registry import POLICIES
from lnsim_gym.agents.rules import RandomActions, Targeted
from lnsim_gym.cli import make_app
from lnsim_gym.cli.episodes import make_environment
from lnsim_gym.cli.options import LauncherChoice
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.operator.config import LEVERS

PROBLEM = Problem.of(EnvironmentConfig.of({}))
OPERATOR = {
    "task": "operator",
    "topology": "public(nodes = 60, own_channels = 6, own_capacity_sat = 20_000_000)",
    "levers": LEVERS,
}


def test_every_rule_and_every_planner_ships_as_a_recipe():
    assert set(POLICIES) <= set(known_agents())
    for name, kind in POLICIES.items():
        operation = "circular" if name in ("lndg", "regolancer", "rebalance_lnd") else "push"
        settings = OPERATOR if issubclass(kind, OperatorRule) else {"operation": operation}
        problem = Problem.of(EnvironmentConfig.of({**settings, **view_of(name)}))
        assert type(make_agent(name, problem)) is kind


def test_a_recipe_of_one_s_own_sets_what_it_names(tmp_path):
    (tmp_path / "mine.toml").write_text('policy = "targeted"\nlow = 0.1\nhigh = 0.9\nsize = 0.1\n')
    agent = make_agent(str(tmp_path / "mine.toml"), PROBLEM)
    assert isinstance(agent, Targeted)
    assert (agent.low, agent.high, agent.size) == (0.1, 0.9, 0.1)
    (tmp_path / "mine.toml").write_text('policy = "random"\nmasked = false\n')
    agent = make_agent(str(tmp_path / "mine.toml"), PROBLEM)
    assert isinstance(agent, RandomActions)
    assert not agent.masked


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ('policy = "target"', "unknown policy 'target'. Did you mean 'targeted'"),
        ("low = 0.1", "needs a policy"),
        ('policy = "targeted"\nlo = 0.1', "unknown setting 'lo'. Did you mean 'low'"),
        ('policy = "noop"\nmasked = true', "unknown setting 'masked'. Known: none"),
        ('policy = "targeted"\nlow = 0.9', "low < high"),
        ('policy = "planner_oracle"\nhorizon = 0', "horizon must lie in 1.."),
        ('policy = "targeted"\nlow = "a"', "low"),
        ("policy = ", "Invalid value"),
        ('policy = "noop"\nview = { observations = "flows" }', "Did you mean 'observation'"),
        ('policy = "noop"\nview = { payments_per_step = 3 }', "view, does not fit its schema"),
        ('policy = "noop"\nview = { observation = "flow" }', "'flow'"),
        ('algo = "pp"\nenv = "LightningNet-v0"', "'pp'"),
        ('algo = "ppo"', "`env`"),
        ('algo = "ppo"\nenv = "LightningNet-v0"', "has not been trained yet: run `lnsim train"),
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


def test_an_agent_sees_the_environment_in_the_way_its_recipe_says(tmp_path):
    (tmp_path / "mine.toml").write_text('policy = "targeted"\nview = { observation = "dict", action = "box" }\n')
    assert view_of("targeted") == {}
    assert view_of(str(tmp_path / "mine.toml")) == {"observation": "dict", "action": "box"}


def test_an_agent_that_plays_several_tasks_has_a_view_for_each(tmp_path):
    (tmp_path / "mine.toml").write_text('policy = "noop"\n[views.operator]\naction = "dict"\n')
    assert view_of(str(tmp_path / "mine.toml")) == {}
    assert view_of(str(tmp_path / "mine.toml"), "operator") == view_of("noop", "operator") == {"action": "dict"}
    assert view_of("static", "operator") == {"observation": "dict", "action": "dict"}


def test_a_trained_agent_sees_in_full_what_it_was_trained_on(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'algo = "ppo"\nenv = "LightningNet-v0"\nenv_kwargs = { observation = "flows", payments_per_step = 3 }\n'
    )
    view = view_of(str(tmp_path / "mine.toml"))
    assert set(view) == set(View.__struct_fields__)
    assert (view["observation"], view["observation_history"], view["action"]) == ("flows", 4, "discrete")


def test_agents_of_one_comparison_play_the_same_world_each_through_its_own_view(tmp_path):
    other = tmp_path / "other.toml"
    other.write_text('policy = "targeted"\nview = { observation = "flows", action = "multidiscrete" }\n')
    command = ["eval", "targeted", str(other), "--seeds", "5:9", "--out", str(tmp_path / "scores.json")]
    assert CliRunner().invoke(make_app(), command).exit_code == 0
    own, same = json.loads((tmp_path / "scores.json").read_text())
    assert {**own, "agent": str(other)} == same


def test_a_run_takes_the_view_of_its_agent_unless_told_otherwise(tmp_path):
    (tmp_path / "mine.toml").write_text('policy = "noop"\nview = { observation = "flows", action = "box" }\n')
    world = make_environment(
        "LightningNet-v0", None, LauncherChoice.auto, None, None, None, str(tmp_path / "mine.toml")
    )
    other = make_environment(
        "LightningNet-v0", None, LauncherChoice.auto, None, None, ["action=discrete"], str(tmp_path / "mine.toml")
    )
    for env, action in ((world, "box"), (other, "discrete")):
        config = env.unwrapped.config
        assert (config.observation, config.action) == ("flows", action)
