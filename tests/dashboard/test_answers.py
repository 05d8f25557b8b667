"""What the page is told: the network, what moves, controls, comparisons and records."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.agents import make_agent
from lnsim_gym.bridge.controls import Controls
from lnsim_gym.bridge.pace import play_controlled
from lnsim_gym.dashboard import Dashboard
from lnsim_gym.dashboard.recordings import open_recording
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.records.parquet import ParquetRecorder
from lnsim_gym.records.trace import TraceWriter
from tests.bridge.clients import Client, streamed

STEPS = 4


def make(agent):
    return gym.make("LightningNet-v0", backend="simulator", payments_per_step=5)


@contextmanager
def played(recordings=(), paused=True, **settings):
    """A streamed environment that a thread plays, at rest until told otherwise, with a client of it."""
    with streamed(payments_per_step=5, **settings) as env:
        problem = env.bridge.problem
        controls = Controls("noop", ["noop", "targeted"], 0.0, paused=paused)
        dashboard = Dashboard(problem.topology, ["noop", "targeted"], make, recordings)
        env.bridge.add_desk(dashboard)
        env.bridge.take_controls(controls)
        ended = threading.Event()

        def play():
            for reward, info in play_controlled(
                env, env.bridge, controls, lambda name: make_agent(name, problem), None, 7
            ):
                dashboard.note(reward, info, env.unwrapped.balances_msat())
                if ended.is_set():
                    return

        thread = threading.Thread(target=play)
        thread.start()
        try:
            with Client(env) as client:
                while client.ask({"type": "request_network"}, "network")["data"]["step"] < 0:
                    pass  # the first episode is about to begin
                client.ask(
                    {"type": "subscribe", "kinds": ["reset", "step", "activity", "controls", "episode_end"]},
                    "subscribed",
                )
                yield env, client
        finally:
            ended.set()
            controls.pause(False)
            thread.join(20)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    env = make("targeted")
    network = env.unwrapped
    trace = TraceWriter(
        folder / "trace.jsonl",
        network.topology,
        network.config.payment,
        backend="simulator",
        environment="LightningNet-v0",
        config=network.settings,
    )
    parquet = ParquetRecorder(folder, network.topology)
    with RecordEpisodes(env, [trace, parquet]) as env:
        agent = make_agent("targeted", network.problem)
        observation, info = env.reset(seed=3)
        for _ in range(STEPS):
            action = agent.act_one(observation, info, np.random.default_rng(0))
            observation, *_, info = env.step(action)
    list(open_recording(trace.path, None, simulate=True))  # compiles once what the simulation needs
    return trace.path, parquet.path


def test_a_page_that_comes_later_is_told_of_the_steps_before():
    with played() as (env, client):
        for _ in range(3):
            client.ask({"type": "step"}, "activity")
        history = client.ask({"type": "request_dashboard"}, "dashboard")["data"]["history"]
        while len(history) < 3:  # the last step is told before it is noted
            history = client.ask({"type": "request_dashboard"}, "dashboard")["data"]["history"]
        balances = env.unwrapped.balances_msat()
        dry = int((balances < 0.1 * balances.sum(axis=1, keepdims=True)).sum())
        assert [(one["episode"], one["step"], one["payments"]) for one in history] == [
            (0, step, 5) for step in range(3)
        ]
        assert history[-1]["dry"] == dry


def test_a_client_can_drive_episodes_in_lock_step():
    with played() as (_, client):
        begun = client.ask({"type": "reset", "seed": 11}, "reset")
        first = client.ask({"type": "step", "action": 0}, "step")
        exact = client.ask({"type": "step", "action": {"row": 0, "amount_msat": 5_000_000}}, "step")
        assert begun["data"]["seed"] == 11
        assert (first["data"]["step"], exact["data"]["step"]) == (0, 1)
        assert exact["data"]["rebalance"]["amount"] == 5_000
        refusal = client.ask({"type": "step", "action": "up"}, "error")
        assert "expected an element of" in refusal["data"]["reason"]


def test_a_driven_episode_is_that_of_the_environment():
    alone = make("noop")
    alone.reset(seed=11)
    with played() as (_, client):
        client.ask({"type": "reset", "seed": 11}, "reset")
        for _ in range(3):
            told = client.ask({"type": "step", "action": 0}, "step")["data"]
            observation, reward, *_ = alone.step(0)
            assert told["reward"] == reward
            np.testing.assert_allclose(told["observation"], observation, rtol=1e-6)


def test_activity_adds_up_to_the_balances_of_the_network():
    with played() as (env, client):
        client.ask({"type": "reset", "seed": 5}, "reset")
        before = client.ask({"type": "request_network"}, "network")["data"]
        balances = np.array(before["channels"]["balances_sat"])
        for _ in range(3):
            moved = client.ask({"type": "step"}, "activity")["data"]
            for channel, *held in moved["balances_sat"]:
                balances[channel] = held
            for payment in moved["payments"]:
                assert payment["success"] == bool(payment["parts"])
                for part in payment["parts"]:
                    assert part["hop_msat"][0] - part["hop_msat"][-1] >= 0
        np.testing.assert_array_equal(balances, env.unwrapped.balances_msat() // 1000)
        after = client.ask({"type": "request_network"}, "network")["data"]
        assert after["channels"]["balances_sat"] == balances.tolist()
        assert (after["step"], after["seed"]) == (3, 5)


def test_who_does_not_ask_for_activity_hears_none_and_counts_as_before():
    with played() as (env, client), Client(env) as plain:
        client.ask({"type": "step"}, "activity")
        messages = plain.caught_up()
        assert not [one for one in messages if one["type"] in ("activity", "controls")]
        numbers = [one["seq"] for one in plain.published()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "choose_agent", "agent": "nop"}, "Did you mean 'noop'"),
        ({"type": "set_speed", "steps_per_second": -1}, "steps_per_second"),
        ({"type": "reset", "seed": -1}, "seed"),
        ({"type": "open_recording", "name": "/etc/passwd"}, "no such recording"),
        ({"type": "compare", "agents": []}, "agents"),
        ({"type": "compare", "agents": ["noop"], "steps": 10**9}, "steps"),
    ],
)
def test_what_cannot_be_done_is_answered_in_one_sentence(message, said):
    with played() as (_, client):
        assert said in client.ask(message, "error")["data"]["reason"]


def test_pace_and_agent_can_be_changed_and_everyone_who_asked_hears_it():
    with played() as (_, client):
        client.send({"type": "choose_agent", "agent": "targeted"})
        assert client.until("controls")["data"]["agent"] == "targeted"
        client.send({"type": "set_speed", "steps_per_second": 3})
        assert client.until("controls")["data"]["steps_per_second"] == 3
        assert client.ask({"type": "request_controls"}, "controls")["data"]["allowed"]


def test_only_the_bridge_s_own_page_and_programs_control_episodes():
    with played() as (env, _), Client(env, origin="http://localhost:3000") as other_page:
        assert "own page" in other_page.ask({"type": "pause"}, "error")["data"]["reason"]
        assert not other_page.ask({"type": "request_controls"}, "controls")["data"]["allowed"]
        own = f"http://127.0.0.1:{env.bridge.port}"
        with Client(env, origin=own) as page:
            assert page.ask({"type": "request_controls"}, "controls")["data"]["allowed"]


def test_a_program_that_steps_its_own_environment_keeps_control():
    with streamed() as env, Client(env) as client:
        env.reset(seed=0)
        assert "a program of its own" in client.ask({"type": "pause"}, "error")["data"]["reason"]


def test_two_agents_play_the_same_episode():
    with played() as (_, client):
        client.send({"type": "compare", "agents": ["noop", "targeted"], "seed": 2, "steps": STEPS})
        panes = [client.until("recording")["data"] for _ in range(2)]
        assert [pane["pane"] for pane in panes] == [0, 1]
        assert panes[0]["network"]["channels"] == panes[1]["network"]["channels"]
        asked = [
            [(payment["sender"], payment["receiver"]) for step in pane["steps"] for payment in step["payments"]]
            for pane in panes
        ]
        assert asked[0] == asked[1]
        assert all(len(pane["steps"]) == STEPS for pane in panes)


def test_a_trace_opens_beside_its_simulation_without_a_difference(recorded):
    trace, _ = recorded
    with played([trace]) as (_, client):
        client.send({"type": "open_recording", "name": str(trace), "simulate": True})
        shown, simulated = (client.until("recording")["data"] for _ in range(2))
        assert len(shown["steps"]) == STEPS
        assert simulated["differences"] == []
        assert [step["payments"] for step in shown["steps"]] == [step["payments"] for step in simulated["steps"]]
        assert [step["balances_sat"] for step in shown["steps"]] == [
            step["balances_sat"] for step in simulated["steps"]
        ]


def test_differences_of_a_trace_are_marked(recorded, tmp_path):
    lines = recorded[0].read_text().splitlines()
    step = json.loads(lines[2])
    step["payments"][0]["fee_msat"] += 1
    changed = tmp_path / "changed.jsonl"
    changed.write_text("\n".join([*lines[:2], json.dumps(step), *lines[3:]]) + "\n")
    with played([changed]) as (_, client):
        client.send({"type": "open_recording", "name": str(changed), "simulate": True})
        client.until("recording")
        (difference,) = client.until("recording")["data"]["differences"]
        assert (difference["step"], difference["payment"], difference["field"]) == (0, 0, "fee_msat")


def test_parquet_files_show_the_same_episode_as_a_trace(recorded):
    trace, folder = recorded
    with played([trace, folder]) as (_, client):
        client.send({"type": "open_recording", "name": str(trace)})
        of_trace = client.until("recording")["data"]
        client.send({"type": "open_recording", "name": str(folder)})
        of_parquet = client.until("recording")["data"]
        names = [
            [
                [pane["network"]["nodes"][payment[end]]["alias"] for end in ("sender", "receiver")]
                + [payment["amount_msat"]]
                for step in pane["steps"]
                for payment in step["payments"]
            ]
            for pane in (of_trace, of_parquet)
        ]
        assert names[0] == names[1]
        balances = [[step["balances_sat"] for step in pane["steps"]] for pane in (of_trace, of_parquet)]
        assert balances[0] == balances[1]
        client.send({"type": "open_recording", "name": str(folder), "simulate": True})
        assert "record a trace" in client.until("error")["data"]["reason"]
