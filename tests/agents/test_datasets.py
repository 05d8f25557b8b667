"""Data sets of named agents: what they hold, and that they are played again from their seeds."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from typer.testing import CliRunner

from lnsim_gym.cli import make_app
from lnsim_gym.version import __version__

minari = pytest.importorskip("minari", reason="needs the extra 'datasets'")
pytest.importorskip("jax", reason="needs the extra 'datasets'")
pytest.importorskip("h5py", reason="needs the extra 'datasets'")

SMALL = ("--seeds", "7:9", "--set", "max_episode_steps=4")


def lnsim(*arguments: object) -> str:
    done = CliRunner().invoke(make_app(), [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of three small data sets, each of another environment."""
    out = tmp_path_factory.mktemp("datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(out))
        said = lnsim("dataset", "targeted", *SMALL, "--out", out)
        said += lnsim("dataset", "noop", *SMALL, "--env", "LightningNetRandom-v0", "--out", out)
        circular = ("--set", "operation=circular", "--set", "action=multidiscrete", "--set", "observation=dict")
        said += lnsim("dataset", "random", *SMALL, *circular, "--id", "lightning/cycles-v2", "--out", out)
        assert said.count("2 episodes") == 3
        yield out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "agent", "env_id"),
    [
        ("LightningNet/targeted-v0", "targeted", "LightningNet-v0"),
        ("LightningNetRandom/noop-v0", "noop", "LightningNetRandom-v0"),
        ("lightning/cycles-v2", "random", "LightningNet-v0"),
    ],
)
def test_a_data_set_holds_what_its_environment_plays_again(folder, name, agent, env_id):
    data = minari.load_dataset(name)
    env = data.recover_environment()
    assert env.spec.id == env_id
    assert data.storage.metadata["algorithm_name"] == agent
    assert f"lnsim_gym=={__version__}" in data.storage.metadata["requirements"]
    assert data.total_episodes == 2
    for seed, episode in zip((7, 8), data.iterate_episodes(), strict=True):
        assert len(episode.rewards) == 4
        observation, info = env.reset(seed=seed)
        np.testing.assert_array_equal(episode.infos["seed"], [seed] * 5)
        for step in range(4):
            shown = data_equivalence(observation, _entry(episode.observations, step), exact=True)
            assert shown
            observation, reward, _, truncated, info = env.step(_entry(episode.actions, step))
            assert reward == episode.rewards[step]
            assert truncated == episode.truncations[step]
            assert info["rebalance"]["applied_sat"] == episode.infos["rebalance"]["applied_sat"][step + 1]
            assert info["rebalance"]["reason"] == episode.infos["rebalance"]["reason"][step + 1].decode()
    env.close()


@pytest.mark.slow
def test_a_data_set_is_not_written_over(folder):
    done = CliRunner().invoke(make_app(), ["dataset", "targeted", *SMALL, "--out", str(folder)])
    assert "a data set LightningNet/targeted-v0 exists already" in str(done.exception)


def _entry(values, step):
    return {key: rows[step] for key, rows in values.items()} if isinstance(values, dict) else values[step]
