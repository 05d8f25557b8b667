"""Exports of a node ``anna`` with channels to ``bert`` and ``cleo``, as LND prints them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from lnsim_gym.own_node import import_node
from tests.network.importers.formats import KEYS, describegraph, describegraph_edge

DAY_NS = 86_400 * 10**9
NOW_NS = 1_700_000_000 * 10**9
BERT, CLEO, GONE = 700_000 << 40, 700_001 << 40, 600_000 << 40
FUNDING = {"bert": "aa" * 32, "cleo": "cc" * 32}


def channel(peer, number, local, **changes):
    """An entry of ``lncli listchannels``."""
    return {
        "active": True,
        "remote_pubkey": KEYS[peer],
        "channel_point": f"{FUNDING[peer]}:0",
        "chan_id": str(number),
        "capacity": "1000000",
        "local_balance": str(local),
        "remote_balance": str(996_530 - local),
        "initiator": peer == "bert",
        "peer_alias": peer,
        **changes,
    }


def forward(days, chan_in, chan_out, out_sat, fee_msat):
    """An entry of ``lncli fwdinghistory`` some days before the import."""
    time_ns = NOW_NS - round(days * DAY_NS)
    return {
        "timestamp": str(time_ns // 10**9),
        "timestamp_ns": str(time_ns),
        "chan_id_in": str(chan_in),
        "chan_id_out": str(chan_out),
        "amt_in_msat": str(1000 * out_sat + fee_msat),
        "amt_out_msat": str(1000 * out_sat),
        "fee_msat": str(fee_msat),
    }


def refill(days, chan_out, chan_in, amount_sat, fee_msat, **changes):
    """An entry of ``lncli listpayments`` that leads back to ``anna``."""
    hops = [
        {"chan_id": str(chan_out), "pub_key": KEYS["bert"]},
        {"chan_id": "1", "pub_key": KEYS["cleo"]},
        {"chan_id": str(chan_in), "pub_key": KEYS["anna"]},
    ]
    total = {"total_amt_msat": str(1000 * amount_sat + fee_msat), "total_fees_msat": str(fee_msat)}
    attempt = {"status": "SUCCEEDED", "route": {"hops": hops, **total}}
    attempt |= {"resolve_time_ns": str(NOW_NS - round(days * DAY_NS)), **changes}
    failed = {**attempt, "status": "FAILED"}
    return {"status": "SUCCEEDED", "htlcs": [failed, attempt]}


HISTORY = [
    forward(40, GONE, BERT, 10_000, 100),  # before the days that are booked
    forward(12, CLEO, BERT, 100_000, 20_000),  # what bert held at first
    forward(8, CLEO, BERT, 150_000, 60_000),  # 100,000 held at first, then 50,000 of the refill
    forward(3, CLEO, BERT, 50_000, 30_000),  # the refill
    forward(2, GONE, CLEO, 20_000, 1_000),
]
REFILLS = [refill(10, CLEO, BERT, 200_000, 50_000)]
TRANSACTIONS = [
    {"tx_hash": FUNDING["bert"], "time_stamp": str(NOW_NS // 10**9 - 5 * 86_400), "total_fees": "300"},
    {"tx_hash": "dd" * 32, "time_stamp": str(NOW_NS // 10**9 - 86_400), "total_fees": "40"},
    {"tx_hash": FUNDING["cleo"], "time_stamp": str(NOW_NS // 10**9 - 90 * 86_400), "total_fees": "999"},
]


def graph():
    """What ``anna`` knows of the network."""
    others = {"chan_point": f"{'ee' * 32}:0", "channel_id": str(650_000 << 40)}
    return describegraph(
        describegraph_edge("anna", "bert", "1000000", channel_id=str(BERT), chan_point=f"{FUNDING['bert']}:0"),
        describegraph_edge("cleo", "anna", "1000000", channel_id=str(CLEO), chan_point=f"{FUNDING['cleo']}:0"),
        describegraph_edge("bert", "cleo", "3000000", **others),
    )


def peer_channel(peer, number, local_msat, **changes):
    """An entry of Core Lightning's ``listpeerchannels``."""
    update = {"htlc_minimum_msat": 1, "htlc_maximum_msat": 990_000_000, "cltv_expiry_delta": 34}
    update |= {"fee_base_msat": 1000, "fee_proportional_millionths": 10}
    return {
        "peer_id": KEYS[peer],
        "peer_connected": True,
        "state": "CHANNELD_NORMAL",
        "short_channel_id": number,
        "funding_txid": FUNDING.get(peer, "ff" * 32),
        "funding_outnum": 0,
        "private": False,
        "opener": "local",
        "to_us_msat": local_msat,
        "total_msat": 1_000_000_000,
        "last_tx_fee_msat": 605_000,
        "feerate": {"perkw": 835, "perkb": 3340},
        "features": ["option_static_remotekey", "option_anchors"],
        "updates": {"local": update, "remote": {**update, "fee_proportional_millionths": 100}},
        **changes,
    }


def core_graph():
    """Core Lightning's ``listchannels`` and ``listnodes``, one after the other."""
    ends = [("anna", "bert", "700000x0x0"), ("cleo", "anna", "700001x0x0"), ("bert", "cleo", "650000x0x0")]
    channels = [
        {
            "source": KEYS[one],
            "destination": KEYS[other],
            "short_channel_id": number,
            "amount_msat": 1_000_000_000,
            "base_fee_millisatoshi": 1,
            "fee_per_millionth": 5,
            "delay": 34,
            "htlc_minimum_msat": 1,
            "htlc_maximum_msat": 900_000_000,
        }
        for here, there, number in ends
        for one, other in ((here, there), (there, here))
    ]
    nodes = [{"nodeid": KEYS[name], "alias": name} for name in ("anna", "bert", "cleo")]
    return f"{json.dumps({'channels': channels})}\n{json.dumps({'nodes': nodes})}"


def write(folder: Path, **documents) -> dict[str, Path]:
    """Write exports, those of a node that is well unless others are given."""
    whole = {
        "graph": graph(),
        "channels": {"channels": [channel("bert", BERT, 100_000), channel("cleo", CLEO, 700_000)]},
        "history": {"forwarding_events": HISTORY, "last_offset_index": len(HISTORY)},
        "payments": {"payments": REFILLS},
        "chain": {"transactions": TRANSACTIONS},
        **documents,
    }
    paths = {name: folder / f"{name}.json" for name in whole}
    for name, document in whole.items():
        paths[name].write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return paths


def write_lndg(path: Path, *rows: tuple[str, int, int, int, int]) -> Path:
    """Write what LNDg keeps of failed forwards: time, both channels, sat, and LND's detail."""
    with closing(sqlite3.connect(path)) as database, database:
        columns = "timestamp TEXT, chan_id_in TEXT, chan_id_out TEXT, amount INTEGER, failure_detail INTEGER"
        database.execute(f"CREATE TABLE gui_failedhtlcs ({columns})")
        database.executemany("INSERT INTO gui_failedhtlcs VALUES (?, ?, ?, ?, ?)", rows)
    return path


def imported(tmp_path, **documents):
    """Import the exports of a node, some of them in place of the usual ones."""
    files = write(tmp_path, **documents)
    return import_node(
        files["graph"],
        files["channels"],
        [files["history"]],
        tmp_path / "node",
        payments=[files["payments"]],
        chain=[files["chain"]],
        now_ns=NOW_NS,
    )
