"""Records of large networks hold what changed, and say as much as those of small ones."""

import csv
import json

import gymnasium as gym
import numpy as np
import pyarrow.parquet
import pytest

from lnsim_gym.backends.simulator.backend import SimulatorBackend
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.records import csv as csv_records
from lnsim_gym.records import parquet as parquet_records
from lnsim_gym.records import trace as traces
from lnsim_gym.records.csv import CsvRecorder
from lnsim_gym.records.parquet import ParquetRecorder
from lnsim_gym.records.replay import replay
from lnsim_gym.records.trace import TraceWriter, read_trace

TOPOLOGY = {"generator": "scale_free", "nodes": 12, "channels": 25, "seed": 4, "initiator_share": [0.2, 0.8]}


class Balances:
    """A recorder that keeps the balances."""

    def __init__(self):
        self.after_msat = []

    def episode_started(self, event):
        self.after_msat.append(event.start_balances_msat)

    def stepped(self, event):
        self.after_msat.append(event.balances_after_msat)

    def episode_ended(self, event):
        pass

    def close(self):
        pass


def play(recorders, steps=8, **settings):
    env = gym.make("LightningNet-v0", backend="simulator", topology=TOPOLOGY, payments_per_step=3, **settings)
    with RecordEpisodes(env, recorders) as wrapped:
        wrapped.action_space.seed(1)
        wrapped.reset(seed=3)
        for _ in range(steps):
            wrapped.step(wrapped.action_space.sample())
    return env.unwrapped


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"operation": "circular", "circular_routes": "found", "action": "dict", "rebalance_fee_limit_ppm": 500_000},
    ],
)
@pytest.mark.slow
def test_a_trace_of_changes_is_done_again_without_a_difference(tmp_path, monkeypatch, settings):
    monkeypatch.setattr(traces, "MANY_CHANNELS", 10)
    env = gym.make("LightningNet-v0", backend="simulator", topology=TOPOLOGY)
    network = env.unwrapped
    writer = TraceWriter(tmp_path / "t", network.topology, network.config.payment, backend="simulator")
    kept = Balances()
    play([writer, kept], **settings)
    trace = read_trace(tmp_path / "t")
    steps = trace.episodes[0].steps
    assert all(not step.balances_after_msat for step in steps)
    assert any(step.changed_after_rebalance_msat for step in steps)
    after_msat = kept.after_msat[0]
    for step, expected_msat in zip(steps, kept.after_msat[1:], strict=True):
        _, after_msat = step.balances(after_msat)
        np.testing.assert_array_equal(after_msat, expected_msat)
    assert replay(trace, SimulatorBackend(trace.topology, trace.header.payment)) == []


def test_parquet_balances_of_a_large_network_are_those_that_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_records, "MANY_CHANNELS", 10)
    kept = Balances()
    network = gym.make("LightningNet-v0", backend="simulator", topology=TOPOLOGY).unwrapped
    recorder = ParquetRecorder(tmp_path, network.topology)
    play([recorder, kept])
    rows = pyarrow.parquet.read_table(next(recorder.path.glob("balances-*"))).to_pylist()
    assert len(rows) < 25 * 9
    balances_msat = np.zeros((25, 2), np.int64)
    for step, expected_msat in enumerate(kept.after_msat, start=-1):
        for row in (row for row in rows if row["step"] == step):
            balances_msat[row["channel"]] = row["initiator_balance_msat"], row["peer_balance_msat"]
        np.testing.assert_array_equal(balances_msat, expected_msat)


def test_csv_shows_of_a_node_with_very_many_channels_those_that_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "MANY_CHANNELS", 2)
    network = gym.make("LightningNet-v0", backend="simulator", topology=TOPOLOGY).unwrapped
    recorder = CsvRecorder(tmp_path, network.topology)
    play([recorder])
    with recorder.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    degrees = np.bincount(network.topology.arrays.source)
    for row in rows:
        for node in {row["sender"], row["receiver"]}:
            shown = json.loads(row["channel_before"])[node]
            degree = degrees[network.topology.node_index[node]]
            assert len(shown) == degree if degree <= 2 else len(shown) < degree
            assert len(shown) > 0 or row["success"] == "False" or degree > 2
