"""What is published is true, complete, in every reader's form, and costs the episode nothing it could notice."""

from __future__ import annotations

import collections
import itertools
from datetime import UTC, datetime

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.bridge import StreamEpisodes
from lnsim_gym.bridge.schema import make_schema
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.liquidity.actions import ExactRebalance
from tests.bridge.clients import SCHEMA, Client, LensReader, PlatformReader, original_reader, streamed


@pytest.fixture(scope="module")
def recorded():
    """An environment's doings of some steps, as a client and as the environment itself saw them."""
    env = streamed()
    with Client(env) as client:
        client.until("connection_status")
        env.reset(seed=3)
        steps = [start := env.unwrapped.balances_msat()]
        outcomes = []
        infos = []
        for action in (1, 0, ExactRebalance(4, 1_234_000), 17, 30):
            infos.append(env.step(action)[4])
            outcomes.append((env.unwrapped.last_batch(), env.unwrapped.last_outcomes()))
            steps.append(env.unwrapped.balances_msat())
        env.reset()
        messages = list(client.caught_up())
    yield env, messages, steps, outcomes, infos
    assert start is steps[0]
    env.close()


def test_the_schema_file_is_what_the_messages_say():
    assert make_schema() == SCHEMA.schema


def test_everything_sent_fits_the_schema(recorded):
    for message in recorded[1]:
        SCHEMA.validate(message)


