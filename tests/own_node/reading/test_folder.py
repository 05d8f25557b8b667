"""A node's exports and its folder."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.errors import ConfigError
from lnsim_gym.network.load import load_topology
from lnsim_gym.own_node import book, import_node, load_node
from lnsim_gym.own_node.books.page import make_page
from lnsim_gym.own_node.books.text import table_of
from lnsim_gym.own_node.reading.attached import read_node_file
from lnsim_gym.own_node.reading.doubts import doubts
from lnsim_gym.paths import write_private
from tests.own_node.exports import (
    BERT,
    CLEO,
    DAY_NS,
    GONE,
    HISTORY,
    NOW_NS,
    REFILLS,
    channel,
    core_graph,
    forward,
    imported,
    peer_channel,
    refill,
    write,
    write_lndg,
)


@pytest.fixture
def node(tmp_path):
    return imported(tmp_path)


def test_a_folder_is_private_and_gives_back_what_was_imported(tmp_path, node):
    folder = tmp_path / "node"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    loaded = load_node(folder)
    assert book(loaded) == book(node)
    assert loaded.name == "anna"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["node"]


def test_the_network_around_is_an_environment_with_the_true_balances(tmp_path, node):
    env = gym.make("LightningNet-v0", topology=str(tmp_path / "node" / "network.json"))
    env.reset(seed=1)
    topology = env.unwrapped.topology
    mine = topology.direction("anna", "cleo")
    assert env.unwrapped.balances_msat().ravel()[mine] == 700_000_000


def test_a_node_is_imported_again_into_its_folder_and_another_is_not(tmp_path, node):
    assert imported(tmp_path).public_key == node.public_key
    other = tmp_path / "other"
    other.mkdir()
    (other / "something").write_text("of value")
    files = write(tmp_path)
    with pytest.raises(ConfigError, match="holds something else than this node"):
        import_node(files["graph"], files["channels"], [files["history"]], other, now_ns=NOW_NS)
    assert (other / "something").read_text() == "of value"


def test_newer_lncli_tells_the_short_channel_id_apart(tmp_path):
    renamed = [{**one, "chan_id": "ab" * 32, "scid": one["chan_id"]} for one in CHANNELS]
    assert book(imported(tmp_path, channels={"channels": renamed})) == book(imported(tmp_path))


def test_what_cannot_be_true_is_left_out_and_counted(tmp_path):
    odd = [
        forward(-3, CLEO, BERT, 1_000, 10),  # the clock had jumped
        forward(3, 0, BERT, 1_000, 10),
        {"chan_id_in": "what"},
        *HISTORY[-2:],
        *HISTORY[-2:],
    ]
    node = imported(tmp_path, history={"forwarding_events": odd}, channels={"channels": [*CHANNELS, CHANNELS[0]]})
    assert len(node.forwards) == 2
    assert node.left_out == {
        "channels listed twice": 1,
        "forwards of a time that has not come": 1,
        "forwards that cannot be read": 1,
        "forwards without channels or amounts": 1,
        "forwards told twice": 2,
    }


ALIAS = 16_000_000 << 40
"""Where LND's aliases begin, beyond what a signed number of 64 bits holds."""


def test_aliases_are_channels_as_others(tmp_path):
    history = [*HISTORY, forward(1, BERT, ALIAS, 1_000, 7)]
    channels = [*CHANNELS, channel("bert", ALIAS, 5_000)]
    node = imported(tmp_path, history={"forwarding_events": history}, channels={"channels": channels})
    assert {one.chan_id: one.earned_msat for one in book(load_node(tmp_path / "node")).channels}[ALIAS] == 7
    assert node.left_out == {}


