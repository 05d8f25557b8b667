"""The command that shows what a network file holds."""

import io
import json

import pytest
from rich.table import Table
from typer.testing import CliRunner

from lnsim_gym.cli import make_app
from lnsim_gym.cli.display import make_console
from lnsim_gym.errors import TopologyError
from lnsim_gym.network.generators import scale_free
from lnsim_gym.network.summary import QUANTILES, summarise
from tests.network.importers.formats import describegraph, describegraph_edge, describegraph_policy, write_json

EDGES = (
    describegraph_edge("anna", "bert", "500000"),
    describegraph_edge("bert", "anna", "600000", node1_policy=describegraph_policy(inbound_fee_base_msat=-1)),
    describegraph_edge("bert", "cleo", "700000", node2_policy=None),
    describegraph_edge("anna", "cleo", "1"),
)


def show(*arguments):
    done = CliRunner().invoke(make_app(), ["network", *map(str, arguments)], env={"COLUMNS": "120"}, prog_name="lnsim")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_a_file_is_summed_up_with_what_it_loses(tmp_path):
    shown = show(write_json(tmp_path / "graph.json", describegraph(*EDGES)))
    for part in (
        "LND's describegraph",
        "3, 2 of them parallel to others",
        "1,800,000 sat",
        "1 of 6 directions",
        "1 channels with a capacity outside 20,000..1,000,000,000 sat",
        "1 directions without a policy taken as disabled",
    ):
        assert part in shown


def test_the_same_is_told_as_json_and_a_cut_applies(tmp_path):
    told = json.loads(
        show(write_json(tmp_path / "graph.json", describegraph(*EDGES)), "--json", "--cut", "around(anna, 1)")
    )
    assert (told["nodes"], told["channels"], told["parallel_channels"], told["inbound_fee_directions"]) == (2, 2, 2, 1)
    assert told["channel_capacity_sat"][0] == 500_000
    assert told["changed"] == {"directions without a policy taken as disabled": 1}


def test_a_picture_is_drawn(tmp_path):
    show("ring(nodes = 5)", "--plot", tmp_path / "ring.png")
    assert (tmp_path / "ring.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_none_ends_in_the_error_of_the_package():
    with pytest.raises(TopologyError, match="unknown topology 'nowhere'"):
        show("nowhere")


def test_quantiles_are_those_of_the_columns():
    topology = scale_free(50, 100, 1)
    summary = summarise(topology)
    assert (summary.parts, summary.nodes_of_largest_part, summary.given_balances) == (1, 50, 0)
    assert summary.channel_capacity_sat[QUANTILES.index(1.0)] == topology.arrays.capacity_sat.max()
    assert sum(summary.channels_per_node) > 0


def test_tables_show_names_that_look_like_markup_as_they_are():
    console = make_console(record=True, width=80, file=io.StringIO())
    table = Table("node")
    for name in ("NAME [lnd-26]", "[/x]", ":smile:"):
        table.add_row(name)
    console.print(table)
    shown = console.export_text()
    assert all(name in shown for name in ("NAME [lnd-26]", "[/x]", ":smile:"))
