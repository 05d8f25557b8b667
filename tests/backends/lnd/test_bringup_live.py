"""Bringing networks up: any topology, once or twice, beside others, or not at all and with a reason."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from lnsim_gym.backends.lnd.network import bringup
from lnsim_gym.backends.lnd.network.bringup import bring_up
from lnsim_gym.backends.lnd.nodes.folders import find_record, records
from lnsim_gym.backends.lnd.nodes.launchers import daemons
from lnsim_gym.backends.lnd.nodes.launchers.choose import connect_launcher
from lnsim_gym.backends.lnd.nodes.launchers.process import ProcessLauncher
from lnsim_gym.backends.lnd.rpc.thread import run
from lnsim_gym.backends.lnd.settings import LndSettings
from lnsim_gym.errors import BackendError, BringUpError, ConfigError, LedgerMismatch, MissingDependency
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.payments import FailureReason, RebalanceReason
from tests.backends.lnd.live import batch_of, half_and_half

pytestmark = pytest.mark.lnd

ODD_NAMES = ("../../etc", "--help", "Zoë Ünïcode 🚀", "a b; rm -rf $HOME", "[/x] $\\frac$", "x" * 80)


def unseen_topology() -> Topology:
    """Twelve nodes: nine in one component, two on an island, one alone; odd names, sizes, balances and policies."""
    names = (*ODD_NAMES, *(f"n{index}" for index in range(6)))
    pairs = [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 0),
        (5, 0),
        (5, 2),
        (6, 5),
        (7, 6),
        (8, 7),
        (8, 0),
        (1, 6),
        (3, 8),
        (9, 10),
    ]
    own = ChannelPolicies(
        initiator=Policy(fee_base_msat=0, fee_rate_ppm=2500, time_lock_delta=40, min_htlc_msat=5000),
        peer=Policy(fee_base_msat=7, fee_rate_ppm=0, max_htlc_msat=90_000_000),
    )
    channels = [
        Channel(
            initiator=names[a],
            peer=names[b],
            capacity_sat=[200_000, 1_000_000, 16_777_215, 20_000_000][index % 4],
            initiator_balance_sat=None if index % 4 > 1 else 101_234,
            policies=own if index == 1 else None,
        )
        for index, (a, b) in enumerate(pairs)
    ]
    return Topology(nodes=names, channels=tuple(channels), wumbo=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the topology is disconnected")
def test_any_topology_comes_up_with_its_balances_and_policies_known_to_every_node(make_backend, lncli, reported_sat):
    topology = unseen_topology()
    backend = make_backend(topology, idle_timeout_s=4.0)
    backend.open()
    assert (reported_sat(backend) == topology.start_balances_msat() // 1000).all()
    ends = backend.endpoints()
    graphs = [lncli(ends[name], "describegraph")["edges"] for name in topology.nodes]
    assert [len(graph) for graph in graphs] == [13] * 9 + [1, 1, 0]
    for graph in graphs:
        assert fees_in(graph) <= wanted_fees(topology, ends)
        assert len(fees_in(graph)) == 2 * len(graph)
    outcomes = backend.pay(batch_of((4, 7, 2_000_000), (11, 0, 2_000_000), (9, 0, 2_000_000), (9, 10, 2_000_000)))
    reasons = [FailureReason.NONE, FailureReason.INSUFFICIENT_BALANCE, FailureReason.NO_ROUTE, FailureReason.NONE]
    assert outcomes.failure_reason.tolist() == reasons
    assert (reported_sat(backend) == backend.balances_msat() // 1000).all()
    assert backend.reset(half_and_half(topology)).rung == "payments"


def fees_in(graph) -> set[tuple]:
    """What a graph says of every direction: from, to, base, rate, lock, smallest and largest HTLC."""
    found = set()
    for edge in graph:
        pubs = edge["node1_pub"], edge["node2_pub"]
        for (source, destination), key in ((pubs, "node1_policy"), (pubs[::-1], "node2_policy")):
            fields = ("fee_base_msat", "fee_rate_milli_msat", "time_lock_delta", "min_htlc", "max_htlc_msat")
            found.add((source, destination, *(int(edge[key][field]) for field in fields)))
    return found


def wanted_fees(topology, ends) -> set[tuple]:
    arrays = topology.arrays
    keys = [ends[name].pubkey for name in topology.nodes]
    columns = (
        arrays.fee_base_msat,
        arrays.fee_rate_ppm,
        arrays.time_lock_delta,
        arrays.min_htlc_msat,
        arrays.max_htlc_msat,
    )
    return {
        (keys[arrays.source[d]], keys[arrays.destination[d]], *(int(column[d]) for column in columns))
        for d in range(len(arrays.source))
    }


def test_the_first_payments_after_bring_up_settle_between_all_nodes(make_backend, lnd_binaries):
    names = ("a", "b", "c")
    pairs = ("ab", "bc", "ca")
    triangle = Topology(
        nodes=names,
        channels=tuple(
            Channel(initiator=a, peer=b, capacity_sat=500_000, initiator_balance_sat=250_000) for a, b in pairs
        ),
    )
    backend = make_backend(triangle)
    backend.open()
    everyone = [(a, b, 1_000_000) for a in range(3) for b in range(3) if a != b]
    assert backend.pay(batch_of(*everyone)).succeeded.all()


class LaterLauncher(ProcessLauncher):
    """Hides the credentials of a node from the first pass of a bring-up, as if that node hung."""

    starts = 0
    first_pids = ()

    def start_nodes(self):
        super().start_nodes()
        self.starts += 1
        self.first_pids = self.first_pids or tuple(self.record().details["pids"].values())

    def stop(self):
        super().stop()
        bringup._STALL_S = 60.0  # the second pass may take its time

    @property
    def endpoints(self):
        known = super().endpoints
        if self.starts > 1:
            return known
        hidden = msgspec.structs.replace(known["peer"], macaroon_path=str(self.folder / "nowhere"))
        return {**known, "peer": hidden}


def test_a_new_network_that_stalls_is_begun_again(lnd_binaries, two_nodes, monkeypatch, caplog):
    monkeypatch.setattr(bringup, "_STALL_S", 8.0)
    launcher = LaterLauncher(f"test-{os.getpid()}")
    try:
        with caplog.at_level("WARNING"):
            network = bring_up(launcher, two_nodes, LndSettings())
        assert "begun again: node 'peer': expected its credential files within 8 s" in caplog.text
        assert launcher.starts == 2
        assert launcher.first_pids
        assert not any(daemons.find(*pid) for pid in launcher.first_pids)
        assert all(both.is_active for both in run(network.ends()).values())
        run(network.close())
    finally:
        launcher.stop()


@pytest.fixture
def left_running(lnd_binaries, two_nodes):
    """A network that outlives its maker, as ``lnsim up`` leaves it."""
    name = f"test-{os.getpid()}"
    launcher = ProcessLauncher(name, detached=True)
    run(bring_up(launcher, two_nodes, LndSettings()).close())
    launcher.detach()
    yield name
    connect_launcher(find_record(name)).stop()


def test_bringing_up_a_network_that_is_up_changes_nothing(left_running, two_nodes, lncli):
    launcher = connect_launcher(find_record(left_running))
    before = dict(launcher.record().details["pids"])
    for _ in range(2):
        network = bring_up(launcher, two_nodes, LndSettings())
        ends = {client.name: client.endpoint for client in network.clients}
        assert len(lncli(ends["initiator"], "listchannels")["channels"]) == 1
        assert not lncli(ends["initiator"], "pendingchannels")["pending_open_channels"]
        run(network.close())
    assert launcher.record().details["pids"] == before


def test_a_network_with_other_channels_is_refused_by_name(left_running, two_nodes):
    launcher = connect_launcher(find_record(left_running))
    larger = Channel(initiator="initiator", peer="peer", capacity_sat=2_000_000)
    with pytest.raises(
        BringUpError, match=r"missing: initiator-peer \(2,000,000 sat\); not in the topology: initiator"
    ):
        bring_up(launcher, Topology(nodes=two_nodes.nodes, channels=(larger,)), LndSettings())


def test_a_joined_network_is_used_alone_and_outlives_the_environment(make_backend, left_running, two_nodes, lncli):
    backend = make_backend(two_nodes, network=left_running)
    backend.open()
    assert backend.rebalance((0,), 300_000_123).reason is RebalanceReason.NONE
    exact = backend.balances_msat()
    with pytest.raises(ConfigError, match="another environment uses it"):
        make_backend(two_nodes, network=left_running).open()
    ends = backend.endpoints()
    backend.close()
    assert lncli(ends["peer"], "getinfo")["num_active_channels"] == 1
    again = make_backend(two_nodes, network=left_running)
    again.open()
    assert again.balances_msat().sum() == exact.sum()
    assert abs(again.balances_msat() - exact).max() < 30_000, "only the pushes that find the fractions"
    wanted = half_and_half(two_nodes) + np.array([[1, -1]])
    assert again.reset(wanted).rung == "payments"
    assert lncli(ends["initiator"], "channelbalance")["local_balance"]["msat"] == str(wanted[0, 0])
    assert again.reset(two_nodes.start_balances_msat()).rung == "snapshot"


def test_a_joined_network_must_have_the_topology_and_the_name(make_backend, left_running, two_nodes, topology):
    with pytest.raises(ConfigError, match="has another"):
        make_backend(topology, network=left_running).open()
    with pytest.raises(ConfigError, match=f"Did you mean '{left_running}'"):
        make_backend(two_nodes, network=left_running[:-1] + "X").open()


def test_nodes_of_somebody_else_are_paid_over_but_never_stopped_or_wiped(
    make_backend, left_running, two_nodes, lncli, tmp_path
):
    nodes = [
        f'[[nodes]]\nname = "{each.name}"\nhost = "{each.host}"\nport = {each.port}\n'
        f'tls_cert = "{each.tls_cert_path}"\nmacaroon = "{each.macaroon_path}"\n'
        for each in find_record(left_running).nodes
    ]
    (tmp_path / "nodes.toml").write_text("\n".join(nodes))
    backend = make_backend(two_nodes, launcher="attach", attach_file=str(tmp_path / "nodes.toml"))
    fresh = two_nodes.start_balances_msat()
    middle = half_and_half(two_nodes)
    assert backend.reset(middle).rung == "payments"
    assert backend.rebalance((1,), 10_000_001).reason is RebalanceReason.NONE
    with pytest.raises(BackendError, match="balances that payments can reach, or nodes of our own"):
        backend.reset(fresh)
    ends = backend.endpoints()
    invoice = lncli(ends["peer"], "addinvoice", "--amt=50000")["payment_request"]
    lncli(ends["initiator"], "payinvoice", "--force", "--json", invoice)
    with pytest.raises(LedgerMismatch):
        backend.balances_msat()
    assert backend.reset(middle).rung == "payments"
    assert (backend.balances_msat() == middle).all()
    backend.close()
    assert lncli(ends["peer"], "getinfo")["num_active_channels"] == 1


def test_networks_run_side_by_side_and_listen_on_loopback_only(make_backend, two_nodes):
    one = make_backend(two_nodes)
    other = make_backend(two_nodes)
    one.open()
    other.open()
    addresses = [
        connection.laddr
        for record in records()
        if f"env-{os.getpid()}-" in record.name
        for pid, _ in record.details["pids"].values()
        for connection in psutil.Process(int(pid)).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(addresses) >= 10
    assert {address.ip for address in addresses} == {"127.0.0.1"}
    one.close()
    assert other.rebalance((0,), 20_000_000).reason is RebalanceReason.NONE


def test_credentials_are_random_owner_only_and_never_on_a_command_line(make_backend, two_nodes):
    backends = [make_backend(two_nodes) for _ in range(2)]
    for backend in backends:
        backend.open()
    found = [record for record in records() if f"env-{os.getpid()}-" in record.name and record.chain]
    secrets = {secret for record in found for secret in (record.chain.user, record.chain.password)}
    assert len(secrets) == 2 * len(found) >= 4
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if any(secret in line for secret in secrets)]
    for record in found:
        assert stat.S_IMODE(Path(record.folder).stat().st_mode) == 0o700
        for path in (Path(record.folder) / "network.json", *Path(record.folder).glob("**/*.conf")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_node_that_cannot_start_is_named_with_the_end_of_its_log(
    make_backend, two_nodes, lnd_binaries, tmp_path, monkeypatch
):
    for name in ("lncli", "btcd"):
        (tmp_path / name).symlink_to(getattr(lnd_binaries, name))
    broken = tmp_path / "lnd"
    broken.write_text("#!/bin/sh\necho 'the moon is full'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BringUpError, match=r"node '(initiator|peer)'.*process is gone(.|\n)*the moon is full"):
        make_backend(two_nodes).open()
    assert not [
        record
        for record in records()
        if f"env-{os.getpid()}-" in record.name and len(record.nodes) == 2 and record.nodes[0].name == "initiator"
    ]


def test_a_port_that_somebody_takes_first_is_replaced(make_backend, two_nodes, monkeypatch):
    choose = daemons.free_ports
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = iter([[taken.getsockname()[1]]])
        monkeypatch.setattr(daemons, "free_ports", lambda count: choose(count)[:-1] + next(first, choose(1)))
        backend = make_backend(two_nodes)
        backend.open()
    assert backend.rebalance((0,), 20_000_000).reason is RebalanceReason.NONE


def test_ports_are_free_and_none_that_outgoing_connections_get(monkeypatch):
    ports = daemons.free_ports(200)
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert len(set(ports)) == 200
    assert not [port for port in ports if first <= port <= last]
    with socket.create_server(("127.0.0.1", ports[0])):
        monkeypatch.setattr(daemons, "_PORTS", range(ports[0], ports[0] + 1))
        with pytest.raises(BringUpError, match="expected 1 free ports"):
            daemons.free_ports(1)
    assert daemons.free_ports(1) == ports[:1]


def test_missing_programs_are_named_with_the_remedy(make_backend, two_nodes, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LNSIM_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(MissingDependency, match="lnsim nodes build"):
        make_backend(two_nodes).open()


def test_other_fee_rates_are_refused_before_anything_starts(make_backend):
    channel = Channel(initiator="a", peer="b", capacity_sat=1_000_000, fee_per_kw=253)
    with pytest.raises(ConfigError, match=r"channels\[0\] \(a-b\).*pinned to fee_per_kw = 2500 sat/kw, got 253"):
        make_backend(Topology(nodes=("a", "b"), channels=(channel,)))