def test_numbers_that_cannot_be_true_are_left_out_and_counted(tmp_path):
    forwards = [
        {**HISTORY[1], **changes}
        for changes in (
            {"chan_id_in": str(2**64)},
            {"chan_id_out": -5},
            {"amt_in_msat": str(10**30), "amt_out_msat": str(10**30)},
            {"amt_in_msat": "1"},
        )
    ]
    core = {"in_channel": "1x1x1", "out_channel": "2x1x1", "received_time": 1.0, "status": "local_failed"}
    failed = [{**core, "in_msat": "5.5msat"}, {**core, "received_time": 1e300}, {**core, "in_msat": -5}]
    refills = [
        refill(10, CLEO, BERT, 1, -5),
        refill(10, 0, BERT, 1, 5),
        refill(10, CLEO, BERT, 10**25, 5),
        refill(-3, CLEO, BERT, 1, 5),
        refill(1, CLEO, BERT, 1, 5, resolve_time_ns="-1"),
    ]
    fees = [{"tx_hash": "dd" * 32, "time_stamp": "1699999999", "total_fees": str(10**30)}]
    node = imported(
        tmp_path,
        history={"forwarding_events": [*HISTORY, *forwards], "forwards": failed},
        channels={"channels": [*CHANNELS, channel("bert", 5, -1)]},
        payments={"payments": [*REFILLS, *refills]},
        chain={"transactions": fees},
    )
    assert (len(node.forwards), len(node.failures), len(node.refills)) == (len(HISTORY), 0, len(REFILLS))
    assert node.left_out == {
        "channels whose amounts cannot be true": 1,
        "forwards without channels or amounts": 4,
        "forwards that cannot be read": 2,
        "failed forwards that cannot be read": 1,
        "refills without channels or amounts": 3,
        "refills of a time that has not come": 2,
        "transactions whose fees cannot be true": 1,
    }


def test_a_link_is_followed_and_bad_places_are_named(tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "node").symlink_to(tmp_path / "place")
    imported(tmp_path)
    imported(tmp_path)
    assert (tmp_path / "node").is_symlink()
    assert (tmp_path / "place" / "node.json").is_file()
    (tmp_path / "node").unlink()
    (tmp_path / "node").symlink_to(tmp_path / "node")
    with pytest.raises(ConfigError, match="cannot write"):
        imported(tmp_path)
    files = write(tmp_path)
    with pytest.raises(ConfigError, match="cannot write"):
        import_node(files["graph"], files["channels"], [files["history"]], tmp_path / ("a" * 300), now_ns=NOW_NS)


def test_an_interrupt_leaves_what_was_there(tmp_path, node, monkeypatch):
    replace = os.replace

    def interrupted(source, target):
        if target == tmp_path / "node" and source.parent == tmp_path:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        imported(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["node"]
    assert book(load_node(tmp_path / "node")) == book(node)


CHANNELS = [channel("bert", BERT, 100_000), channel("cleo", CLEO, 700_000)]
OTHERS = {"channels": [channel("bert", BERT, 1), channel("cleo", 650_000 << 40, 1)]}


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ({"history": '{"forwarding_events": [{"timest'}, "is no whole JSON .* cut off"),
        ({"graph": '{"nodes": [], "edges": [{"chan'}, "graph.json is no whole JSON .* cut off"),
        ({"history": {"channels": []}}, "expected the output of lncli fwdinghistory"),
        ({"history": "[]"}, "expected what lncli prints"),
        ({"history": {"forwarding_events": {"a": 1}}}, "needs a list"),
        ({"channels": {"channels": []}}, "at least one open channel"),
        ({"channels": OTHERS}, "more than one node"),
        ({"channels": {"channels": [channel("bert", 5, 1)]}}, "none of the channels"),
        ({"history": {"forwarding_events": [forward(1, 5, 6, 1_000, 1)]}}, "another's history"),
    ],
)
def test_broken_exports_get_one_clear_message_and_leave_nothing(tmp_path, documents, said):
    with pytest.raises(ConfigError, match=said):
        imported(tmp_path, **documents)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def imported_history(tmp_path, *forwards):
    return imported(tmp_path, history={"forwarding_events": list(forwards)})


