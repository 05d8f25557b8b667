"""Networks of other programs, read with the right units, and with one warning of what had to be left out."""

import re
import tempfile
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.generators import scale_free
from lnsim_gym.network.importers import from_describegraph, from_simln, read_cloth, to_describegraph
from lnsim_gym.network.load import load_topology
from lnsim_gym.network.policies import Policy
from tests.network.importers.formats import (
    CLOTH,
    CLOTH_EDGES,
    KEYS,
    as_cloth,
    as_simln,
    describegraph,
    describegraph_edge,
    describegraph_policy,
    simln,
    simln_end,
    write_cloth,
    write_json,
)

TRIANGLE = (
    describegraph_edge("anna", "bert", "500000"),
    describegraph_edge("bert", "cleo", "600000"),
    describegraph_edge("anna", "cleo", "700000"),
)


@st.composite
def networks(draw, share=None):
    nodes = draw(st.integers(2, 12))
    channels = draw(st.integers(nodes - 1, nodes * (nodes - 1) // 2))
    return scale_free(nodes, channels, draw(st.integers(0, 10**6)), initiator_share=share)


def same_columns(one, other):
    return all((a == b).all() for a, b in zip(one.arrays, other.arrays, strict=True))


def read_with_warning(read, *arguments):
    with pytest.warns(UserWarning, match="dropped|left out|cut to|disabled") as caught:
        topology = read(*arguments)
    assert len(caught) == 1
    return topology, str(caught[0].message)


def test_a_graph_of_lnd_has_capacities_in_sat_and_fees_in_msat_and_ppm():
    topology = from_describegraph(describegraph(*TRIANGLE))
    assert topology.nodes == ("anna", "bert", "cleo")
    assert topology.arrays.capacity_sat.tolist() == [500_000, 600_000, 700_000]
    first = topology.policies[0].initiator
    second = topology.policies[0].peer
    assert (first.fee_base_msat, first.fee_rate_ppm, first.time_lock_delta) == (1500, 250, 40)
    assert (first.min_htlc_msat, first.max_htlc_msat) == (1000, 495_000_000)
    assert (second.fee_base_msat, second.fee_rate_ppm, second.time_lock_delta) == (0, 7, 144)


def test_in_a_graph_of_lnd_the_first_end_is_the_initiator_and_owns_everything():
    topology = from_describegraph(describegraph(*TRIANGLE))
    assert topology.channels[1].initiator == "bert"
    assert (topology.start_balances_msat()[:, 1] == 0).all()


def test_an_alias_that_is_blank_or_shared_gives_way_to_the_public_key():
    graph = describegraph(*TRIANGLE)
    graph["nodes"][0]["alias"] = graph["nodes"][1]["alias"] = "same"
    graph["nodes"][2]["alias"] = " "
    assert from_describegraph(graph).nodes == tuple(KEYS.values())


def test_a_sim_ln_network_has_all_amounts_in_msat_and_both_ends_start_alike():
    topology = from_simln(simln(("anna", "bert", 500_000_000), ("bert", "cleo", 450_000_999)))
    assert topology.arrays.capacity_sat.tolist() == [500_000, 450_000]
    policy = topology.policies[0].peer
    assert (policy.fee_base_msat, policy.fee_rate_ppm, policy.time_lock_delta) == (1750, 100, 40)
    assert (policy.min_htlc_msat, policy.max_htlc_msat) == (1, 400_000_000)
    assert topology.start_balances_msat()[0].tolist() == [246_530_000, 250_000_000]


def test_cloth_files_have_all_amounts_in_msat_and_balances(tmp_path):
    topology = read_cloth(write_cloth(tmp_path))
    assert topology.nodes == ("n0", "n1", "n2")
    assert topology.arrays.capacity_sat.tolist() == [500_000, 2_000_000]
    assert [channel.initiator for channel in topology.channels] == ["n0", "n2"]
    assert topology.start_balances_msat()[:, 1].tolist() == [100_000_000, 500_000_000]
    assert topology.policies[0].peer.fee_base_msat == 2000
    assert topology.policies[0].peer.min_htlc_msat == 1
    assert topology.policies[1].initiator.fee_rate_ppm == 40
    assert topology.policies[1].initiator.time_lock_delta == 144


def test_the_poorer_end_of_a_cloth_channel_has_nothing_or_at_least_its_reserve(tmp_path):
    edges = CLOTH["edges"].replace("400000000", "497000000").replace("100000000", "3000000")
    topology = read_cloth(write_cloth(tmp_path, edges=edges))
    assert topology.start_balances_msat()[0, 1] == 5_000_000
    edges = edges.replace("3000000,", "2000000,")
    assert read_cloth(write_cloth(tmp_path, edges=edges)).start_balances_msat()[0, 1] == 0


def test_parallel_channels_stay():
    graph = describegraph(
        *TRIANGLE, describegraph_edge("bert", "anna", "800000"), describegraph_edge("anna", "bert", "30000")
    )
    topology = from_describegraph(graph)
    assert topology.arrays.capacity_sat.tolist() == [500_000, 600_000, 700_000, 800_000, 30_000]
    assert len(topology.directions("anna", "bert")) == 3


def test_channels_that_lnd_could_not_run_are_dropped_and_counted_by_reason():
    graph = describegraph(
        *TRIANGLE[:2],
        describegraph_edge("anna", "cleo", "19999"),
        describegraph_edge("anna", "anna", "700000"),
        describegraph_edge("anna", "cleo", float("nan")),
    )
    topology, warning = read_with_warning(from_describegraph, graph, "graph.json")
    assert len(topology.channels) == 2
    for part in (
        "graph.json: dropped 3 of 5 channels",
        "1 with a capacity outside 20,000..1,000,000,000 sat",
        "1 from a node to itself",
        "1 malformed, the first: edges[4]",
    ):
        assert part in warning


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (None, "1 directions without a policy taken as disabled"),
        (describegraph_policy(fee_base_msat="-1"), "1 directions with fees outside LND's limits taken as disabled"),
        (describegraph_policy(fee_rate_milli_msat=str(2**32)), "1 directions with fees outside LND's limits"),
        (describegraph_policy(min_htlc="700000000"), "1 directions with an empty range of HTLC sizes"),
    ],
)
def test_a_direction_without_a_policy_that_lnd_accepts_is_disabled_and_the_other_lives_on(policy, said):
    graph = describegraph(*TRIANGLE[:1], describegraph_edge("bert", "cleo", "700000", node2_policy=policy))
    topology, warning = read_with_warning(from_describegraph, graph)
    assert topology.nodes == ("anna", "bert", "cleo")
    assert topology.policies[1].peer == Policy(disabled=True)
    assert not topology.policies[1].initiator.disabled
    assert said in warning


