"""Advice is carried out on a real node one change at a time, and the first surprise ends it."""

from __future__ import annotations

import dataclasses
import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from lnsim_gym.backends.lnd.rpc.client import NodeClient
from lnsim_gym.cli import make_app
from lnsim_gym.errors import BackendLost, ConfigError
from lnsim_gym.network import ChannelPolicies, Policy
from lnsim_gym.network.load import load_topology
from lnsim_gym.own_node.advice.changes import Closing, Priced, Refill, Repricing, commands
from lnsim_gym.own_node.advice.told import Advice, Advised, Forecast
from lnsim_gym.own_node.following import applying
from lnsim_gym.own_node.following.applying import apply_advice
from lnsim_gym.own_node.following.record import RECORD, read_record
from lnsim_gym.own_node.reading import folder as folders
from lnsim_gym.own_node.reading.attached import import_attached
from lnsim_gym.own_node.reading.history import DAY_NS, Forwards
from tests.backends.lnd.live import half_and_half
from tests.waiting import wait_until

pytestmark = [pytest.mark.lnd, pytest.mark.slow]

OWN = "alice"


@dataclass
class Running:
    """A node that runs, as it was imported."""

    endpoint: object
    folder: Path
    file: Path
    node: object
    topology: object

    def priced(self, place=0):
        channel = self.node.channels[place]
        edge = next(one for one in self.topology.channels if one.chan_id == channel.number)
        peer = edge.peer if edge.initiator == self.node.name else edge.initiator
        direction = self.topology.direction(self.node.name, peer)
        return Priced(chan_id=channel.number, point=channel.channel_point, policy=self.topology.policy(direction))

    def repricing(self, ppm, place=0, **changes):
        return Repricing(peer="?", channels=(self.priced(place),), to={"fee_rate_ppm": ppm, **changes})

    def refill(self, amount_sat, limit_sat, **changes):
        leave, back = self.node.channels
        told = {
            "peer": "?",
            "peer_key": back.remote_pubkey,
            "chan_id": back.number,
            "leave_chan_id": leave.number,
            "leave_key": leave.remote_pubkey,
            "local_sat": back.local_balance,
            "leave_local_sat": leave.local_balance,
            "amount_sat": amount_sat,
            "limit_sat": limit_sat,
        }
        return Refill(**{**told, **changes})

    def advice(self, *changes, **fields):
        told = {
            "name": self.node.name,
            "public_key": self.node.public_key,
            "time_ns": self.node.imported_ns,
            "agent": "search",
            "draws": 4,
            "advised": tuple(Advised(change=one, gain=None, idle="", commands=()) for one in changes),
            "left": (),
            "together": None,
            "forecast": Forecast(begin_ns=0, days=1, left_sat=(0.0,) * 5, done_sat=(0.0,) * 5, channels=()),
        }
        return Advice(**{**told, **fields})

    def apply(self, *changes, budget_sat=100, mainnet=False, **fields):
        advice = self.advice(*changes, **fields)
        return apply_advice(self.endpoint, advice, self.folder, budget_sat=budget_sat, mainnet=mainnet)


@pytest.fixture
def running(make_backend, triangle, tmp_path):
    backend = make_backend(triangle)
    backend.reset(half_and_half(triangle))
    endpoint = backend.endpoints()[OWN]
    file = attach_file(endpoint, tmp_path)
    node = import_attached(file, tmp_path / "node")
    topology = load_topology(tmp_path / "node" / "network.json")
    return Running(endpoint, tmp_path / "node", file, node, topology)


def attach_file(endpoint, folder):
    """Write where a node is, as its operator does."""
    file = folder / "node.toml"
    file.write_text(
        f'[[nodes]]\nname = "mine"\nhost = "{endpoint.host}"\nport = {endpoint.port}\n'
        f'tls_cert = "{endpoint.tls_cert_path}"\nmacaroon = "{endpoint.macaroon_path}"\n'
    )
    return file


