"""Records of real nodes: what LND did is in the files, and the simulator replays it."""

import csv

import gymnasium as gym
import pytest

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.records.csv import CsvRecorder
from lnsim_gym.records.replay import replay
from lnsim_gym.records.trace import TraceWriter, read_trace

pytestmark = pytest.mark.lnd


def play(env, recorders, steps):
    """Play random actions, seeded, and record them."""
    with RecordEpisodes(env, recorders) as wrapped:
        wrapped.action_space.seed(3)
        wrapped.reset(seed=8)
        for _ in range(steps):
            *_, truncated, info = wrapped.step(wrapped.action_space.sample())
            assert not truncated, info["backend_error"]


@pytest.fixture(scope="module")
def live(live_launcher, tmp_path_factory):
    """A short episode on real nodes: its trace, and the rows of its CSV file."""
    folder = tmp_path_factory.mktemp("live")
    env = gym.make(
        "LightningNet-v0",
        backend="lnd",
        payments_per_step=10,
        lnd={"launcher": live_launcher},
        traffic={"median_amount_sat": 150_000.0},
    )
    network = env.unwrapped
    writer = TraceWriter(folder / "t", network.topology, network.config.payment, backend="lnd")
    table = CsvRecorder(folder, network.topology)
    play(env, [writer, table], steps=4)
    with table.path.open(newline="") as file:
        return read_trace(writer.path), list(csv.DictReader(file))


def test_a_trace_of_real_nodes_is_replayed_by_the_simulator_to_the_msat(live):
    trace, _ = live
    assert len(trace.episodes[0].steps) == 4
    assert replay(trace, SimulatorBackend(trace.topology, trace.header.payment)) == []


@pytest.mark.timeout(300)
def test_senders_that_remember_do_so_by_one_clock_in_both_worlds(live_launcher, tmp_path):
    settings = {"payment": {"mission_control": "per_episode"}, "traffic": {"median_amount_sat": 100_000.0}}
    traces = {}
    for backend, given in (("simulator", {}), ("lnd", {"lnd": {"launcher": live_launcher}})):
        env = gym.make("LightningNet-v0", backend=backend, **settings, **given)
        network = env.unwrapped
        writer = TraceWriter(tmp_path / backend, network.topology, network.config.payment, backend=backend)
        play(env, [writer], steps=8)
        traces[backend] = read_trace(writer.path)
    simulated, real = (trace.episodes[0].steps for trace in traces.values())
    assert [step.time_ms for step in real] == [step.time_ms for step in simulated]
    assert [step.balances_after_msat for step in real] == [step.balances_after_msat for step in simulated]
    assert sum(not payment.attempts for step in real for payment in step.payments) > 0
    assert replay(traces["lnd"], SimulatorBackend(env.unwrapped.topology, traces["lnd"].header.payment)) == []


def test_payments_that_failed_on_real_nodes_are_recorded_as_failed(live):
    trace, rows = live
    recorded = [row["success"] == "True" for row in rows if row["type"] == "payment"]
    assert recorded == [payment.succeeded for step in trace.episodes[0].steps for payment in step.payments]
    assert True in recorded
    assert False in recorded


def test_payments_of_real_nodes_have_hashes_routes_and_fees(live):
    settled = [row for row in live[1] if row["type"] == "payment" and row["success"] == "True"]
    assert {len(row["payment_hash"]) for row in settled} == {64}
    assert len({row["payment_hash"] for row in settled}) == len(settled)
    assert all(int(row["route_length"]) >= 1 for row in settled)
    assert all((float(row["fee"]) > 0) == (int(row["route_length"]) > 1) for row in settled)
    assert all(float(row["duration_ms"]) > 0 for row in settled)


def test_a_trace_of_the_simulator_is_replayed_by_real_nodes(live_launcher, tmp_path):
    env = gym.make(
        "LightningNet-v0", backend="simulator", payments_per_step=10, traffic={"median_amount_sat": 150_000.0}
    )
    network = env.unwrapped
    writer = TraceWriter(tmp_path / "t", network.topology, network.config.payment, backend="simulator")
    play(env, [writer], steps=3)
    trace = read_trace(writer.path)
    with LndBackend(trace.topology, trace.header.payment, LndSettings(launcher=live_launcher)) as backend:
        assert replay(trace, backend) == []