def test_policies_that_close_a_channel_for_others_are_played_as_they_are():
    closed = describegraph_policy(
        fee_rate_milli_msat="4294967295",
        fee_base_msat=2147483647,
        inbound_fee_base_msat=-5,
        inbound_fee_rate_milli_msat="-300",
    )
    graph = describegraph(*TRIANGLE[:2], describegraph_edge("anna", "cleo", "700000", node2_policy=closed))
    policy = from_describegraph(graph).policies[2].peer
    assert (policy.fee_rate_ppm, policy.fee_base_msat) == (2**32 - 1, 2**31 - 1)
    assert (policy.inbound_fee_base_msat, policy.inbound_fee_rate_ppm) == (-5, -300)
    disabled = describegraph(
        describegraph_edge("anna", "cleo", 700000, node2_policy=describegraph_policy(disabled=True))
    )
    assert from_describegraph(disabled).arrays.disabled.tolist() == [0, 1]


def test_time_locks_and_htlc_sizes_are_cut_to_what_lnd_accepts():
    policy = describegraph_policy(time_lock_delta=14, min_htlc="0", max_htlc_msat="500000000")
    graph = describegraph(
        describegraph_edge("anna", "bert", "500000", node1_policy=policy, node2_policy=describegraph_policy()),
        TRIANGLE[1],
    )
    topology, warning = read_with_warning(from_describegraph, graph)
    cut = topology.policies[0].initiator
    assert (cut.time_lock_delta, cut.min_htlc_msat, cut.max_htlc_msat) == (24, 1, 495_000_000)
    assert "1 policies cut to LND's limits" in warning


def test_nodes_without_a_channel_are_left_out():
    topology, warning = read_with_warning(from_describegraph, describegraph(TRIANGLE[0]))
    assert topology.nodes == ("anna", "bert")
    assert "left out 1 nodes without a channel" in warning


def test_large_channels_make_the_network_a_wumbo_one():
    graph = describegraph(*TRIANGLE[:2], describegraph_edge("anna", "cleo", "16777216"))
    assert from_describegraph(graph).wumbo
    assert not from_describegraph(describegraph(*TRIANGLE)).wumbo


@given(topology=networks())
def test_a_topology_survives_the_way_to_a_graph_of_lnd_and_back(topology):
    again = from_describegraph(to_describegraph(topology))
    assert (again.nodes, again.wumbo) == (topology.nodes, topology.wumbo)
    assert [(c.initiator, c.peer) for c in again.channels] == [(c.initiator, c.peer) for c in topology.channels]
    assert same_columns(again, topology)
    assert (again.start_balances_msat() == topology.start_balances_msat()).all()


@given(topology=networks())
def test_policies_and_capacities_survive_the_way_to_sim_ln_and_back(topology):
    again = from_simln(as_simln(topology))
    assert set(again.nodes) == set(topology.nodes)
    for mine, theirs in zip(again.arrays, topology.arrays, strict=True):
        if mine is not again.arrays.source and mine is not again.arrays.destination:
            assert (mine == theirs).all()