def test_prices_and_refills_are_made_one_after_the_other_and_booked(running, lncli):
    first, second = running.repricing(321), running.repricing(55, place=1, inbound_fee_rate_ppm=-20)
    refill = running.refill(50_000, 60)
    closing = Closing(peer="?", chan_id=first.chan_ids[0], point=first.channels[0].point, local_sat=1)
    done = running.apply(first, closing, second, refill)
    assert [(one.result, one.said) for one in done] == [("done", "")] * 3
    policies = own_policies(running, lncli)
    assert policies[first.chan_ids[0]]["fee_rate_milli_msat"] == "321"
    changed = policies[second.chan_ids[0]]
    assert (changed["fee_rate_milli_msat"], changed["inbound_fee_rate_milli_msat"]) == ("55", -20)
    assert changed["fee_base_msat"] == str(second.channels[0].policy.fee_base_msat)
    assert 0 < done[2].fee_msat <= 60_000
    leave, back = running.node.channels

    def moved_sat():
        listed = lncli(running.endpoint, "listchannels")["channels"]
        held = {int(one["scid"]): int(one["local_balance"]) for one in listed}
        return held[back.number] - back.local_balance, held[leave.number] - leave.local_balance

    wait_until(lambda: moved_sat()[0] == 50_000 and abs(1000 * (-moved_sat()[1] - 50_000) - done[2].fee_msat) <= 1000)
    assert read_record(running.folder) == done
    assert stat.S_IMODE((running.folder / RECORD).stat().st_mode) == 0o600
    again = import_attached(running.file, running.folder)
    assert again.refills.amount_msat.tolist() == [50_000_000]
    assert read_record(running.folder) == done  # an import keeps the record


def test_the_first_surprise_ends_it(running, lncli):
    moved = running.repricing(10)
    policy = msgspec.structs.replace(moved.channels[0].policy, fee_rate_ppm=777)
    moved = msgspec.structs.replace(moved, channels=(msgspec.structs.replace(moved.channels[0], policy=policy),))
    (surprise,) = running.apply(moved, running.repricing(11))
    assert (surprise.result, "found 1: nothing was set" in surprise.said) == ("surprise", True)
    assert {one["fee_rate_milli_msat"] for one in own_policies(running, lncli).values()} == {"1"}
    (surprise,) = running.apply(running.refill(50_000, 60, local_sat=900_000), running.repricing(11))
    assert "nothing was sent" in surprise.said
    assert [one.result for one in read_record(running.folder)] == ["surprise"] * 2


def test_no_more_is_spent_than_may_be(running):
    dear, cheap = running.refill(50_000, 60), running.refill(50_000, 1)
    assert [(one.result, one.fee_msat) for one in running.apply(dear, budget_sat=59)] == [("refused", 0)]
    (refused,) = running.apply(cheap)
    assert (refused.result, "no way for 1 sat" in refused.said) == ("refused", True)


def test_other_nodes_are_refused_and_readers_cannot_send(running):
    with pytest.raises(ConfigError, match="name its own file"):
        running.apply(running.repricing(5), public_key="02" + "0" * 64)
    folder = Path(running.endpoint.macaroon_path).parent
    reader = msgspec.structs.replace(running.endpoint, macaroon_path=str(folder / "readonly.macaroon"))
    running.endpoint = reader
    (surprise,) = running.apply(running.repricing(5), running.repricing(6))
    assert "check its macaroon" in surprise.said


def test_where_money_is_real_it_is_asked_for_once_more(running, monkeypatch):
    monkeypatch.setattr(applying, "_NO_MONEY", {"signet"})  # a node on mainnet is not for tests
    with pytest.raises(ConfigError, match="the node is on regtest, where money is real: say --mainnet"):
        running.apply(running.repricing(5))
    assert read_record(running.folder) == []
    assert [one.result for one in running.apply(running.repricing(5), mainnet=True)] == ["done"]


def test_a_refill_that_is_given_up_is_booked_and_settles_no_more(running, monkeypatch, lncli):
    whole = NodeClient.stream

    async def interrupted(self, *arguments):
        async for _ in whole(self, *arguments):
            raise BackendLost("the connection broke before the end was told")
        yield

    monkeypatch.setattr(NodeClient, "stream", interrupted)
    with pytest.raises(BackendLost, match="the connection broke"):
        running.apply(running.refill(50_000, 60), running.repricing(5))
    (surprise,) = read_record(running.folder)
    assert (surprise.result, "given up before its end was known: look up" in surprise.said) == ("surprise", True)
    payment_hash = surprise.said.split("look up ")[1].split()[0]
    payments = lncli(running.endpoint, "listpayments", "--include_incomplete")["payments"]
    assert payments[-1]["payment_hash"] == payment_hash
    assert {one["fee_rate_milli_msat"] for one in own_policies(running, lncli).values()} == {"1"}


