"""Agents of one's own, named by their class wherever agents are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lnsim_gym.agents import make_agent, view_of
from lnsim_gym.agents.own import own_class
from lnsim_gym.agents.recipe import read_recipe
from lnsim_gym.agents.registry import settings_of
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig

MINE = '''
from lnsim_gym.agents.operator import OperatorRule


class Flat(OperatorRule):
    """One fee rate for every channel."""

    def __init__(self, problem, rate_ppm: int = 120):
        super().__init__(problem)
        self.rate_ppm = rate_ppm

    def decide(self, seen, plan, rng):
        plan.fee_rate_ppm[:] = self.rate_ppm


class Half(OperatorRule):
    """Decides nothing."""


number = 3
'''


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_class_of_a_file_is_an_agent_with_its_settings_and_its_view(mine, tmp_path):
    name = f"{mine}:Flat"
    assert view_of(name, "operator") == {"observation": "dict", "action": "dict"}
    assert settings_of(read_recipe(name)) == {"rate_ppm": 120}
    problem = Problem.of(EnvironmentConfig.of({"task": "operator", "action": "dict", "observation": "dict"}))
    agent = make_agent(name, problem)
    assert (type(agent), agent.rate_ppm) == (own_class(name), 120)
    recipe = tmp_path / "dear.toml"
    recipe.write_text(f'policy = "{name}"\nrate_ppm = 900\n')
    assert make_agent(str(recipe), problem).rate_ppm == 900
    recipe.write_text(f'policy = "{name}"\nrate = 900\n')
    with pytest.raises(ConfigError, match="unknown setting 'rate'"):
        make_agent(str(recipe), problem)


def test_a_recipe_names_the_file_of_a_class_from_its_own_folder(mine, tmp_path, monkeypatch):
    recipe = tmp_path / "dear.toml"
    recipe.write_text(f'policy = "{mine.name}:Flat"\nrate_ppm = 900\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / mine.name).write_text("Flat = 'another one'")
    monkeypatch.chdir(elsewhere)
    for name in (str(recipe), "../dear.toml"):
        assert read_recipe(name).policy == f"{Path(name).absolute().parent / mine.name}:Flat"
        assert view_of(name, "operator") == {"observation": "dict", "action": "dict"}  # as of the class itself
        assert settings_of(read_recipe(name)) == {"rate_ppm": 900}


def test_a_class_of_a_module_is_an_agent(mine, monkeypatch):
    monkeypatch.chdir(mine.parent)
    mine.rename(mine.with_name("mine_of_the_test.py"))
    assert own_class("mine_of_the_test:Flat").__name__ == "Flat"
    assert own_class("lnsim_gym.agents.operator:ChargeLnd").__name__ == "ChargeLnd"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{}:Nobody", "has no Nobody: .* its agents: OperatorRule, Flat, Half"),
        ("{}:number", "is no agent: expected a subclass of lnsim_gym.agents.Agent"),
        ("{}:Half", "expected a class that defines decide"),
        ("{}:", "expected an agent of your own as module:Class or file.py:Class"),
        ("{}.py:Flat", "there is no file .*mine.py.py"),
        ("no_such_module:Flat", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_what_is_no_agent_gets_one_clear_error(mine, name, said):
    with pytest.raises(ConfigError, match=said):
        read_recipe(name.format(mine))


def test_a_file_that_breaks_is_told_with_its_error_each_time(tmp_path):
    path = tmp_path / "broken.py"
    for text, said in (("1 / 0", "ZeroDivisionError"), ("def", "SyntaxError")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=f"cannot import the agent .*{said}"):
            own_class(f"{path}:Mine")
