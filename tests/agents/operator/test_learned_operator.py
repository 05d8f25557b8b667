"""The learned operator: what its network is shown and answers, where its weights come from, and how they evolve."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.evolution.search import SearchState, candidates_of, stepped
from lnsim_gym.agents.evolution.surveys import place_of
from lnsim_gym.agents.evolution.training import EvolutionFolder
from lnsim_gym.agents.operator.learned import INPUTS, OUTPUTS, LearnedOperator, PerChannel, read_weights, write_weights
from lnsim_gym.agents.recipe import read_recipe, recipe_path
from lnsim_gym.errors import ConfigError
from tests.agents.operator.rows import Board, problem_of

RECIPE = """policy = "learned_operator"
weights = "policy.npz"

[view]
observation = "dict"
action = "dict"

[training]
graphs = [300, 302]
positions = [10, 12]
seeds = [0, 10]
surveys = 3
steps = 2
batch = 2
pairs = 2
"""


def test_the_shipped_one_plays_nodes_of_any_number_of_channels():
    for channels in (3, 7):
        topology = f"public(nodes = 60, own_channels = {channels}, own_capacity_sat = 20_000_000)"
        agent = make_agent("learned_operator", problem_of(topology=topology))
        assert isinstance(agent, LearnedOperator)
        assert np.isfinite(agent.network.flat()).all()


def test_the_less_is_left_the_more_the_shipped_one_charges():
    weights = str(recipe_path("learned_operator").with_suffix(".npz"))
    action = Board("learned_operator", weights=weights).act(local=[0.02, 0.3, 0.7, 0.98], fee_rate=1)
    rates = action["fee_rate_ppm"]
    assert min(rates) > 0
    assert rates[0] > rates[3]
    assert action["fee_base_msat"] == [0] * 4
    assert all(inbound <= 0 for inbound in action["inbound_fee_rate_ppm"])


def test_a_network_answers_as_its_formula_and_several_side_by_side_as_one_by_one():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, PerChannel.size()))
    inputs = rng.normal(size=(6, 4, len(INPUTS)))
    first = PerChannel(weights[0])
    hidden = np.tanh(inputs[1, 2] @ first.hidden + first.hidden_bias[0])
    expected = hidden @ first.out + inputs[1, 2] @ first.direct + first.bias[0]
    np.testing.assert_allclose(first(inputs)[1, 2], expected)
    assert first(inputs).shape == (6, 4, len(OUTPUTS))
    np.testing.assert_allclose(PerChannel(weights)(inputs)[3:], PerChannel(weights[1])(inputs[3:]))
    np.testing.assert_array_equal(PerChannel(weights).flat(), weights)


def test_weights_that_are_missing_cut_off_or_of_something_else_are_refused(tmp_path):
    path = tmp_path / "weights.npz"
    with pytest.raises(ConfigError, match="does not exist: `lnsim train learned_operator`"):
        read_weights(path)
    write_weights(path, np.zeros(PerChannel.size()))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="which are none"):
        read_weights(path)
    with pytest.raises(ConfigError, match="which are none"):
        read_weights(recipe_path("ppo").with_suffix(".npz"))
    for wrong in (np.zeros(3), np.full(PerChannel.size(), np.nan), np.zeros(PerChannel.size(), np.float32)):
        write_weights(path, wrong)
        with pytest.raises(ConfigError, match=r"expected 'lnsim learned operator 1' with \d+ finite numbers"):
            read_weights(path)


def test_the_search_climbs():
    """A bowl of 20 dimensions, from a distance of 1 in each."""
    state = SearchState.at(np.ones(20))
    for _ in range(150):
        candidates, directions = candidates_of(state, 8, 0.05, 1)
        np.testing.assert_allclose(candidates[0::2] + candidates[1::2], np.tile(2 * state.weights, (8, 1)))
        state = stepped(state, directions, -(candidates**2).sum(axis=1), 0.05, 0.03)
    assert (state.mean**2).sum() < 2
    assert state.generation == 150


def test_places_of_the_shipped_training_are_not_those_held_out():
    plan = read_recipe("learned_operator").training
    places = [place_of(plan, number) for number in range(plan.surveys)]
    assert len(set(places)) == len(places)
    assert all(300 <= graph < 500 for graph, _, _ in places)


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ("graphs = [5, 5]\npositions = [0, 1]\nseeds = [0, 1]", r"graphs must be \[first, last\]"),
        ("graphs = [1, 5]", "positions"),
        ("graphs = [1, 5]\npositions = [0, 1]\nseeds = [0, 1]\npairs = 0", "pairs"),
    ],
)
def test_a_training_table_that_is_wrong_is_refused(tmp_path, training, said):
    path = tmp_path / "mine.toml"
    path.write_text(f'policy = "learned_operator"\nweights = "a.npz"\n[training]\n{training}\n')
    with pytest.raises(ConfigError, match=said):
        read_recipe(str(path))


def lnsim(folder, *arguments):
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = [sys.executable, "-m", "lnsim_gym", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.slow
def test_a_training_leaves_an_agent_that_plays_and_is_resumed(tmp_path):
    (tmp_path / "mine.toml").write_text(RECIPE)
    command = ["train", "mine.toml", "--out", "out", "--threads", "1", "--minutes", "0.05"]
    done = lnsim(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert "sat a day where it was not trained" in done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["surveys"] == 3
    assert report["generations"] > 0
    assert [point["generation"] for point in report["curve"]] == sorted(p["generation"] for p in report["curve"])
    trained = read_recipe(str(tmp_path / "out" / "mine.toml"))
    state, _ = EvolutionFolder(tmp_path / "out").load()
    np.testing.assert_array_equal(read_weights(Path(trained.settings["weights"])), state.mean)
    assert lnsim(tmp_path, *command).returncode != 0  # the folder holds a training
    again = lnsim(tmp_path, *command[:-1], "0.1", "--resume")
    assert again.returncode == 0, again.stderr
    assert EvolutionFolder(tmp_path / "out").load()[0].generation > state.generation