def test_the_history_of_a_peer_is_refused_and_a_part_of_it_said(tmp_path):
    of_bert = [forward(days, 650_000 << 40, BERT, 1_000, 5) for days in range(1, 20)]  # bert's channel with cleo
    with pytest.raises(ConfigError, match=r"19 of 20 forwards of .*history\.json are over no channel of this node"):
        imported_history(tmp_path, *of_bert, HISTORY[1])
    node = imported_history(tmp_path, *HISTORY, of_bert[0])
    assert list(doubts(node))[1:] == ["1 of 6 forwards are over no channel of this node: are all files of one node?"]
    assert load_node(tmp_path / "node").foreign_forwards == 1


def test_forwards_of_times_before_channels_were_closed_are_no_doubt_until_they_are_most(tmp_path):
    closed = [forward(days, GONE, GONE + 1, 1_000, 5) for days in range(3, 20)]
    assert imported_history(tmp_path, *closed[:5], *HISTORY).foreign_forwards == 0
    assert imported_history(tmp_path, *closed, *HISTORY).foreign_forwards == 17
    refills = [refill(9, CLEO, GONE, 1_000, 777)]  # tells that the closed channel was its own
    node = imported(tmp_path, history={"forwarding_events": closed}, payments={"payments": refills})
    assert node.foreign_forwards == 0


def test_an_old_export_is_asked_about_and_kills_no_channel(tmp_path, node):
    assert list(doubts(node)) == ["forwards of 38 days, 2023-10-05 to 2023-11-12"]
    files = write(tmp_path)
    arguments = (files["graph"], files["channels"], [files["history"]], tmp_path / "node")
    old = import_node(*arguments, now_ns=NOW_NS + 88 * DAY_NS)
    assert any("the newest forward is 90 days old: is this an old export?" in one for one in doubts(old))
    assert {one.state for one in book(load_node(tmp_path / "node")).channels if one.is_open} == {"idle"}
    live = import_node(*arguments, now_ns=NOW_NS + 88 * DAY_NS, live=True)
    assert {one.state for one in book(live).channels if one.is_open} == {"dead"}
    assert len(list(doubts(live))) == 1


def test_an_empty_history_is_told_its_likely_cause(tmp_path):
    (said,) = doubts(imported_history(tmp_path))
    assert "`lncli fwdinghistory` without --start_time tells of one day only" in said


def test_files_that_changed_places_are_named(tmp_path):
    files = write(tmp_path)
    with pytest.raises(ConfigError, match=r"history\.json: this looks like lncli fwdinghistory"):
        import_node(files["history"], files["channels"], [files["graph"]], tmp_path / "node", now_ns=NOW_NS)
    with pytest.raises(ConfigError, match=r"graph\.json: expected the output of lncli fwdinghistory"):
        import_node(files["graph"], files["channels"], [files["graph"]], tmp_path / "node", now_ns=NOW_NS)


def test_a_folder_that_is_none_of_a_node_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no node\.json: is it a folder that `lnsim node import` made"):
        load_node(tmp_path)


