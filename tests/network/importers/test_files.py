"""Files as programs, shells and spreadsheets leave them: how they are packed, encoded, wrapped and put together."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import threading
import warnings
import zipfile

import networkx as nx
import pytest

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.importers import from_graph
from lnsim_gym.network.load import load_topology
from tests.network.importers.formats import (
    CLOTH,
    KEYS,
    describegraph,
    describegraph_edge,
    describegraph_policy,
    simln,
    write_cloth,
    write_json,
)

ANNA, BERT, CLEO = KEYS.values()
GRAPH = describegraph(
    describegraph_edge("anna", "bert", "500000", channel_id=str(700_000 << 40)),
    describegraph_edge("bert", "cleo", 600_000, channel_id="700000x1x0", chan_point="cd:0"),
    describegraph_edge("anna", "cleo", "700000", channel_id=5),
)
TEXT = json.dumps(GRAPH)
OWN = {
    "channels": [
        {
            "remote_pubkey": BERT,
            "chan_id": str(700_000 << 40),
            "local_balance": "100000",
            "remote_balance": "396530",
            "initiator": False,
            "fee_per_kw": "2500",
        },
        {"remote_pubkey": CLEO, "chan_id": "9", "local_balance": 200_000, "remote_balance": 300_000, "initiator": True},
    ]
}
NAMES = ("anna", "bert", "cleo")


def direction(source, destination, number, **changes):
    """One direction of a channel as Core Lightning prints it."""
    return {
        "source": source,
        "destination": destination,
        "short_channel_id": number,
        "direction": int(source > destination),
        "public": True,
        "amount_msat": 500_000_000,
        "active": True,
        "base_fee_millisatoshi": 7,
        "fee_per_millionth": 8,
        "delay": 34,
        "htlc_minimum_msat": 1,
        "htlc_maximum_msat": 400_000_000,
        **changes,
    }


LISTCHANNELS = {
    "channels": [
        direction(BERT, ANNA, "700000x1x0", active=False),
        direction(ANNA, BERT, "700000x1x0", amount_msat="500000000msat", htlc_maximum_msat="400000000msat"),
        direction(ANNA, BERT, "700001x2x1", amount_msat=None, satoshis=300_000, htlc_maximum_msat=0),
        direction(BERT, CLEO, "700002x2x1", fee_per_millionth="x"),
        direction(BERT, CLEO, "700003x2x1"),
        direction(CLEO, BERT, "700003x2x1"),
    ]
}
LISTNODES = {"nodes": [{"nodeid": ANNA, "alias": "anna"}, {"nodeid": BERT}, {"nodeid": "02" + "f" * 64, "alias": "x"}]}


def quietly(source, *cuts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_topology(source, cuts)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_is_unpacked(tmp_path, pack):
    (tmp_path / "graph").write_bytes(pack(TEXT.encode()))
    assert load_topology(tmp_path / "graph").nodes == NAMES


def test_a_zstandard_file_is_unpacked(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    (tmp_path / "graph.json.zst").write_bytes(zstandard.compress(TEXT.encode()))
    assert load_topology(tmp_path / "graph.json.zst").nodes == NAMES


def test_a_zip_archive_may_hold_a_graph_or_the_files_of_cloth(tmp_path):
    with zipfile.ZipFile(tmp_path / "graph.zip", "w") as archive:
        archive.writestr("folder/graph.json", TEXT)
    assert load_topology(tmp_path / "graph.zip").nodes == NAMES
    with zipfile.ZipFile(tmp_path / "cloth.zip", "w") as archive:
        for stem, text in CLOTH.items():
            archive.writestr(f"data/{stem}_ln.csv", text)
    assert len(load_topology(tmp_path / "cloth.zip").channels) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_a_file_may_have_any_encoding_that_shells_leave(tmp_path, encoding):
    graph = describegraph(*GRAPH["edges"])
    graph["nodes"][0]["alias"] = "Zoë €"
    (tmp_path / "graph.json").write_bytes(json.dumps(graph, ensure_ascii=False).encode(encoding))
    assert load_topology(tmp_path / "graph.json").nodes[0] == "Zoë €"


def test_tables_of_spreadsheets_are_read(tmp_path):
    for stem, text in CLOTH.items():
        table = text.replace(",", ";").replace("400000000", "4E+08").replace("\n", "\r\n")
        (tmp_path / f"{stem}.csv").write_bytes(table.encode("utf-8-sig"))
    assert (
        load_topology(tmp_path).start_balances_msat().tolist()
        == load_topology(write_cloth(tmp_path)).start_balances_msat().tolist()
    )


def test_of_a_folder_of_cloth_the_network_is_taken_and_the_rest_left_alone(tmp_path):
    for stem, text in CLOTH.items():
        (tmp_path / f"{stem}_ln.csv").write_text(text)
        (tmp_path / f"{stem}_template.csv").write_text("not,a,network\n")
        (tmp_path / f"{stem}_output.csv").write_text("neither\n")
    (tmp_path / "payments_output.csv").write_text("id\n")
    assert len(load_topology(tmp_path).channels) == 2


def test_a_pipe_is_read_once_and_known_from_then_on():
    read, write = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(write, TEXT.encode()), os.close(write)))
    writer.start()
    try:
        assert load_topology(f"/dev/fd/{read}") is load_topology(f"/dev/fd/{read}")
    finally:
        writer.join()
        os.close(read)


@pytest.mark.parametrize("wrap", [lambda g: {"timestamp": 1, "graph": g}, lambda g: {"id": 1, "result": g}])
def test_a_graph_may_be_wrapped(wrap):
    assert load_topology(wrap(GRAPH)).nodes == NAMES


def test_old_and_other_names_of_fields_are_known(tmp_path):
    graph = json.loads(TEXT)
    graph["nodes"] = [{"id": node["pub_key"], "alias": node["alias"]} for node in graph["nodes"]]
    for policy in (edge[end] for edge in graph["edges"] for end in ("node1_policy", "node2_policy")):
        for field in ("max_htlc_msat", "custom_records", "inbound_fee_base_msat", "inbound_fee_rate_milli_msat"):
            del policy[field]
    assert load_topology(graph).nodes == NAMES
    camel = TEXT
    for snake in ("pub_key", "node1_pub", "node2_pub", "node1_policy", "node2_policy", *describegraph_policy()):
        first, *others = snake.split("_")
        camel = camel.replace(f'"{snake}"', f'"{first}{"".join(map(str.title, others))}"')
    (tmp_path / "camel.json").write_text(camel)
    assert load_topology(tmp_path / "camel.json").channels[0].policies == load_topology(GRAPH).channels[0].policies


def test_nodes_keep_their_keys_their_aliases_and_their_channels_ids():
    graph = describegraph(*GRAPH["edges"])
    graph["nodes"][1]["alias"] = graph["nodes"][2]["alias"] = "same \ud83d\x1b"
    topology = load_topology(graph)
    assert topology.nodes == ("anna", BERT, CLEO)
    assert topology.public_keys == (ANNA, BERT, CLEO)
    assert topology.aliases == ("anna", "same \ufffd\x1b", "same \ufffd\x1b")
    assert [channel.chan_id for channel in topology.channels] == [700_000 << 40, (700_000 << 40) + (1 << 16), 5]


def test_a_file_with_half_a_character_is_read(tmp_path):
    (tmp_path / "graph.json").write_text(TEXT.replace('"anna"', '"\\ud83d anna \\\\ud83d \\ud83d\\udd25"'))
    assert load_topology(tmp_path / "graph.json").nodes[0] == "\ufffd anna \\ud83d \U0001f525"


def test_listchannels_of_core_lightning_has_directions_and_listnodes_the_aliases(tmp_path):
    paths = [write_json(tmp_path / "channels", LISTCHANNELS), str(write_json(tmp_path / "nodes", LISTNODES))]
    with pytest.warns(UserWarning, match="1 malformed.*1 directions without a policy taken as disabled"):
        topology = load_topology({"files": paths})
    assert topology.nodes == ("anna", BERT, CLEO)
    assert topology.arrays.capacity_sat.tolist() == [500_000, 300_000, 500_000]
    assert topology.arrays.disabled.tolist() == [0, 1, 0, 1, 0, 0]
    policy = topology.policies[0].initiator
    assert (policy.fee_base_msat, policy.fee_rate_ppm, policy.time_lock_delta) == (7, 8, 34)
    assert (policy.min_htlc_msat, policy.max_htlc_msat) == (1, 400_000_000)
    assert topology.channels[1].chan_id == 700_001 << 40 | 2 << 16 | 1


@pytest.mark.parametrize("how", ["files", "folder", "one after the other", "tables"])
def test_a_nodes_own_channels_set_their_balances(tmp_path, how):
    paths = [write_json(tmp_path / "graph.json", GRAPH), write_json(tmp_path / "own.json", OWN)]
    sources = {"files": {"files": paths}, "folder": tmp_path, "tables": {"files": [GRAPH, OWN]}}
    if how == "one after the other":
        sources[how] = tmp_path / "both"
        sources[how].write_text(f"{TEXT}\n{json.dumps(OWN)}\n")
    topology = load_topology(sources[how])
    # bert opened the first channel; the third, which the node knows by another id, is the only one with cleo.
    assert [channel.initiator for channel in topology.channels] == ["bert", "bert", "anna"]
    assert topology.given_initiator_msat.tolist() == [396_530_000, -1, 396_530_000]
    assert topology.start_balances_msat()[[0, 2], 1].tolist() == [100_000_000, 300_000_000]


def test_directed_graphs_of_networkx_have_a_direction_on_each_edge(tmp_path):
    graph = nx.MultiDiGraph()
    for number, (source, destination) in enumerate([(ANNA, BERT), (BERT, ANNA), (ANNA, BERT)]):
        graph.add_edge(
            source,
            destination,
            scid="700000x1x0" if number < 2 else "700001x1x0",
            capacity=500_000,
            fee_base_msat=number,
            fee_proportional_millionths=10,
            cltv_expiry_delta="40",
            balance=100_000 + 200_000 * number,
        )
    graph.nodes[ANNA]["alias"] = "anna"
    nx.write_graphml(graph, tmp_path / "graph.graphml")
    for topology in (quietly(graph), quietly(tmp_path / "graph.graphml")):
        assert topology.nodes == ("anna", BERT)
        assert topology.arrays.disabled.tolist() == [0, 0, 0, 1]
        assert [c.initiator for c in topology.channels] == [BERT, "anna"]
        assert topology.channels[0].policies.initiator.fee_base_msat == 1
        assert topology.start_balances_msat()[0, 1] == 100_000_000
        assert topology.channels[1].chan_id == 700_001 << 40 | 1 << 16


def test_undirected_graphs_of_networkx_have_a_channel_on_each_edge():
    graph = nx.Graph()
    for edge in GRAPH["edges"]:
        graph.add_edge(edge["node2_pub"], edge["node1_pub"], **edge)
    assert {c.policies for c in from_graph(graph).channels} == {c.policies for c in load_topology(GRAPH).channels}
    plain = quietly(nx.cycle_graph(5))
    assert (plain.nodes, set(plain.arrays.capacity_sat.tolist())) == (tuple("01234"), {1_000_000})
    assert quietly(nx.node_link_data(graph, edges="links")).arrays.fee_rate_ppm.tolist() == [250, 7] * 3


def test_large_channels_need_no_switch(tmp_path):
    (tmp_path / "net.toml").write_text(
        'nodes = ["a", "b"]\n[[channels]]\ninitiator = "a"\npeer = "b"\ncapacity_sat = 50_000_000\n'
    )
    assert load_topology(tmp_path / "net.toml").wumbo
    (tmp_path / "net.toml").write_text(f"wumbo = false\n{(tmp_path / 'net.toml').read_text()}")
    with pytest.raises(TopologyError, match="set wumbo = true"):
        load_topology(tmp_path / "net.toml")


def test_keys_of_sim_ln_that_are_not_played_are_told(tmp_path):
    data = {**simln(("anna", "bert", 500_000_000)), "exclude": [], "activity": [{"source": "a"}]}
    with pytest.warns(UserWarning, match="not played: activity, exclude, max_htlc_count, max_in_flight_msat$"):
        load_topology(write_json(tmp_path / "sim.json", data))


def test_a_warning_is_one_text_without_lines_of_code():
    graph = describegraph(GRAPH["edges"][0], describegraph_edge("anna", "cleo", "1"))
    with pytest.warns(UserWarning, match="dropped 1 of 2 channels") as caught:
        load_topology(graph)
    assert len(caught) == 1
    shown = warnings.formatwarning(caught[0].message, caught[0].category, caught[0].filename, caught[0].lineno)
    assert shown.count("\n") == 1


def test_a_network_in_parts_says_so_in_the_same_warning_and_not_after_a_cut():
    graph = describegraph(*(describegraph_edge("anna", "bert", "500000") for _ in range(2)))
    other = "02" + "e" * 64
    graph["edges"].append({**describegraph_edge("cleo", "cleo", "500000"), "node2_pub": other})
    with pytest.warns(UserWarning, match=r'^the topology: in several parts \(cut = "component" keeps the largest\)$'):
        load_topology(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_topology(graph, ["component"]).nodes == ("anna", "bert")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "own.json",
            json.dumps(OWN),
            "looks like lncli listchannels of one node: .* give its lncli describegraph",
        ),
        ("nodes.json", json.dumps(LISTNODES), "looks like Core Lightning's listnodes: it has no channels, give"),
        ("peers.json", '{"channels": [{"peer_id": "a"}]}', "looks like Core Lightning's listpeerchannels of one node"),
        (
            "fwd.json",
            '{"forwarding_events": []}',
            "looks like lncli fwdinghistory, which is no network: readable are",
        ),
        ("two.json", TEXT + TEXT, "looks like LND's describegraph: give one network"),
        ("other.json", '{"foo": 1}', "the keys foo are no network's: readable are LND's describegraph"),
        ("page", "<!DOCTYPE html><html></html>", "page looks like a web page: readable are"),
        ("graph.pickle", b"\x80\x04\x95\x00", "graph.pickle looks like a binary file: readable are"),
        ("nodes.csv", "id\n1\n", "looks like one of CLoTH's CSV files: give the folder"),
        ("broken.gz", gzip.compress(TEXT.encode(), mtime=0)[:99], "cannot be unpacked"),
        ("cut.gz", gzip.compress(b"", mtime=0), "cannot be unpacked: it holds nothing, or its end is missing"),
        ("error.json", "[lncli] rpc error: code = Unknown\n", r"looks like text, and is no TOML \(.*: readable are"),
        ("transcript", "$ lncli describegraph\n" + TEXT, "looks like text, and is no TOML"),
        ("null.json", "null", "looks like text, and is no TOML"),
        ("empty", " \n", "holds nothing: readable are"),
        ("deep.json", '{"nodes": ' + "[" * 10**6, "nested too deeply"),
        ("deep.toml", "a = " + "[" * 10**5, "nested too deeply"),
        ("list.json", "[" * 10**6, "nested too deeply"),
        ("short.json", TEXT[:300], "line 1 column"),
        ("graph.graphml", "<graphml><x", "malformed GraphML"),
    ],
)
def test_what_cannot_be_read_is_recognised_and_named(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(TopologyError, match=f"{name}.*{message}"):
        load_topology(tmp_path / name)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    write_cloth(tmp_path)
    with pytest.raises(TopologyError, match="CLoTH's CSV files stand alone"):
        load_topology({"files": [GRAPH, tmp_path]})
    with pytest.raises(TopologyError, match="a table with nodes and channels does not go together with LND's"):
        load_topology({"files": [GRAPH, {"nodes": ["a"], "channels": []}]})
    with pytest.raises(TopologyError, match="a table with nothing but files"):
        load_topology({"files": "graph.json"})


LOAD = r"""
import json, re, sys, time
from pathlib import Path
from lnsim_gym.network.load import load_topology

