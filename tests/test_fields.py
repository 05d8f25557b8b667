"""Settings are described where they are declared: every one has a meaning, and its range is the one that is kept."""

import json
import pydoc
import re
import sys
from typing import Annotated, get_args

import gymnasium as gym
import msgspec
import pytest
from typer.testing import CliRunner

from lnsim_gym.backends.lnd import LndSettings
from lnsim_gym.cli import make_app
from lnsim_gym.environment.files import environment_files
from lnsim_gym.errors import ConfigError
from lnsim_gym.fields import Range, check_ranges, described, fields_of
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.tasks.config import CONFIGS, StartBalances, Variants
from lnsim_gym.traffic import TrafficModel

KINDS = [*CONFIGS.values(), PaymentOptions, StartBalances, Variants, LndSettings, *get_args(TrafficModel)]


@described
class Oven(msgspec.Struct, kw_only=True):
    """An oven."""

    heat_sat: Annotated[int, Range(1, 2_500)] = 1_500
    """How hot,
    in sat."""
    rests: Annotated[tuple[float, ...], Range(0, above=True)] | None = None
    """Pauses."""
    door: bool = False


def run(*arguments):
    done = CliRunner().invoke(make_app(), arguments, env={"COLUMNS": "400"})
    assert done.exit_code == 0, done.output
    return done.stdout


def words(text):
    """Return a text without the line breaks and bars that help lays it out with."""
    return " ".join(text.replace("|", " ").split())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_setting_has_a_meaning_that_help_shows(kind):
    fields = fields_of(kind)
    shown = words(pydoc.plain(pydoc.render_doc(kind)))
    assert [field.name for field in fields] == list(kind.__struct_fields__)
    for field in fields:
        assert field.meaning, field.name
        assert words(f"{field.name} ({field.kind}") in shown
        assert words(field.meaning) in shown
    assert words(kind.__doc__) in shown


def test_a_field_tells_its_type_unit_default_and_range():
    heat, rests, door = fields_of(Oven)
    assert heat[:6] == ("heat_sat", "int", "sat", "1_500", "1..2,500", "How hot, in sat.")
    assert rests[:6] == ("rests", "list of float | none", "", "none", "above 0", "Pauses.")
    assert door[:6] == ("door", "true or false", "", "false", "", "")
    assert "heat_sat (int; sat; 1..2,500; default 1_500)" in Oven.__doc__


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"heat_sat": 0}, "oven: heat_sat must lie in 1..2,500, got 0"),
        ({"heat_sat": 2_501}, "oven: heat_sat must lie in 1..2,500, got 2,501"),
        ({"rests": (1.0, 0.0)}, "oven: rests must be above 0, got 0.0"),
        ({"rests": (float("nan"),)}, "oven: rests must be above 0, got nan"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, complaint):
    check_ranges(Oven(heat_sat=2_500, rests=(0.1,)), "oven: ")
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        check_ranges(Oven(**settings), "oven: ")


def test_list_names_all_there_is():
    listed = json.loads(run("list", "--json"))
    registered = {name for name in gym.registry if name.startswith("Lightning")}
    assert listed["environments"].keys() == registered
    assert registered > {file.id for file in environment_files()}
    assert listed["traffic"].keys() == {kind.__struct_config__.tag for kind in get_args(TrafficModel)}
    assert {"noop", "dpi"} <= listed["agents"].keys()
    assert {"default", "ring(nodes = ...)"} <= listed["topologies"].keys()
    text = run("list")
    for names in listed.values():
        for name, meaning in names.items():
            assert meaning
            assert name in text
    assert "noop" not in run("list", "traffic")


@pytest.mark.parametrize("file", environment_files(), ids=lambda file: file.id)
def test_describe_shows_every_setting_and_term(file):
    text = run("describe", file.id)
    described_as = json.loads(run("describe", file.id, "--json"))
    tables = described_as["settings"]
    assert {"", "lnd", "payment", 'traffic, kind "drift"'} <= tables.keys()
    for fields in tables.values():
        for field in fields:
            assert field["name"] in text
    assert described_as["reward_terms"].keys() == set(gym.make(file.id).unwrapped.problem.task.terms)
    assert all(described_as["reward_terms"].values())
    assert all(f"  {name} " in text for name in described_as["reward_terms"])
    assert f"payments_per_step {file.settings['payments_per_step']} *" in re.sub(r" +", " ", text)


def test_an_unknown_environment_is_answered_with_those_known():
    done = CliRunner().invoke(make_app(), ["describe", "LightningNet-v7"])
    assert isinstance(done.exception, ConfigError)
    assert "Known: LightningNet-v0, " in str(done.exception)


def test_the_package_runs_as_a_program(monkeypatch, capsys):
    import runpy  # noqa: PLC0415

    monkeypatch.setattr(sys, "argv", ["lnsim_gym", "list", "traffic"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("lnsim_gym", run_name="__main__")
    assert ended.value.code == 0
    assert "drift" in capsys.readouterr().out