def test_a_damaged_folder_says_so(tmp_path, node):
    (tmp_path / "node" / "history.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match="damaged"):
        load_node(tmp_path / "node")
    with pytest.raises(ConfigError, match="lnsim node import"):
        load_node(tmp_path)


def test_failed_forwards_come_from_lndg_and_core_lightning(tmp_path):
    files = write(tmp_path)
    rows = [
        ("2023-11-14 00:00:00.5", CLEO, BERT, 5_000, 6),
        ("2023-11-14 00:00:01", CLEO, BERT, 5_000, 2),
        ("?", 1, 2, 3, 4),
    ]
    lndg = write_lndg(tmp_path / "lndg.sqlite3", *rows)
    arguments = (files["graph"], files["channels"], [files["history"]], tmp_path / "node")
    node = import_node(*arguments, failures=lndg, now_ns=NOW_NS)
    assert node.left_out == {"failed forwards that cannot be read": 1}
    assert {one.chan_id: one.failed for one in book(node).channels} == {BERT: 1, CLEO: 0, GONE: 0}
    entry = {"in_channel": "700001x0x0", "out_channel": "700000x0x0", "in_msat": "5001msat", "out_msat": 5000}
    entry |= {"received_time": NOW_NS / 1e9 - 60, "status": "local_failed", "failcode": 4103}
    core = tmp_path / "listforwards.json"
    core.write_text(json.dumps({"forwards": [entry, {**entry, "status": "settled"}, {**entry, "status": "offered"}]}))
    node = import_node(files["graph"], files["channels"], [core], tmp_path / "node", now_ns=NOW_NS)
    assert (len(node.forwards), len(node.failures), node.failures.is_dry.tolist()) == (1, 1, [1])
    assert node.forwards.chan_in.tolist() == [CLEO]
    with pytest.raises(ConfigError, match="LNDg's database"):
        import_node(*arguments, failures=write_empty(tmp_path / "empty.sqlite3"), now_ns=NOW_NS)


def write_empty(path):
    write_lndg(path)
    path.write_bytes(path.read_bytes().replace(b"gui_failedhtlcs", b"gui_otherthings"))
    return path


def test_what_peers_call_themselves_is_data(tmp_path):
    hostile = channel("bert", BERT, 100_000, peer_alias="<script>alert(1)</script>\u202e\x1b[31m\U0001f419")
    books = book(imported(tmp_path, channels={"channels": [hostile, channel("cleo", CLEO, 700_000)]}))
    page = make_page(books)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert not any(mark in page + str(table_of(books)) for mark in "\u202e\x1b")


CORE_CHANNELS = [
    peer_channel("bert", "700000x0x0", "100000500msat"),
    peer_channel("cleo", "700001x0x0", 700_000_000, opener="remote"),
]
CORE_FORWARD = {
    "in_channel": "700001x0x0",
    "out_channel": "700000x0x0",
    "in_msat": "5001msat",
    "out_msat": 5000,
    "received_time": NOW_NS / 1e9 - 60,
    "status": "settled",
}


def imported_core(tmp_path, channels, forwards=(CORE_FORWARD,)):
    history = {"forwards": [*forwards]}
    files = write(tmp_path, graph=core_graph(), channels={"channels": channels}, history=history)
    return import_node(files["graph"], files["channels"], [files["history"]], tmp_path / "node", now_ns=NOW_NS)


def test_a_node_of_core_lightning_is_imported_by_its_own_commands(tmp_path):
    unannounced = peer_channel("cleo", "700005x1x0", 250_000_000, private=True, opener="remote", peer_connected=False)
    node = imported_core(tmp_path, [*CORE_CHANNELS, unannounced])
    bert, cleo, private = node.channels
    assert (node.name, bert.peer_alias, bert.channel_point) == ("anna", "bert", f"{'aa' * 32}:0")
    # The opener sets aside 605 sat for the commitment's fee and 660 for its anchors, as LND's balances have it.
    assert (bert.capacity, bert.local_balance, bert.remote_balance) == (1_000_000, 98_735, 899_999)
    assert (cleo.initiator, cleo.local_balance, cleo.remote_balance) == (False, 700_000, 298_735)
    assert (private.number, private.active, private.private) == (700_005 << 40 | 1 << 16, False, True)
    assert book(node).earned_msat == 1
    topology = load_topology(tmp_path / "node" / "network.json")
    mine, theirs = (topology.policy(topology.direction(*ends)) for ends in (("anna", "bert"), ("bert", "anna")))
    assert (mine.fee_base_msat, mine.fee_rate_ppm, theirs.fee_rate_ppm) == (1000, 10, 100)
    third = topology.channels[3]
    assert (third.chan_id, third.initiator, third.peer) == (private.number, "cleo", "anna")
    assert topology.start_balances_msat()[[1, 3], 1].tolist() == [700_000_000, 250_000_000]
    assert [bool(one.disabled) for one in (topology.policies[3].initiator, mine)] == [True, False]


def test_channels_of_core_lightning_that_cannot_be_true_are_left_out(tmp_path):
    odd = [
        peer_channel("bert", "700002x0x0", 1, state="CLOSINGD_COMPLETE"),
        peer_channel("bert", None, 1),
        peer_channel("bert", "9" * 5000, 1),
        peer_channel("bert", "700003x0x0", -5),
        peer_channel("bert", "700003x0x0", "5 msat"),
        peer_channel("bert", "700003x0x0", 2_000_000_000),
        peer_channel("bert", "700003x0x0", 5, total_msat="9" * 5000),
        peer_channel("bert", "700003x0x0", 5, features=5),
        CORE_CHANNELS[0],
    ]
    node = imported_core(tmp_path, [*CORE_CHANNELS, *odd])
    assert len(node.channels) == 2
    assert node.left_out == {
        "channels that are not open": 1,
        "channels without an id": 2,
        "channels whose amounts cannot be true": 4,
        "channels that cannot be read": 1,
        "channels listed twice": 1,
    }


def test_a_node_of_core_lightning_without_open_channels_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="listpeerchannels with at least one open channel"):
        imported_core(tmp_path, [peer_channel("bert", "700000x0x0", 1, state="ONCHAIN")])


