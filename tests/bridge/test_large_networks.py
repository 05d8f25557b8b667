"""Large networks over the bridge: the whole state in bounded messages, at every reset, and again after a loss."""

import json

import gymnasium as gym
import numpy as np
import pytest
from websockets.sync.client import connect

from lnsim_gym.bridge import StreamEpisodes
from lnsim_gym.bridge.channels import MANY_ENDS
from lnsim_gym.bridge.whole_state import STATE_ENDS
from tests.bridge.clients import SCHEMA, Client, streamed
from tests.waiting import wait_until

LARGE = "scale_free(nodes = 300, channels = 1400, seed = 1, initiator_share = [0.2, 0.8])"
STAR = "star(nodes = 1600, initiator_share = [0.2, 0.8])"


class Follower:
    """Keeps the balances as the stream tells them, with the limits that WebSocket clients have by default."""

    def __init__(self, env):
        self.env = env
        self.local = {}
        self.largest = 0
        self.states = []

    def take(self, raw):
        message = json.loads(raw)
        self.largest = max(self.largest, len(raw))
        kind = message["type"]
        if kind == "state_update":
            SCHEMA.validate(message)
            self.states.append((message["data"]["part"], message["data"]["parts"]))
        channels = {"state_update": message.get("data"), "channel_update": message}.get(kind, {}).get("channels", {})
        for node, ends in channels.items():
            self.local.update({(node, end["remote_alias"]): end["local_balance"] for end in ends})
        return message

    def until(self, connection, kind):
        while (message := self.take(connection.recv(30)))["type"] != kind:
            pass
        return message

    def knows_all(self):
        names = self.env.bridge.names
        arrays = names.topology.arrays
        ends = zip(arrays.source.tolist(), arrays.destination.tolist(), strict=True)
        told = [self.local.get((names.nodes[node], names.nodes[peer])) for node, peer in ends]
        return told == (self.env.unwrapped.balances_msat().ravel() // 1000).tolist()


@pytest.mark.parametrize("topology", [LARGE, STAR])
def test_a_client_learns_every_balance_in_messages_of_a_bounded_size(topology):
    env = StreamEpisodes(gym.make("LightningNet-v0", backend="simulator", topology=topology), port=0)
    follower = Follower(env)
    with env, connect(f"ws://127.0.0.1:{env.bridge.port}") as connection:
        follower.until(connection, "connection_status")
        for seed in range(2):
            env.reset(seed=seed)
            follower.until(connection, "reset")
            assert follower.knows_all()
        parts = -(-len(env.bridge.names.ends) // STATE_ENDS)
        assert follower.states[-1][1] in (parts, parts + 1)
        for action in (0, 1):
            env.step(action)
            step = follower.until(connection, "step")
            assert follower.knows_all()
            assert step["data"]["info"]["payments"] == 20
        assert follower.largest < 2**20
        late = Follower(env)
        with connect(f"ws://127.0.0.1:{env.bridge.port}") as joined:
            late.until(joined, "connection_status")
            assert late.knows_all()


def test_a_node_with_very_many_channels_shows_those_that_a_message_is_about():
    env = StreamEpisodes(gym.make("LightningNet-v0", backend="simulator", topology=STAR, payments_per_step=3), port=0)
    with env, Client(env) as client:
        env.reset(seed=0)
        env.step(1)
        client.until("step")
        updates = [message for message in client.messages if message["type"] == "channel_update"]
        hub = [message for message in updates if message["node"] == "lnd-n0"]
        assert hub
        for message in hub:
            assert [end["channel_id"] for end in message["channels"]["lnd-n0"]] == [message["channel_id"]]
        assert all(
            len(ends) <= MANY_ENDS for message in client.published() for ends in message.get("channels", {}).values()
        )


def test_a_client_that_fell_behind_is_told_the_state_and_knows_every_balance_again():
    with streamed(queue_messages=100) as env:
        follower = Follower(env)
        with connect(f"ws://127.0.0.1:{env.bridge.port}", max_queue=4) as connection:
            follower.until(connection, "connection_status")
            env.reset(seed=1)
            rng = np.random.default_rng(0)
            wait_until(
                lambda: env.bridge.counts().dropped,
                meanwhile=lambda: env.step(int(rng.integers(env.action_space.n))),
            )
            assert follower.until(connection, "dropped")["data"]["messages"] > 0
            state = follower.until(connection, "state_update")
            assert state["data"]["step"] > 0
            connection.send(json.dumps({"type": "connection_test"}))
            follower.until(connection, "connection_test_response")
            env.step(0)
            follower.until(connection, "step")
            assert follower.knows_all()
