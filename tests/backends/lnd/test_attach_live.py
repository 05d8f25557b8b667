"""Nodes that others run: used, and left as they were."""

from __future__ import annotations

import math

import pytest

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.backends.lnd.network import bringup
from lnsim_gym.backends.lnd.nodes.launchers.attach import AttachLauncher
from lnsim_gym.errors import BackendError, BringUpError, ConfigError
from lnsim_gym.network import Policy
from tests.backends.lnd.live import batch_of, half_and_half, policy_in_graph_of, policy_of


def describe(backend: LndBackend) -> str:
    return "\n".join(
        f'[[nodes]]\nname = "{node["name"]}"\nhost = "{node["host"]}"\nport = {node["port"]}\n'
        f'tls_cert = "{node["tls_cert_path"]}"\nmacaroon = "{node["macaroon_path"]}"\n'
        for node in backend.network_record()
    )


@pytest.mark.lnd
def test_attached_nodes_are_used_and_left_running(make_backend, two_nodes, tmp_path):
    owner = make_backend(two_nodes)
    owner.reset(half_and_half(two_nodes))
    (tmp_path / "nodes.toml").write_text(describe(owner))
    settings = LndSettings(launcher="attach", attach_file=str(tmp_path / "nodes.toml"))
    with LndBackend(two_nodes, settings=settings) as guest:
        assert guest.pay(batch_of((0, 1, 30_000_000))).succeeded.all()
        paid = guest.balances_msat()
        assert guest.reset(half_and_half(two_nodes)).rung == "payments"
        with pytest.raises(BackendError, match="docker or process launcher"):
            guest.reset(two_nodes.start_balances_msat())
    assert (paid[0] == half_and_half(two_nodes)[0] + [-30_000_000, 30_000_000]).all()
    assert owner.pay(batch_of((0, 1, 1_000_000))).succeeded.all()


@pytest.mark.lnd
def test_a_reset_restores_the_policies_of_attached_nodes(make_backend, two_nodes, tmp_path, lncli):
    owner = make_backend(two_nodes)
    owner.reset(half_and_half(two_nodes))
    (tmp_path / "nodes.toml").write_text(describe(owner))
    settings = LndSettings(launcher="attach", attach_file=str(tmp_path / "nodes.toml"))
    with LndBackend(two_nodes, settings=settings) as guest:
        guest.set_policy(1, Policy(fee_base_msat=17, fee_rate_ppm=19))
        assert policy_in_graph_of(lncli, owner, "initiator", 1)[:2] == (17, 19)
        assert guest.reset(half_and_half(two_nodes)).rung == "none"
    assert policy_in_graph_of(lncli, owner, "initiator", 1) == policy_of(two_nodes, 1)


@pytest.fixture
def files(tmp_path):
    for name in ("tls.cert", "admin.macaroon"):
        (tmp_path / name).write_text("x")
    return tmp_path / "nodes.toml"


NODE = '[[nodes]]\nname = "{name}"\nhost = "127.0.0.1"\nport = 1\ntls_cert = "tls.cert"\nmacaroon = "{macaroon}"\n'


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml"):
        AttachLauncher("theirs", tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[nodes", "TOML"),
        (NODE.format(name="a", macaroon="no.macaroon"), r"no\.macaroon"),
        (NODE.format(name="a", macaroon="admin.macaroon").replace("port", "prot"), "Did you mean 'port'"),
        (NODE.format(name="a", macaroon="admin.macaroon") * 2, "every name once"),
    ],
)
def test_a_file_with_a_fault_is_refused_by_naming_it(files, text, said):
    files.write_text(text)
    with pytest.raises(ConfigError, match=said):
        AttachLauncher("theirs", files)


def test_a_node_that_the_file_lacks_is_named(files, two_nodes):
    files.write_text(NODE.format(name="initiatr", macaroon="admin.macaroon"))
    with pytest.raises(ConfigError, match=r"lacks 'initiator'\. Did you mean 'initiatr'"):
        AttachLauncher("theirs", files).start_chain(two_nodes)


def test_nodes_that_do_not_answer_are_not_alive_and_stopping_harms_nobody(files, two_nodes):
    files.write_text("".join(NODE.format(name=name, macaroon="admin.macaroon") for name in two_nodes.nodes))
    launcher = AttachLauncher("theirs", files)
    launcher.start_chain(two_nodes)
    assert launcher.alive() == {"initiator": False, "peer": False}
    assert not launcher.managed
    assert not launcher.has_snapshot()
    with pytest.raises(BackendError, match="run by others"):
        launcher.restore()
    launcher.stop()
    assert launcher.alive() == {}


def test_a_network_of_others_that_stalls_is_not_begun_again(files, two_nodes, monkeypatch):
    passes = []

    def stall(launcher, topology, settings, stall_s):
        passes.append(stall_s)
        raise bringup._Stalled("it is not synced")

    monkeypatch.setattr(bringup, "_bring_up_once", stall)
    files.write_text("".join(NODE.format(name=name, macaroon="admin.macaroon") for name in two_nodes.nodes))
    with pytest.raises(BringUpError, match="it is not synced"):
        bringup.bring_up(AttachLauncher("theirs", files), two_nodes, LndSettings())
    assert passes == [math.inf]