def test_a_graph_that_is_cut_keeps_the_own_node(tmp_path):
    files = write(tmp_path)
    arguments = (files["graph"], files["channels"], [files["history"]], tmp_path / "node")
    with pytest.raises(ConfigError, match="keep the own node anna"):
        import_node(*arguments, cuts=["min_capacity(2000000)"], now_ns=NOW_NS)
    assert import_node(*arguments, cuts=["around(anna, 1)"], now_ns=NOW_NS).name == "anna"


def test_exports_may_come_through_pipes(tmp_path):
    files = write(tmp_path)
    pipes = {name: tmp_path / f"{name}.pipe" for name in ("graph", "channels", "history")}
    for name, pipe in pipes.items():
        os.mkfifo(pipe)
        content = files[name].read_bytes()
        threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True).start()
    node = import_node(pipes["graph"], pipes["channels"], [pipes["history"]], tmp_path / "node", now_ns=NOW_NS)
    assert len(node.forwards) == len(HISTORY)


OPERATOR_LOG = (
    "forward_fail_log (ts INTEGER, ts_ns TEXT, chan_in TEXT, chan_out TEXT, event_type TEXT, amount_msat INTEGER"
)
BREAKER = (
    "forwarding_history (resolved_time TIMESTAMP, settled BOOLEAN, incoming_channel INTEGER, outgoing_channel INTEGER"
)
AT_NS = NOW_NS - DAY_NS


