"""The commands that compare agents and tune rules, in the simulator and on real nodes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lnsim_gym.agents.evaluate import bootstrap
from lnsim_gym.agents.recipe import RuleRecipe, read_recipe
from lnsim_gym.agents.search import default_grid, recipe_text
from lnsim_gym.backends.lnd.nodes.programs import Binaries
from lnsim_gym.cli import make_app
from lnsim_gym.errors import ConfigError


def lnsim(*arguments: object) -> str:
    done = CliRunner().invoke(make_app(), [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def scores_of(tmp_path: Path, *arguments: object) -> list[dict[str, object]]:
    lnsim("eval", *arguments, "--out", tmp_path / "scores.json")
    return json.loads((tmp_path / "scores.json").read_text())


def test_the_table_is_shown_when_a_file_is_written_too_and_nothing_in_it_is_cut(tmp_path):
    out = lnsim("eval", "noop", "most_unbalanced", "--seeds", "0:4", "--out", tmp_path / "scores.md")
    assert f"written to {tmp_path / 'scores.md'}" in out
    assert "…" not in out
    header, _, *rows = (tmp_path / "scores.md").read_text().splitlines()
    for cell in (cell.strip() for line in (header, *rows) for cell in line.strip("|").split("|")):
        assert cell in out
    assert "4 episodes" in out


def test_charts_are_drawn_beside_tables(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra 'render'")
    files = [tmp_path / f"scores.{kind}" for kind in ("json", "svg", "png")]
    out = lnsim("eval", "noop", "targeted", "--seeds", "0:4", *(part for file in files for part in ("--out", file)))
    assert all(f"written to {file}" in out for file in files)
    assert len(json.loads(files[0].read_text())) == 2
    assert files[1].read_text().count("<svg") == 1
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_episodes_are_the_first_of_the_seeds(tmp_path):
    first = scores_of(tmp_path, "targeted", "--seeds", "50:53")
    assert scores_of(tmp_path, "targeted", "--seeds", "50:90", "--episodes", 3) == first
    assert first[0]["episodes"] == 3
    by_default = scores_of(tmp_path, "noop", "--episodes", 2, "--set", "max_episode_steps=1")
    assert by_default == scores_of(tmp_path, "noop", "--seeds", "1000000:1000002", "--set", "max_episode_steps=1")


def test_settings_and_topologies_change_the_world_for_all_agents(tmp_path):
    small = ("--set", "payments_per_step=3", "--set", "max_episode_steps=4", "--topology", "ring(nodes = 4)")
    idle, moved = scores_of(tmp_path, "noop", "most_unbalanced", "--seeds", "0:6", *small)
    assert 0 < idle["success_rate"] * 3 * 4 * 6 <= 72
    assert float(idle["success_rate"] * 3 * 4 * 6) == pytest.approx(round(idle["success_rate"] * 72))
    assert 0 < moved["rebalanced_sat"] <= 4 * 200_000
    (around,) = scores_of(tmp_path, "rebalance_lnd", "--seeds", "0:6", "--set", "operation=circular")
    assert around["rebalance_fees_sat"] > 0


def test_every_agent_plays_all_seeds_at_every_position_in_every_graph(tmp_path):
    call = "public(nodes = 60, own_channels = 6, own_capacity_sat = 20_000_000{})"
    common = ("static", "noop", "--env", "LightningOperator-v0", "--seeds", "0:2", "--set", "max_episode_steps=2")
    crossed = scores_of(tmp_path, *common, "--topology", call.format(""), "--graphs", "3:5", "--positions", "0:2")
    assert [score["places"] for score in crossed] == [4, 4]
    alone = [
        scores_of(tmp_path, *common, "--topology", call.format(f", seed = {graph}, own_seed = {position}"))
        for graph, position in ((3, 0), (3, 1), (4, 0), (4, 1))
    ]
    for agent, score in enumerate(crossed):
        nets = [place[agent]["node"]["net_sat_per_day_of_episodes"] for place in alone]
        assert score["node"]["net_sat_per_day_of_episodes"] == [net for place in nets for net in place]
        interval = score["node"]["net_sat_per_day_low"], score["node"]["net_sat_per_day_high"]
        assert interval == pytest.approx(bootstrap(np.array([np.mean(net) for net in nets])))
    assert "4 places" in lnsim("eval", *common, "--topology", call.format(""), "--graphs", "3:5", "--positions", "0:2")


def test_an_agent_that_cannot_act_there_is_left_out_with_a_note():
    out = lnsim("eval", "noop", "lndg", "--seeds", "0:2", "--set", "max_episode_steps=1")
    assert "lndg is left out: " in out
    assert "set operation=circular" in out
    assert "2 episodes" in out


@pytest.mark.slow
def test_reward_and_profit_are_shown_where_the_reward_is_not_the_success_rate(tmp_path):
    few = ("--set", "max_episode_steps=2", "--set", "payments_per_step=3")
    assert "profit" not in lnsim("eval", "noop", "--seeds", "0:2", *few)
    out = lnsim("eval", "noop", "--seeds", "0:2", *few, "--set", "reward=profit")
    assert "reward" in out
    assert "profit (sat)" in out
    assert "profit (sat)" in lnsim("run", "--steps", 2, "--set", "reward=profit")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eval", "noop", "nop", "--seeds", "0:2"), "Did you mean 'noop'"),
        (
            ("eval", "noop", "--seeds", "0:2", "--graphs", "0:2"),
            'expected a topology "public(...)" that leaves seed open',
        ),
        (
            ("eval", "noop", "--env", "LightningOperatorLive-v0", "--graphs", "0:2", "--seeds", "0:2"),
            'expected a topology "public(...)" that leaves seed open',
        ),
        (
            ("eval", "noop", "--env", "LightningOperator-v0", "--positions", "2", "--seeds", "0:2"),
            "expected seeds as A:B",
        ),
        (
            ("eval", "noop", "--seeds", "0:2", "--set", "max_episode_steps=0"),
            "max_episode_steps must be an integer >= 1",
        ),
        (("eval", "noop", "--seeds", "0:2", "--episodes", 3), "at most as many episodes as seeds"),
        (("eval", "lndg", "--seeds", "0:2"), "set operation=circular"),
        (("eval", "noop", "--set", "observatoin=flows"), "Did you mean 'observation'"),
        (("tune", "noop", "--out", "x.toml"), "no setting that is a share"),
        (("tune", "ppo", "--out", "x.toml"), "lnsim train"),
        (("tune", "threshold", "--try", "low", "--out", "x.toml"), "--try NAME=V1,V2"),
        (("tune", "threshold", "--try", "low=", "--out", "x.toml"), "--try NAME=V1,V2"),
        (("tune", "threshold", "--try", "lo=0.1", "--seeds", "0:2", "--out", "x.toml"), "Did you mean 'low'"),
        (("tune", "threshold", "--try", "low=0.9", "--seeds", "0:2", "--out", "x.toml"), "low <= target <= high"),
        (("tune", "static", "--graphs", "0:2", "--out", "x.toml"), "add --corridor"),
        (("tune", "static", "--corridor", "--ray", "local", "--out", "x.toml"), "leave --ray out"),
        (("tune", "threshold", "--corridor", "--seeds", "0:2", "--out", "x.toml"), "a survey needs an environment"),
    ],
)
def test_what_cannot_be_compared_or_tuned_is_refused(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(make_app(), [str(argument) for argument in arguments])
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)


def test_tuning_writes_the_best_of_the_grid_as_a_recipe_that_plays_as_well(tmp_path):
    out = tmp_path / "tuned.toml"
    shown = lnsim("tune", "targeted", "--try", "size=0.05,0.2", "--try", "low=0.1,0.9", "--seeds", "5:25", "--out", out)
    assert "low 0.1" in shown
    assert "low 0.9" not in shown
    recipe = tomllib.loads(out.read_text())
    assert recipe == {"policy": "targeted", "low": 0.1, "high": 0.65, "size": 0.2}
    (tmp_path / "small.toml").write_text('policy = "targeted"\nlow = 0.1\nsize = 0.05\n')
    tuned, small = scores_of(tmp_path, out, tmp_path / "small.toml", "--seeds", "5:25")
    assert tuned["success_rate"] > small["success_rate"]
    assert f"success rate {tuned['success_rate']:.4f} on seeds 5:25 of LightningNet-v0" in out.read_text()


def test_rules_of_operators_are_tuned_on_surveyed_episodes_at_several_places(tmp_path, monkeypatch):
    monkeypatch.setattr("lnsim_gym.corridor.files.cache_dir", lambda: tmp_path / "cache")
    topology = "public(nodes = 60, own_channels = 6, own_capacity_sat = 60_000_000)"
    asked = ["--env", "LightningOperator-v0", "--topology", topology, "--set", "max_episode_steps=6"]
    asked += ["--set", "warm_up_days=0", "--graphs", "0:2", "--seeds", "7:9", "--corridor"]
    asked += ["--try", "fee_rate_ppm=0,300,4_000"]
    shown = lnsim("tune", "static", *asked, "--out", tmp_path / "tuned.toml")
    assert "4 episodes at 2 places" in shown
    assert [line.split()[1] for line in shown.splitlines() if "fee_rate_ppm" in line][-1] == "0"  # earns nothing
    assert tomllib.loads((tmp_path / "tuned.toml").read_text())["fee_rate_ppm"] > 0
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")}
    assert len(kept) == 4
    again = lnsim("tune", "static", *asked, "--out", tmp_path / "tuned.toml")
    assert again.splitlines()[2:] == shown.splitlines()[2:]  # behind what tells the progress
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")} == kept


def test_without_values_every_share_is_tried():
    assert default_grid(RuleRecipe(policy="ring", settings={})).keys() == {"at_least", "most"}
    assert default_grid(RuleRecipe(policy="threshold", settings={"low": 0.2})).keys() == {"low", "high", "target"}


@pytest.mark.parametrize("name", ["target_table", "planner", "noop", "ring"])
def test_a_written_recipe_reads_as_the_one_it_came_from(tmp_path, name):
    recipe = read_recipe(name)
    (tmp_path / "again.toml").write_text(recipe_text(recipe, "Again."))
    assert read_recipe(str(tmp_path / "again.toml")) == recipe


@pytest.mark.lnd
def test_real_nodes_give_the_scores_that_the_simulator_gives(tmp_path, lnd_binaries: Binaries):
    line = {"nodes": ["ann", "ben", "cat"], "channels": []}
    for initiator, peer in (("ann", "ben"), ("ben", "cat")):
        line["channels"].append({"initiator": initiator, "peer": peer, "capacity_sat": 1_000_000})
    (tmp_path / "line.json").write_text(json.dumps(line))
    small = ("--set", "max_episode_steps=2", "--set", "payments_per_step=4", "--topology", tmp_path / "line.json")
    asked = ("forecast", "--seeds", "3:9", "--episodes", 2, *small)
    real = scores_of(tmp_path, *asked, "--backend", "lnd", "--launcher", "process")
    assert real == scores_of(tmp_path, *asked)
    assert real[0]["episodes"] == 2
    assert real[0]["rebalanced_sat"] > 0