def least_of_three(run):
    took = []
    for _ in range(3):
        begin = time.process_time()
        run()
        took.append(time.process_time() - begin)
    return min(took)

channels = len(load_topology(sys.argv[1]).channels)
# Not getrusage's ru_maxrss, which a process takes over from the one that started it.
peak_kib = int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])
loading = least_of_three(lambda: load_topology(sys.argv[1]))
print(channels, loading / least_of_three(lambda: json.loads(Path(sys.argv[1]).read_bytes())), peak_kib)
"""


@pytest.mark.slow
def test_eighty_thousand_channels_load_within_a_few_times_what_json_takes(tmp_path):
    nodes = [{"pub_key": f"02{index:064x}", "alias": f"node {index} \U0001f525"} for index in range(20_000)]
    key = [node["pub_key"] for node in nodes]
    edge = describegraph_edge("anna", "bert", "5000000")
    pairs = ((index % 20_000, (7 * index + 1 + index // 20_000) % 20_000) for index in range(80_000))
    edges = [{**edge, "node1_pub": key[one], "node2_pub": key[other]} for one, other in pairs]
    path = write_json(tmp_path / "graph.json", {"nodes": nodes, "edges": edges})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, path], check=True, capture_output=True, text=True
    )
    channels, times_as_long_as_json, peak_kib = map(float, done.stdout.split())
    assert channels > 79_000
    assert times_as_long_as_json < 5
    assert peak_kib < 700 * 1024