@pytest.mark.parametrize(
    ("table", "rows", "taken"),
    [
        (
            f"{OPERATOR_LOG}, failure_detail TEXT)",
            [
                (0, str(AT_NS), str(CLEO), str(BERT), "FORWARD", 5_000, "INSUFFICIENT_BALANCE"),
                (AT_NS // 10**9 + 1, "", str(CLEO), str(BERT), "FORWARD", 6_000, "FEE_INSUFFICIENT"),
                (0, str(AT_NS), "0", str(BERT), "SEND", 7_000, "INSUFFICIENT_BALANCE"),
                (0, "soon", str(CLEO), str(BERT), "FORWARD", 8_000, ""),
            ],
            [[AT_NS, CLEO, BERT, 5_000, 1], [AT_NS + 10**9, CLEO, BERT, 6_000, 0]],
        ),
        (
            f"{BREAKER}, outgoing_amt_msat INTEGER)",
            [
                (AT_NS, 0, CLEO, BERT, 5_000),
                (AT_NS + 1, 1, CLEO, BERT, 6_000),
                (None, 0, CLEO, BERT, 7_000),
            ],
            [[AT_NS, CLEO, BERT, 5_000, 0]],
        ),
    ],
)
def test_failed_forwards_come_from_other_databases(tmp_path, table, rows, taken):
    files = write(tmp_path)
    path = tmp_path / "failed.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE {table}")
        database.executemany(f"INSERT INTO {table.split()[0]} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    arguments = (files["graph"], files["channels"], [files["history"]], tmp_path / "node")
    node = import_node(*arguments, failures=path, now_ns=NOW_NS)
    assert node.failures.rows().tolist() == taken
    assert node.left_out == {"failed forwards that cannot be read": 1}


def test_forwards_come_from_csv(tmp_path):
    events = [["timestamp_ns", "chan_id_in", "chan_id_out", "amt_in_msat", "amt_out_msat", "fee_msat"]]
    names = events[0][:5]
    events += [[*(one[name] for name in names), one["fee_msat"]] for one in HISTORY]
    quoted = "\n".join(",".join(f'"{cell}"' for cell in line) for line in events)
    node = imported(tmp_path, history=quoted)
    assert np.array_equal(node.forwards.rows(), imported(tmp_path).forwards.rows())
    told = "resolved_time, settled, incoming_amt_msat, outgoing_amt_msat, incoming_channel, outgoing_channel\r\n"
    lines = [(1, 5_007), (0, 5_008), ("true", 5_009)]
    told += "".join(f"{AT_NS}, {settled}, {amount}, 5000, {CLEO}, {BERT}\r\n" for settled, amount in lines)
    node = imported(tmp_path, history=f"{told}{AT_NS}, 1\n")
    assert (node.forwards.in_msat.tolist(), node.failures.amount_msat.tolist()) == ([5_007, 5_009], [5_000])
    assert (node.told[0], node.left_out) == ("failures", {"forwards that cannot be read": 1})


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ("timestamp_ns,chan_id_in\n1,2\n", "with a column chan_id_out or outgoing_channel"),
        ("add_time_ns,resolve_time_ns,chan_id_in,chan_id_out,amt_in_msat,amt_out_msat\n", "which forwards failed"),
        (f"timestamp_ns,chan_id_in,chan_id_out,amt_in_msat,amt_out_msat\n{AT_NS},5,6,9,8\n", "another's history"),
    ],
)
def test_csv_of_something_else_is_refused(tmp_path, history, said):
    with pytest.raises(ConfigError, match=said):
        imported(tmp_path, history=history)


def test_private_files_are_whole_or_not_there(tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    page.write_text("former")
    page.chmod(0o644)
    with pytest.raises(ConfigError, match="cannot write"):
        write_private(tmp_path / "none" / "page.html", b"")
    with pytest.raises(ConfigError, match="cannot write"):
        write_private(tmp_path, b"")

    def full(source, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(ConfigError, match=r"cannot write .*: No space left on device"):
            write_private(page, b"new")
    assert (page.read_text(), [one.name for one in tmp_path.iterdir()]) == ("former", ["page.html"])
    write_private(page, b"new")
    assert (page.read_text(), stat.S_IMODE(page.stat().st_mode)) == ("new", 0o600)


@pytest.mark.parametrize("content", [b'{"nodes": []}', b"\x80\x81\x00", b"SQLite format 3\x00\xff", b"", b"a,b\n1,2\n"])
def test_what_is_no_file_of_nodes_gets_one_message(tmp_path, content):
    file = tmp_path / "node.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"node\.toml"):
        read_node_file(file)
    with pytest.raises(ConfigError, match="expected a TOML file"):
        read_node_file(tmp_path)