@given(topology=networks(share=(0.0, 1.0)))
def test_balances_survive_the_way_to_cloth_and_back(topology):
    with tempfile.TemporaryDirectory() as folder:
        again = load_topology(as_cloth(folder, topology))
    mine = again.start_balances_msat()
    theirs = topology.start_balances_msat()
    for index, (new, old) in enumerate(zip(again.channels, topology.channels, strict=True)):
        side = 0 if new.initiator == old.initiator else 1
        assert mine[index, side] == theirs[index, 0]


def test_a_file_is_recognised_by_what_is_in_it(tmp_path):
    assert len(load_topology(write_json(tmp_path / "a.txt", describegraph(*TRIANGLE))).channels) == 3
    assert len(load_topology(write_json(tmp_path / "b", simln(("anna", "bert", 500_000_000)))).channels) == 1
    assert len(load_topology(write_cloth(tmp_path)).channels) == 2
    assert len(load_topology(str(tmp_path)).channels) == 2


def test_an_unharmed_file_gives_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_topology(write_json(tmp_path / "a.json", describegraph(*TRIANGLE)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            describegraph(describegraph_edge("anna", "bert", "lots")),
            r"bad.json: no usable channel: .*edges\[0\] .*int.*\$.capacity",
        ),
        (describegraph({"node1_pub": "x"}), r"bad.json: .*edges\[0\] .*missing required field `node2_pub`"),
        ({"nodes": 3, "edges": []}, "bad.json: a graph of LND needs a list under 'nodes', got int"),
        (describegraph(), r"bad.json: no usable channel: all 0 listed were dropped \(the list is empty\)"),
        (
            {"sim_network": [{"capacity_msat": "x", "node_1": simln_end("anna"), "node_2": simln_end("bert")}]},
            r"bad.json: .*sim_network\[0\] .*Expected `int`, got `str` - at `\$.capacity_msat`",
        ),
        (simln(("anna", "bert", 19_999_999)), r"bad.json: no usable channel: .*1 with a capacity outside"),
    ],
)
def test_a_bad_file_gives_one_error_with_the_file_and_the_field(tmp_path, data, message):
    with pytest.raises(TopologyError, match=message):
        load_topology(write_json(tmp_path / "bad.json", data))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": "id\n0\nx\n"}, "nodes.csv, line 3: id must be an integer, got 'x'"),
        ({"channels": "0,0,1,0,1,5\n"}, "channels.csv, line 1: expected the header id,edge1_id"),
        ({"edges": f"{CLOTH_EDGES}\n0,0,1\n"}, "edges.csv, line 2: expected 10 columns, got 3"),
    ],
)
def test_cloth_files_without_a_usable_channel_give_one_error_with_the_file_and_the_line(tmp_path, changes, message):
    with pytest.raises(TopologyError, match=message):
        load_topology(write_cloth(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": "id\n0\n0\n1\n2\n"}, "nodes.csv, line 3: the id 0 appears twice"),
        ({"nodes": "id\n0\n1\n"}, "channels.csv, line 3: there is no node 2"),
        ({"channels": CLOTH["channels"].replace("1,2,3,", "1,2,9,")}, "channels.csv, line 3: there is no edge 9"),
        ({"edges": CLOTH["edges"].replace("0,0,1,0,1,4", "0,0,1,0,1,-4")}, "1 channels whose balances are negative or"),
        (
            {"edges": CLOTH["edges"].replace("400000000", "300000000")},
            "1 channels whose balances are negative or do not",
        ),
        (
            {"edges": CLOTH["edges"].replace("2,1,3,1,2", "2,1,3,0,2")},
            "edges.csv, line 4: edge 2 should lead from node 1 to node 2, as channels.csv, line 3 says",
        ),
    ],
)
def test_what_is_wrong_in_cloth_files_costs_the_channel_at_most_and_is_told(tmp_path, changes, said):
    with pytest.warns(UserWarning, match=re.escape(said)) as caught:
        topology = load_topology(write_cloth(tmp_path, **changes))
    assert len(caught) == 1
    assert topology.channels


def test_a_folder_without_cloth_files_is_refused(tmp_path):
    with pytest.raises(TopologyError, match=r"expected one file nodes.csv of CLoTH, found none"):
        load_topology(tmp_path)


def test_files_of_cloth_may_have_a_suffix(tmp_path):
    write_cloth(tmp_path)
    for stem in CLOTH:
        (tmp_path / f"{stem}.csv").rename(tmp_path / f"{stem}_ln.csv")
    assert len(load_topology(tmp_path).channels) == 2
    assert np.all(load_topology(tmp_path).arrays.capacity_sat == [500_000, 2_000_000])