def test_the_macaroon_of_the_documentation_is_enough(running, lnd_binaries, tmp_path):
    page = Path(applying.__file__).parents[2] / "docs/own_node.md"
    rights = re.search(r"lncli bakemacaroon ([\w: ]+)`", page.read_text())[1].split()
    baked = tmp_path / "baked.macaroon"
    end = running.endpoint
    credentials = [f"--tlscertpath={end.tls_cert_path}", f"--macaroonpath={end.macaroon_path}", "--network=regtest"]
    command = [str(lnd_binaries.lncli), f"--rpcserver={end.host}:{end.port}", *credentials, "bakemacaroon"]
    subprocess.run([*command, f"--save_to={baked}", *rights], check=True, capture_output=True, timeout=30)
    running.endpoint = msgspec.structs.replace(end, macaroon_path=str(baked))
    import_attached(attach_file(running.endpoint, tmp_path), running.folder)
    done = running.apply(running.repricing(5), running.refill(50_000, 60))
    assert [one.result for one in done] == ["done", "done"]


def test_the_commands_that_are_shown_do_the_same(running, lncli):
    repricing = running.repricing(432, inbound_fee_rate_ppm=-7)
    (line,) = commands(repricing)
    lncli(running.endpoint, *line.split()[1:])
    policy = own_policies(running, lncli)[repricing.chan_ids[0]]
    assert (policy["fee_rate_milli_msat"], policy["inbound_fee_rate_milli_msat"]) == ("432", -7)


def own_policies(running, lncli):
    """The policies of a node as its own lncli tells them, by short channel id."""
    return own_policies_of(running.endpoint, running.node.public_key, lncli)


def own_policies_of(endpoint, key, lncli):
    edges = lncli(endpoint, "describegraph")["edges"]
    return {
        int(edge["channel_id"]): edge["node1_policy" if edge["node1_pub"] == key else "node2_policy"]
        for edge in edges
        if key in (edge["node1_pub"], edge["node2_pub"])
    }


def test_the_command_does_what_it_advises_on_a_node_that_sells_too_cheap(make_backend, topology, lncli, tmp_path):
    """The node's own history is one of seconds: days of it over its own channels are put in its place."""
    dear = Policy(fee_rate_ppm=600)
    channels = tuple(
        msgspec.structs.replace(
            channel,
            policies=ChannelPolicies(
                initiator=Policy() if channel.initiator == OWN else dear, peer=Policy() if channel.peer == OWN else dear
            ),
        )
        for channel in topology.channels
    )
    dear_around = msgspec.structs.replace(topology, channels=channels)
    backend = make_backend(dear_around)
    backend.reset(half_and_half(dear_around))
    file = attach_file(backend.endpoints()[OWN], tmp_path)
    folder = tmp_path / "node"
    node = import_attached(file, folder)
    peers = {channel.peer_alias: channel.number for channel in node.channels}
    ends = [(peers["carol"], peers["eve"]), (peers["eve"], peers["carol"])]
    rows = [
        (node.imported_ns - place * DAY_NS // 20, *ends[place % 2], 20_001_020, 20_000_000) for place in range(20 * 30)
    ]
    past = dataclasses.replace(node, forwards=Forwards.of(rows))
    folders._write(past, load_topology(folder / "network.json"), folder)
    arguments = f"node advise {folder} --attach {file} --budget 0 --draws 6 --horizon 2d".split()

    def lnsim(*more):
        return CliRunner().invoke(make_app(), [*arguments, *more], catch_exceptions=False)

    def ppm():
        policies = own_policies_of(backend.endpoints()[OWN], node.public_key, lncli)
        return {chan_id: int(policy["fee_rate_milli_msat"]) for chan_id, policy in policies.items()}

    assert lnsim().exit_code == 0
    assert set(ppm().values()) == {1}
    done = lnsim("--apply", "--yes")
    assert done.exit_code == 0, done.output
    shown, acted, *taken = read_record(folder)
    assert shown.advice == acted.advice
    assert {one.result for one in taken} == {"done"}
    wanted = {chan_id: one.change.to["fee_rate_ppm"] for one in taken for chan_id in one.change.chan_ids}
    assert {chan_id: rate_ppm for chan_id, rate_ppm in ppm().items() if rate_ppm > 1} == wanted
    again = lnsim("--apply", "--yes")  # nothing of what was just raised, before a forward has come at the new price
    assert (again.exit_code, "0 changes that would pay" in again.output) == (0, True), again.output
    # The folder still holds the node as it was: that it is no longer so is a surprise, and nothing is done.
    (folder / "record.jsonl").unlink()
    again = lnsim("--apply", "--yes")
    assert (again.exit_code, "nothing was set; import the node again" in again.output) == (1, True), again.output
    assert read_record(folder)[-1].result == "surprise"
    # A node that has run for seconds has no history to tell anything from.
    watched = CliRunner().invoke(make_app(), f"node watch {folder} --attach {file} --rounds 1".split())
    assert (type(watched.exception), "import a longer history" in str(watched.exception)) == (ConfigError, True)
    assert len(read_record(folder)) == 2  # the import kept it
