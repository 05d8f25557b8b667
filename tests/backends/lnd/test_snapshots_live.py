"""Named snapshots: a network that is kept, gone, and there again; and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import stat

import psutil
import pytest
from typer.testing import CliRunner

from lnsim_gym.backends.lnd import LndBackend, LndSettings, named, snapshots
from lnsim_gym.backends.lnd.nodes import folders
from lnsim_gym.cli import make_app
from lnsim_gym.errors import BackendError, BringUpError, ConfigError
from lnsim_gym.network import Policy
from tests.backends.lnd.live import batch_of

pytestmark = pytest.mark.lnd
NETWORK = f"snap-{os.getpid()}"
PAID_MSAT = 30_000_000


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """A state folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LNSIM_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def saved(lnd_binaries, two_nodes, home):
    """A snapshot of a network over which was paid; the network is up."""
    named.up(NETWORK, two_nodes, "process", LndSettings())
    try:
        with LndBackend(two_nodes, settings=LndSettings(network=NETWORK)) as backend:
            assert backend.pay(batch_of((0, 1, PAID_MSAT))).succeeded.all()
            backend.set_policy(1, Policy(fee_base_msat=17, fee_rate_ppm=19))
        yield snapshots.save("paid", NETWORK)
    finally:
        named.take_down(NETWORK)


@pytest.fixture
def copy(saved):
    """A snapshot of the same that may be damaged."""
    shutil.copytree(saved.folder, saved.folder.parent / "copy")
    yield saved.folder.parent / "copy"
    shutil.rmtree(saved.folder.parent / "copy", ignore_errors=True)


def test_a_snapshot_is_for_its_owner_only_and_listed(saved):
    assert stat.S_IMODE(saved.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(saved.folder.parent.stat().st_mode) == 0o700
    assert any(name.endswith("admin.macaroon") for name in saved.checksums)
    (row,) = json.loads(CliRunner().invoke(make_app(), ["snapshot", "list", "--json"]).stdout)
    assert (row["name"], row["nodes"], row["channels"]) == ("paid", 2, 1)
    assert "paid" in CliRunner().invoke(make_app(), ["snapshot", "list"]).stdout
    assert not [path for path in saved.folder.parent.iterdir() if path.name.startswith(".")]


def test_a_name_is_given_once_and_a_network_must_be_there(saved):
    with pytest.raises(ConfigError, match="which there is"):
        snapshots.save("paid", NETWORK)
    with pytest.raises(ConfigError, match="expected a snapshot name"):
        snapshots.save("../x", NETWORK)
    with pytest.raises(ConfigError, match="expected the name of a running network"):
        snapshots.save("other", "nowhere")
    with pytest.raises(ConfigError, match=r"Did you mean 'paid'\? Known: paid"):
        snapshots.up_from("paidd", "new", LndSettings())


def test_a_network_in_use_is_not_saved(saved, two_nodes):
    with LndBackend(two_nodes, settings=LndSettings(network=NETWORK)), pytest.raises(ConfigError, match="to be free"):
        snapshots.save("other", NETWORK)
    assert [one.name for one in snapshots.snapshots()] == ["paid"]


def test_a_second_network_of_the_same_keys_is_refused(saved):
    with pytest.raises(ConfigError, match=f"`lnsim down --name {NETWORK}` first"):
        snapshots.up_from("paid", "twin", LndSettings())
    assert folders.find_named("twin") is None


def test_a_snapshot_of_another_lnd_is_refused(copy):
    about = copy / "about.json"
    about.write_text(about.read_text().replace(f'"{snapshots._lnd_version()}"', '"0.18.5-beta"'))
    with pytest.raises(ConfigError, match=r"'copy' is of '0.18.5-beta' in format 1: `lnsim snapshot remove copy`"):
        snapshots.up_from("copy", "new", LndSettings())


def command_lines():
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda copy: (copy / "about.json").write_text("{}"), r"about\.json cannot be read"),
        (lambda copy: (copy / "about.json").unlink(), r"about\.json cannot be read"),
        (lambda copy: flip(copy / "state/node-1/data/graph/regtest/channel.db"), r"channel\.db is not as it was saved"),
        (lambda copy: (copy / "state/blocks.json").unlink(), r"blocks\.json is missing"),
        (lambda copy: (copy / "state/node-0/more").write_text(""), "node-0/more is not as it was saved"),
        (lambda copy: (copy / "state/node-0/link").symlink_to("/etc/hostname"), "node-0/link is not as it was saved"),
    ],
)
def test_a_damaged_snapshot_is_refused_by_naming_the_damage_and_can_be_removed(copy, damage, said):
    damage(copy)
    with pytest.raises(ConfigError, match=rf"the snapshot 'copy' to be whole, .*{said}"):
        snapshots.up_from("copy", "new", LndSettings())
    assert folders.find_named("new") is None
    assert CliRunner().invoke(make_app(), ["snapshot", "remove", "copy"]).exit_code == 0
    assert not copy.exists()


def test_what_cannot_be_written_leaves_nothing(saved, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots.paths, "write_private", full)
    with pytest.raises(ConfigError, match="No space left on device: make room there"):
        snapshots.save("other", NETWORK)
    assert [path.name for path in saved.folder.parent.iterdir()] == ["paid"]


def test_a_network_that_is_down_is_not_saved_and_comes_back_from_its_snapshot_with_all_it_had(saved, two_nodes):
    named.take_down(NETWORK, keep=True)
    with pytest.raises(BackendError, match=f"`lnsim up --name {NETWORK}`"):
        snapshots.save("other", NETWORK)
    named.take_down(NETWORK)
    with pytest.raises(BringUpError, match=r"within 0\.01 s"):
        snapshots.up_from("paid", NETWORK, LndSettings(bring_up_timeout_s=0.01))
    assert folders.find_named(NETWORK) is None
    assert not [line for line in command_lines() if f"/{NETWORK}/" in line]
    record = snapshots.up_from("paid", NETWORK, LndSettings())
    assert tuple(node.pubkey for node in record.nodes) == saved.pubkeys
    start = two_nodes.start_balances_msat()
    with LndBackend(two_nodes, settings=LndSettings(network=NETWORK)) as backend:
        assert (backend.balances_msat()[0] == start[0] + [-PAID_MSAT, PAID_MSAT]).all()
        assert backend.pay(batch_of((1, 0, 1_000_000))).succeeded.all()
        assert backend.reset(start).rung == "snapshot"
        assert backend.pay(batch_of((0, 1, 1_000_000))).succeeded.all()
    snapshots.remove("paid")
    assert snapshots.snapshots() == []
