"""The same on real LND: a client drives real nodes, and is told what they really did."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import pytest

from lnsim_gym.agents.play import play
from lnsim_gym.benchmarks.bridge import measure_live
from lnsim_gym.bridge import BridgeAgent, StreamEpisodes
from tests.bridge.clients import Client, LensReader, readme_client
from tests.waiting import wait_until

pytestmark = pytest.mark.lnd


@pytest.fixture(scope="module")
def live(live_launcher):
    env = gym.make("LightningNet-v0", backend="lnd", lnd={"launcher": live_launcher}, payments_per_step=10)
    with StreamEpisodes(env, port=0, suggestion_expiry_s=600) as streamed:
        streamed.reset(seed=2)
        yield streamed


def test_real_public_keys_hashes_and_balances_are_streamed(live):
    with Client(live) as client:
        live.reset(seed=3)
        live.step(0)
        messages = client.caught_up()
    keys = {node["name"]: node["pubkey"] for node in live.unwrapped.network_record()}
    lens = LensReader()
    for message in messages:
        lens.process_message(message)
        if "remote_pubkey" in message:
            assert message["remote_pubkey"] in keys.values()
    payments = [message["data"] for message in messages if message["type"] == "transaction"]
    assert len(payments) == 10
    assert all(len(payment["payment_hash"]) == 64 and payment["duration_ms"] > 0 for payment in payments)
    told = sorted(end["local_balance"] for ends in lens.channel_data.values() for end in ends)
    assert told == sorted((live.unwrapped.balances_msat() // 1000).ravel().tolist())


def test_suggestions_are_applied_refused_and_answered_by_lnd(live):
    agent = BridgeAgent(live.bridge.problem, live.bridge)
    with Client(live) as client:
        client.until("connection_status")
        observation, info = live.reset(seed=4)
        channel = live.bridge.names.ends[0]
        local_sat = int(live.unwrapped.balances_msat()[0, 0]) // 1000
        for amount, status in ((12_345, "applied"), (local_sat - 1, "refused")):
            suggestion = {"from_node": channel.node, "to_node": channel.remote_alias, "amount": amount}
            queued = client.ask({"type": "rebalance_suggestion", "suggestion": suggestion}, "suggestion_ack")["data"]
            assert queued["status"] == "queued"
            observation, *_, info = live.step(agent.act_one(observation, info, None))
            answer = client.until("suggestion_ack")["data"]
            assert (answer["status"], answer["amount"]) == (status, amount)
            assert info["rebalance"]["applied_sat"] == (amount if status == "applied" else 0)
        assert "INSUFFICIENT_LOCAL_BALANCE" in answer["why"]


def test_the_client_of_the_readme_drives_real_nodes(live):
    agent = BridgeAgent(live.bridge.problem, live.bridge, deadline_s=60)
    program = readme_client().replace("6789", str(live.bridge.port))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as client:
        wait_until(lambda: live.bridge.counts().clients or client.poll() is not None)
        assert client.poll() is None
        played = [info["rebalance"] for _, info in play(live, agent, 3, 5)]
        live.bridge.drain()
        client.terminate()
    assert any(rebalance["applied_sat"] for rebalance in played)


@pytest.mark.slow
def test_ten_clients_lengthen_a_step_on_real_nodes_by_at_most_a_twentieth(live_launcher):
    figures = measure_live(live_launcher, rounds=8, steps=2)
    assert figures.steps == 16
    # On a busy machine steps vary by more than that, so the promise counts as broken when the interval says so.
    assert figures.longer_low < 0.05
