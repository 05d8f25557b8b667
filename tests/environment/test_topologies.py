"""What an environment makes of a topology: objects, paths and lists of them, cuts, and balances that are given."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.errors import ConfigError, TopologyError
from lnsim_gym.network import Channel, Topology
from lnsim_gym.network.generators import scale_free
from lnsim_gym.tasks import EnvironmentConfig

NODES = ("hub", "shop", "fan")
GIVEN = Topology(
    nodes=NODES,
    channels=(
        Channel(initiator="hub", peer="shop", capacity_sat=2_000_000),
        Channel(initiator="fan", peer="hub", capacity_sat=500_000, initiator_balance_sat=300_000),
        Channel(initiator="shop", peer="fan", capacity_sat=800_000),
    ),
)
OPEN = Topology(
    nodes=NODES,
    channels=tuple(Channel(initiator=c.initiator, peer=c.peer, capacity_sat=c.capacity_sat) for c in GIVEN.channels),
)


def start_of(make=gym.make, **settings):
    env = make("LightningNet-v0", **settings)
    env.reset(seed=1)
    return env.unwrapped.balances_msat()


def test_balances_that_a_topology_gives_hold_and_only_the_others_are_drawn():
    given, drawn = start_of(topology=GIVEN), start_of(topology=OPEN)
    assert given[1].tolist() == [300_000_000, int(GIVEN.owned_total_msat[1]) - 300_000_000]
    assert drawn[1, 0] != 300_000_000
    assert np.array_equal(given[[0, 2]], drawn[[0, 2]])


def test_a_vector_starts_from_given_balances_too():
    envs = gym.make_vec("LightningNet-v0", num_envs=3, topology=GIVEN)
    envs.reset(seed=1)
    assert envs.unwrapped.balances_msat()[:, 1, 0].tolist() == [300_000_000] * 3


def test_topologies_and_paths_are_taken_also_in_lists(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(GIVEN.to_dict()))
    assert gym.make("LightningNet-v0", topology=GIVEN).unwrapped.topology is GIVEN
    assert gym.make("LightningNet-v0", topology=path).unwrapped.topology.nodes == NODES
    several = gym.make("LightningNet-v0", topology=[path, GIVEN, str(path), GIVEN.to_dict()])
    assert len(several.unwrapped.problem.variants) == 4


@pytest.mark.parametrize("make", [gym.make, lambda id_, **rest: gym.make_vec(id_, num_envs=2, **rest)])
def test_the_spec_is_json_whatever_the_topology_was_given_as(make, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(GIVEN.to_dict()))
    for topology in (GIVEN, path, [GIVEN, path], "default", None):
        env = make("LightningNet-v0", **({} if topology is None else {"topology": topology}))
        json.loads(env.spec.to_json())
    again = gym.make(
        gym.envs.registration.EnvSpec.from_json(gym.make("LightningNet-v0", topology=GIVEN).spec.to_json())
    )
    assert again.unwrapped.topology.start_balances_msat().tolist() == GIVEN.start_balances_msat().tolist()


def test_a_spec_over_a_pipe_says_why_it_is_no_json():
    env = gym.make("LightningNet-v0")
    env.unwrapped.spec.kwargs["topology"] = "/dev/null"
    env.unwrapped.spec = env.unwrapped.spec
    with pytest.raises(ConfigError, match="read from the pipe /dev/null"):
        env.unwrapped.spec.to_json()


def test_the_setting_cut_keeps_a_part_of_every_topology():
    large = scale_free(60, 150, 3)
    env = gym.make("LightningNet-v0", topology=large, cut=["largest(20)", "component"])
    assert env.unwrapped.topology == large.cut("largest(20)", "component")
    assert gym.make("LightningNet-v0", topology=large, cut="core(2)").unwrapped.topology == large.core(2)
    with pytest.raises(TopologyError, match=r"unknown cut 'cores\(2\)'. Did you mean 'core'"):
        gym.make("LightningNet-v0", topology=large, cut="cores(2)")


def test_a_topology_of_the_wrong_type_is_refused_with_what_is_taken():
    with pytest.raises(ConfigError, match="must be a name, a path or a table, got int"):
        EnvironmentConfig.of({"topology": 3})


def test_a_path_becomes_text_in_a_config():
    assert EnvironmentConfig.of({"topology": [Path("a"), "b"]}).topology == ["a", "b"]


def test_names_that_look_like_formulas_or_markup_are_drawn_as_they_are():
    names = ("$\\frac$", "[/x]", "NAME [lnd-26]", ":smile:")
    channels = tuple(
        Channel(initiator=one, peer=other, capacity_sat=500_000)
        for one, other in zip(names, (*names[1:], names[0]), strict=True)
    )
    for mode in ("rgb_array", "ansi"):
        env = gym.make("LightningNet-v0", topology=Topology(nodes=names, channels=channels), render_mode=mode)
        env.reset(seed=1)
        shown = env.render()
        assert mode == "rgb_array" or all(name in shown for name in names)
