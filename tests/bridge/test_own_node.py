"""Outside models run a node of one's own: they suggest its actions in plain numbers, and are told what came of them."""

from __future__ import annotations

import collections
import threading

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.agents import make_agent
from lnsim_gym.bridge import BridgeAgent, StreamEpisodes
from lnsim_gym.bridge.controls import Controls
from lnsim_gym.bridge.pace import play_controlled
from lnsim_gym.network.public import public
from tests.bridge.clients import Client

pytestmark = pytest.mark.slow  # what the task is made of takes a minute to be compiled

TOPOLOGY = public(nodes=60, own_channels=6, own_capacity_sat=20_000_000, seed=3, own_seed=1)
SMALL = {"topology": TOPOLOGY.to_dict(), "payments_per_step": 100, "traffic": {"payments_per_day": 150}}


@pytest.fixture(scope="module", params=["box", "dict"])
def driven(request):
    """A streamed own node that does what clients suggest, and a client of it."""
    env = StreamEpisodes(gym.make("LightningOperator-v0", action=request.param, **SMALL), port=0)
    with Client(env) as client:
        agent = BridgeAgent(env.bridge.problem, env.bridge)
        client.until("connection_status")

        observation, info = env.reset(seed=1)

        def step():
            nonlocal observation, info
            observation, *_, info = env.step(agent.act_one(observation, info, np.random.default_rng(0)))
            return info

        yield env, client, step
    env.close()


def suggested(client, action, **fields):
    message = {"type": "rebalance_suggestion", "suggestion": {"action": action, "id": "mine", **fields}}
    return client.ask(message, "suggestion_ack")["data"]


def own_rates_ppm(env):
    topology, out = env.unwrapped.topology, env.unwrapped.problem.task.out
    return [topology.policy(direction).fee_rate_ppm for direction in out.tolist()]


def test_a_suggested_action_is_done_and_nothing_else(driven):
    env, client, step = driven
    before_ppm = own_rates_ppm(env)
    queued = suggested(client, {"fee_rate_ppm": [777, -1, -1, -1, -1, -1]})
    assert (queued["status"], queued["from_node"], queued["to_node"]) == ("queued", "lnd-own", "lnd-own")
    assert client.until("rebalance_suggestion")["data"]["action"] == {"fee_rate_ppm": [777, -1, -1, -1, -1, -1]}
    info = step()
    assert client.until("suggestion_ack")["data"]["status"] == "applied"
    assert info["ledger"]["fee_changes"] == 1
    assert own_rates_ppm(env) == [777, *before_ppm[1:]]


def test_what_a_suggested_rebalance_moved_and_cost_is_told_or_why_it_failed(driven):
    _, client, step = driven
    suggested(client, {"rebalance": [[0, 1, 1, 1_000_000], [2, 3, 10**6, 0]]})
    info = step()
    told = client.until("suggestion_ack")["data"]
    assert told["status"] == "applied"
    assert told["amount"] == sum(one["applied_sat"] for one in info["rebalances"])
    assert told["fee_msat"] == info["ledger"]["rebalance_fee_msat"]
    failed = [one["reason"] for one in info["rebalances"] if one["refused"]]
    assert failed
    assert all(reason in told["why"] for reason in failed)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"action": {"fee_rat_ppm": [1] * 6}}, "Did you mean 'fee_rate_ppm'"),
        ({"action": {"fee_rate_ppm": [1] * 5}}, "expected 'fee_rate_ppm' of shape (6,)"),
        ({"action": {"fee_rate_ppm": [2**80] * 6}}, "expected 'fee_rate_ppm' of shape (6,)"),
        ({"action": {"fee_rate_ppm": "1"}}, "expected 'fee_rate_ppm' of shape (6,)"),
        ({"action": None, "route": [0], "amount": 5}, "expected an action with some of"),
        ({"action": {}, "from_node": "own"}, "and nothing else"),
    ],
)
def test_an_impossible_action_is_refused_with_the_reason(driven, fields, why):
    _, client, _ = driven
    refused = suggested(client, **fields)
    assert (refused["status"], refused["id"]) == ("refused", "mine")
    assert why in refused["why"]


def test_without_a_suggestion_nothing_is_changed(driven):
    _, _, step = driven
    info = step()
    assert info["ledger"]["fee_changes"] == 0
    assert not any(one["requested_sat"] for one in info["rebalances"])


def test_a_client_that_drives_episodes_makes_steps_with_plain_numbers():
    with StreamEpisodes(gym.make("LightningOperator-v0", **SMALL), port=0) as env:
        controls = Controls("noop", ["noop"], 0.0, paused=True)
        env.bridge.take_controls(controls)
        problem = env.bridge.problem
        made = play_controlled(env, env.bridge, controls, lambda name: make_agent(name, problem), 1, 7)
        thread = threading.Thread(target=lambda: collections.deque(made, maxlen=0))
        thread.start()
        with Client(env) as client:
            while client.ask({"type": "request_network"}, "network")["data"]["step"] < 0:
                pass  # the first episode is about to begin
            refusal = client.ask({"type": "step", "action": {"fee_rate_ppm": [1]}}, "error")
            assert "expected 'fee_rate_ppm' of shape (6,)" in refusal["data"]["reason"]
            client.ask({"type": "step", "action": {"fee_rate_ppm": [701, 702, 703, 704, 705, 706]}}, "step")
        thread.join(60)
        assert own_rates_ppm(env) == [701, 702, 703, 704, 705, 706]
