"""Episodes of the simulator, recorded through the environment and replayed behind the backend interface."""

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.backends.simulator.backend import SimulatorBackend
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.records.events import balances_per_payment
from lnsim_gym.records.replay import replay
from lnsim_gym.records.statistics import RunningStatistics
from lnsim_gym.records.trace import TraceWriter, read_trace

GENERATED = {"generator": "scale_free", "nodes": 12, "channels": 25, "seed": 4, "initiator_share": [0.2, 0.8]}
SETTINGS = {
    "default network": {},
    "generated network": {"topology": GENERATED},
    "circular rebalances": {"operation": "circular", "topology": GENERATED, "rebalance_fee_limit_ppm": 20_000},
    "senders that remember": {"payment": {"mission_control": "per_episode"}, "topology": GENERATED},
    "several parts": {"payment": {"max_parts": 8}, "topology": GENERATED},
}


class Keeper:
    """A recorder that keeps the steps."""

    def __init__(self):
        self.steps = []

    def episode_started(self, event):
        pass

    def stepped(self, event):
        self.steps.append(event)

    def episode_ended(self, event):
        pass

    def close(self):
        pass


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS.keys())
def recorded(request, tmp_path):
    """Two episodes with random actions: the trace, the steps, the statistics and the topology."""
    env = gym.make("LightningNet-v0", backend="simulator", max_episode_steps=15, **request.param)
    network = env.unwrapped
    writer = TraceWriter(tmp_path / "t", network.topology, network.config.payment, backend="simulator")
    keeper = Keeper()
    statistics = RunningStatistics(network.topology)
    with RecordEpisodes(env, [writer, keeper, statistics]) as wrapped:
        wrapped.action_space.seed(1)
        for episode in range(2):
            wrapped.reset(seed=5 if episode == 0 else None)
            done = False
            while not done:
                *_, done, _ = wrapped.step(wrapped.action_space.sample())
    return read_trace(writer.path), keeper.steps, statistics.statistics(), network.topology


def test_what_the_environment_did_the_backend_replays(recorded):
    trace, _, _, topology = recorded
    assert [len(episode.steps) for episode in trace.episodes] == [15, 15]
    assert any(step.rebalance is not None and step.rebalance.applied_msat for e in trace.episodes for step in e.steps)
    assert replay(trace, SimulatorBackend(topology, trace.header.payment)) == []


def test_times_of_payments_are_recorded_where_senders_remember(recorded):
    trace, _, _, _ = recorded
    remember = trace.header.payment.mission_control == "per_episode"
    for episode in trace.episodes:
        times_ms = [time_ms for step in episode.steps for time_ms in step.time_ms]
        assert times_ms == (list(range(0, 15 * 20 * 10_000, 10_000)) if remember else [])


def test_balances_worked_out_from_the_routes_are_those_of_the_engine(recorded):
    _, steps, _, topology = recorded
    for step in steps:
        assert (step.balances_after_msat.sum(axis=1) == topology.owned_total_msat).all()
        *_, (_, after) = balances_per_payment(topology, step.balances_served_from_msat, step.outcomes)
        assert (after == step.balances_after_msat).all()


def test_balances_are_worked_out_with_the_fees_of_each_episode():
    keeper = Keeper()
    with RecordEpisodes(gym.make("LightningNetRandom-v0", max_episode_steps=10), [keeper]) as wrapped:
        for episode in range(4):
            wrapped.reset(seed=5 if episode == 0 else None)
            for _ in range(10):
                wrapped.step(wrapped.action_space.sample())
    assert len({id(step.topology) for step in keeper.steps}) > 1
    for step in keeper.steps:
        *_, (_, after) = balances_per_payment(step.topology, step.balances_served_from_msat, step.outcomes)
        assert (after == step.balances_after_msat).all()


def test_a_node_gains_what_it_received_and_the_fees_it_earned(recorded):
    _, steps, statistics, topology = recorded
    ends = topology.arrays.source.reshape(-1, 2)
    change = np.zeros(len(topology.nodes), np.int64)
    for step in steps:
        np.add.at(change, ends, step.balances_after_msat - step.balances_served_from_msat)
    nodes = statistics.nodes.values()
    earned = change - np.array([node.net_flow_msat - node.fees_paid_msat for node in nodes])
    assert (earned >= 0).all()
    assert earned.sum() == statistics.fees_msat


def test_payments_in_several_parts_occur_and_are_recorded_with_all_of_them(recorded):
    trace, _, _, _ = recorded
    payments = [payment for episode in trace.episodes for step in episode.steps for payment in step.payments]
    for payment in payments:
        assert sum(part.amount_msat for part in payment.parts) == (payment.amount_msat if payment.succeeded else 0)
    assert (max(len(payment.parts) for payment in payments) > 1) == (trace.header.payment.max_parts > 1)
