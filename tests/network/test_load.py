"""What a configuration may say of a topology."""

import pytest

from lnsim_gym.errors import TopologyError
from lnsim_gym.network import Topology
from lnsim_gym.network.generators import complete, ring, scale_free
from lnsim_gym.network.load import load_topology
from lnsim_gym.network.presets import preset

TOML = """
nodes = ["anna", "bert"]
[[channels]]
initiator = "anna"
peer = "bert"
capacity_sat = 50_000
"""


def test_a_topology_is_returned_as_it_is():
    topology = ring(3)
    assert load_topology(topology) is topology


def test_a_preset_goes_by_its_name():
    assert load_topology("default") == preset("default")


def test_a_generator_may_be_a_table_or_a_call_in_text():
    expected = scale_free(20, 40, 7, initiator_share=(0.2, 0.8))
    table = {"generator": "scale_free", "nodes": 20, "channels": 40, "seed": 7, "initiator_share": [0.2, 0.8]}
    assert load_topology(table) == expected
    assert load_topology("scale_free(nodes = 20, channels = 40, seed = 7, initiator_share = [0.2, 0.8])") == expected
    assert load_topology("complete(nodes = 4)") == complete(4)


def test_a_table_may_be_the_topology_itself():
    assert load_topology(preset("default").to_dict()).nodes == preset("default").nodes


def test_a_file_may_be_toml_or_json(tmp_path):
    (tmp_path / "net.toml").write_text(TOML)
    (tmp_path / "net.json").write_text('{"generator": "ring", "nodes": 4}')
    assert load_topology(tmp_path / "net.toml").channels[0].capacity_sat == 50_000
    assert load_topology(str(tmp_path / "net.json")) == ring(4)


def test_a_table_has_the_same_meaning_written_to_a_file(tmp_path):
    topology = Topology.from_dict(preset("default").to_dict())
    (tmp_path / "net.toml").write_text('generator = "star"\nnodes = 5')
    assert load_topology(tmp_path / "net.toml") != topology


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("defualt", "unknown topology 'defualt': neither a preset nor a file. Did you mean 'default'"),
        ("rnig(nodes = 3)", "unknown topology generator 'rnig'. Did you mean 'ring'"),
        ({"generator": "ring", "nodes": 5, "capacity": 3}, "unknown field `capacity`. Did you mean 'capacity_sat'"),
        ({"generator": "ring"}, "'ring' does not fit its schema: .*missing required field `nodes`"),
        ({"generator": "ring", "nodes": "5"}, r"Expected `int`, got `str` - at `\$.nodes`"),
        ("ring(nodes 3)", r"cannot read the arguments of ring\(nodes 3\)"),
        ({"nodes": ["a", "b"], "chanels": []}, "Did you mean 'channels'"),
        (3, "a topology must be a name, a path or a table, got int"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(value, message):
    with pytest.raises(TopologyError, match=message):
        load_topology(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOML.replace('"bert"]', '"bert"'), r"net: .*line 3"),
        ('{"nodes": [}', r"net: .*line 1 column 12"),
        ("[1, 2]", "net: expected a network, got a JSON list of something else: readable are"),
        (TOML.replace("50_000", "5"), r"net: channels\[0\] \(anna-bert\): capacity_sat must lie in 20,000"),
        (TOML.replace("peer", "pear"), "net: .*unknown field `pear`.* Did you mean 'peer'"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_line_or_field(tmp_path, text, message):
    (tmp_path / "net").write_text(text)
    with pytest.raises(TopologyError, match=message):
        load_topology(tmp_path / "net")