def test_a_payment_is_one_transaction(recorded):
    _, messages, _, outcomes, _ = recorded
    sent = [message["data"] for message in messages if message["type"] == "transaction"]
    assert len(sent) == 5 * 20
    assert len({(data["episode"], data["step"], index % 20) for index, data in enumerate(sent)}) == 100
    made = [
        (amount // 1000, bool(ok), int(fee), int(hops))
        for batch, out in outcomes
        for amount, ok, fee, hops in zip(batch.amount_msat, out.succeeded, out.fee_msat, out.hops, strict=True)
    ]
    assert [(data["amount"], data["success"], data["fee_msat"], data["hops"]) for data in sent] == made
    assert {data["success"] for data in sent} == {True, False}
    assert all(bool(data["failure_reason"]) != data["success"] for data in sent)


def test_each_changed_channel_end_is_told_once_a_step_and_unchanged_ones_are_not(recorded):
    env, messages, balances_msat, _, _ = recorded
    names = env.bridge.names
    step = -1
    told = collections.defaultdict(list)
    for message in messages:
        if message["type"] == "channel_update":
            told[step + 1].append(message)
        elif message["type"] == "reset":
            step = 0 if step < 0 else 99
        elif message["type"] == "step":
            step += 1
    assert len(told[0]) == 14
    for number, (before, after) in enumerate(itertools.pairwise(balances_msat)):
        changed = np.flatnonzero((before // 1000 != after // 1000).ravel())
        assert [m["channel_id"] for m in told[number + 1]] == [names.ends[end].channel_id for end in changed]
        flat = (after // 1000).ravel()
        assert [m["local_balance"] for m in told[number + 1]] == flat[changed].tolist()
        assert [m["remote_balance"] for m in told[number + 1]] == flat[changed ^ 1].tolist()


def test_balances_of_transactions_add_up_to_the_balances_after_the_step(recorded):
    _, messages, balances_msat, _, _ = recorded
    channels = {}
    number = 0
    for message in messages:
        if message["type"] in ("transaction", "channel_update"):
            for node, ends in message["channels"].items():
                channels |= {(node, end["remote_alias"]): end["local_balance"] for end in ends}
        elif message["type"] == "step":
            number += 1
            assert sorted(channels.values()) == sorted((balances_msat[number] // 1000).ravel().tolist())


def test_transactions_add_up_where_fees_vary_from_episode_to_episode():
    env = streamed(env_id="LightningNetRandom-v0")
    compared = 0
    with Client(env) as client:
        for seed in range(5):
            env.reset(seed=seed)
            for _ in range(10):
                env.step(env.action_space.sample())
                after = env.unwrapped.balances_msat() // 1000
                messages = itertools.takewhile(lambda m: m["type"] != "step", iter(client.receive, None))
                last = [m for m in messages if m["type"] == "transaction"][-1]
                channel_of = {end.channel_id: index for index, end in enumerate(env.bridge.names.ends)}
                for end in itertools.chain(*last["channels"].values()):
                    assert end["local_balance"] == after.ravel()[channel_of[end["channel_id"]]]
                    compared += 1
    assert compared > 100
    env.close()


def test_numbers_are_numbers_and_timestamps_of_a_channel_strictly_increase(recorded):
    last: dict[str, datetime] = {}
    sequence = [message["seq"] for message in recorded[1]]
    assert sequence == sorted(sequence)
    for message in recorded[1]:
        if "channel_id" in message:
            for name in ("capacity", "local_balance", "remote_balance", "tx_count"):
                assert type(message[name]) is int
            assert message["balance_ratio"] == message["local_balance"] / message["capacity"]
            timestamp = datetime.fromisoformat(message["timestamp"])
            assert timestamp > last.get(message["channel_id"], datetime.min.replace(tzinfo=UTC))
            last[message["channel_id"]] = timestamp
        for ends in message.get("channels", {}).values():
            assert all(type(end[name]) is int for end in ends for name in ("capacity", "local_balance"))


def test_rolling_fields_are_counted_and_not_constants(recorded):
    counted = collections.defaultdict(list)
    for message in recorded[1]:
        if message["type"] == "transaction":
            counted[message["channel_id"]].append((message["data"]["success"], message["data"]["amount"]))
            done = counted[message["channel_id"]]
            assert message["tx_count"] == len(done)
            assert message["success_rate"] == pytest.approx(np.mean([ok for ok, _ in done]))
            assert message["avg_amount"] == pytest.approx(np.mean([amount for _, amount in done]))


def test_step_messages_carry_what_step_returned_and_an_exact_rebalance(recorded):
    _, messages, _, _, infos = recorded
    steps = [message["data"] for message in messages if message["type"] == "step"]
    assert [step["step"] for step in steps] == [0, 1, 2, 3, 4]
    assert [step["info"]["succeeded"] for step in steps] == [info["succeeded"] for info in infos]
    assert steps[2]["action"] == {"row": 4, "amount_msat": 1_234_000}
    assert steps[2]["rebalance"]["route"] == ["lnd-carol", "lnd-dave"]
    assert steps[2]["rebalance"]["amount"] == 1_234
    assert steps[1]["rebalance"] == {
        "status": "none",
        "route": [],
        "amount": 0,
        "applied": 0,
        "fee_msat": 0,
        "why": "",
    }
    end = next(message["data"] for message in messages if message["type"] == "episode_end")
    assert (end["steps"], end["payments"]) == (5, 100)
    assert end["succeeded"] == sum(info["succeeded"] for info in infos)


@pytest.mark.parametrize("reader", [LensReader, PlatformReader])
def test_readers_of_lightning_lens_understand_every_message(recorded, reader):
    lens = reader()
    for message in recorded[1]:
        lens.process_message(message)
    assert len(lens.buffer) >= 100
    assert all(record.get(column) is not None for record in lens.buffer for column in lens.COLUMNS)
    assert len({row["channel_id"] for row in lens.rows()}) == 14


def test_readers_of_the_original_readme_understand_every_message(recorded):
    read = [original_reader(message) for message in recorded[1]]
    assert sum(1 for fields in read if fields is not None) >= 100
    lone = next(fields for fields in read if fields is not None and isinstance(fields[0], str))
    assert lone[0].startswith("lnd-")


def test_a_late_client_is_told_the_last_hundred_transactions_even_when_nobody_listened():
    with streamed() as env:
        env.reset(seed=1)
        amounts = []
        for _ in range(7):
            env.step(0)
            amounts += (env.unwrapped.last_batch().amount_msat // 1000).tolist()
        with Client(env) as client:
            state = client.receive()
        assert state["type"] == "state_update"
        assert [payment["amount"] for payment in state["data"]["transactions"]] == amounts[-100:]
        assert state["data"]["step"] == 7
        told = sorted(end["local_balance"] for ends in state["data"]["channels"].values() for end in ends)
        assert told == sorted((env.unwrapped.balances_msat() // 1000).ravel().tolist())


def test_a_client_that_joins_in_the_middle_misses_nothing_and_hears_nothing_twice():
    with streamed(payments_per_step=3) as env:
        env.reset(seed=1)
        for total in range(2, 22, 2):
            with Client(env) as client:
                env.step(0)
                env.step(0)
                client.caught_up()
            state = client.messages[0]
            numbers = [message["seq"] for message in client.published()]
            assert numbers == list(range(state["seq"] + 1, env.bridge.seq + 1))
            steps = [message["data"]["step"] for message in client.published() if message["type"] == "step"]
            assert steps == list(range(state["data"]["step"], total))


def test_streaming_changes_nothing_about_the_episodes():
    plain = gym.make("LightningNet-v0", backend="simulator")
    with streamed() as env, Client(env) as client:
        expected, _ = plain.reset(seed=8)
        observed, _ = env.reset(seed=8)
        assert (expected == observed).all()
        for action in range(20):
            expected, reward, *_ = plain.step(action)
            observed, streamed_reward, *_ = env.step(action)
            assert (expected == observed).all()
            assert reward == streamed_reward
        client.caught_up()


def test_nothing_is_built_while_nobody_listens_or_streaming_is_paused():
    with streamed() as env:
        env.reset(seed=1)
        env.step(0)
        assert env.bridge.seq == 0
        with Client(env) as client:
            client.until("connection_status")
            env.bridge.paused = True
            env.step(0)
            assert env.bridge.seq == 0
            env.bridge.paused = False
            env.step(0)
            assert client.until("step")["data"]["step"] == 2


def test_a_client_receives_the_kinds_it_asked_for():
    with streamed() as env, Client(env) as client:
        client.until("connection_status")
        assert client.ask({"type": "subscribe", "kinds": ["step"]}, "subscribed")["data"]["kinds"] == ["step"]
        env.reset(seed=1)
        for _ in range(3):
            env.step(0)
        client.caught_up()
        assert [message["type"] for message in client.published()] == ["step"] * 3


def test_a_reset_that_is_refused_ends_no_episode():
    with streamed() as env, Client(env) as client:
        env.reset(seed=1)
        with pytest.raises(ConfigError):
            env.reset(options={"balances_msat": [[0, 0]]})
        env.step(0)
        client.until("step")
        assert "episode_end" not in {message["type"] for message in client.messages}
        env.reset()
        assert client.until("episode_end")["data"]["steps"] == 1


def test_the_wrapper_goes_into_the_spec_and_refuses_other_environments():
    with streamed(history=7) as env:
        assert env.spec.additional_wrappers[-1].kwargs == {"port": 0, "history": 7}
    with pytest.raises(ConfigError, match="over a LightningNetEnv"):
        StreamEpisodes(gym.make("CartPole-v1"))


def test_a_taken_port_is_an_error_that_names_it():
    with streamed() as env, pytest.raises(ConfigError, match=f"port {env.bridge.port}"):
        streamed(port=env.bridge.port)
