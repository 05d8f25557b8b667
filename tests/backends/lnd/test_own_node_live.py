"""A real node imported by its readonly macaroon tells what its lncli exports, and what was paid through it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lnsim_gym.network.load import load_topology
from lnsim_gym.network.routes import forwarding_fees_msat
from lnsim_gym.own_node import book, import_node
from lnsim_gym.own_node.reading.attached import import_attached
from tests.backends.lnd.live import random_batch

pytestmark = [pytest.mark.lnd, pytest.mark.slow]

EXPORTS = {
    "graph": ("describegraph", "--include_unannounced"),
    "channels": ("listchannels",),
    "history": ("fwdinghistory", "--max_events=50000"),
    "payments": ("listpayments",),
    "chain": ("listchaintxns",),
}


def test_a_node_that_runs_is_imported_as_its_exports_are(backend, topology, lncli, tmp_path):
    ends = backend.endpoints()

    def earned_msat(name):
        return sum(int(one["fee_msat"]) for one in lncli(ends[name], *EXPORTS["history"])["forwarding_events"])

    before_msat = [earned_msat(name) for name in topology.nodes]
    outcomes = backend.pay(random_batch(topology, np.random.default_rng(8), 25, 80_000_000))
    brought_msat = forwarding_fees_msat(topology, outcomes.settled_routes())
    own = int(brought_msat.argmax())
    assert brought_msat[own] > 0
    name = topology.nodes[own]
    end = ends[name]
    around = next(route for route in loops(topology, own) if backend.rebalance(route, 3_000_000).applied_msat)
    folder = Path(end.macaroon_path).parent
    file = tmp_path / "node.toml"
    file.write_text(
        f'[[nodes]]\nname = "mine"\nhost = "{end.host}"\nport = {end.port}\n'
        f'tls_cert = "{end.tls_cert_path}"\nmacaroon = "{folder / "readonly.macaroon"}"\n'
    )
    told = import_attached(file, tmp_path / "attached")
    paths = {kind: tmp_path / f"{kind}.json" for kind in EXPORTS}
    for kind, command in EXPORTS.items():
        paths[kind].write_text(json.dumps(lncli(end, *command)))
    printed = import_node(
        paths["graph"],
        paths["channels"],
        [paths["history"]],
        tmp_path / "printed",
        payments=[paths["payments"]],
        chain=[paths["chain"]],
    )
    assert told.public_key == printed.public_key == end.pubkey
    for kind in ("forwards", "refills"):
        assert np.array_equal(getattr(told, kind).rows(), getattr(printed, kind).rows()), kind
    assert {one.number: one.local_balance for one in told.channels} == {
        one.number: one.local_balance for one in printed.channels
    }
    assert told.chain_fees == printed.chain_fees
    books = book(told, days=1)
    assert books.earned_msat == earned_msat(name) == before_msat[own] + brought_msat[own]
    assert books.refill_fee_msat >= 0
    assert told.refills.amount_msat[-1] == 3_000_000
    assert sum(one.refilled_msat for one in books.channels) >= 3_000_000
    network = load_topology(tmp_path / "attached" / "network.json")
    held = backend.balances_msat()
    for channel in network.channels:
        if name in (channel.initiator, channel.peer):
            index = next(
                place
                for place, one in enumerate(topology.channels)
                if {one.initiator, one.peer} == {channel.initiator, channel.peer}
            )
            assert abs(channel.initiator_balance_sat - held[index, 0] // 1000) <= 1  # both ends are told in whole sat
    assert len(around) >= 3


def loops(topology, own):
    """Ways around from a node, as directions."""
    arrays = topology.arrays
    for first in np.flatnonzero(arrays.source == own).tolist():
        yield from (
            (first, second, third)
            for second in np.flatnonzero(arrays.source == arrays.destination[first]).tolist()
            for third in np.flatnonzero(
                (arrays.source == arrays.destination[second]) & (arrays.destination == own)
            ).tolist()
            if len({first // 2, second // 2, third // 2}) == 3
        )
