"""Domain randomisation: every episode is on one variant, the same alone as in a vector."""

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.bridge import StreamEpisodes
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError, RecordError
from lnsim_gym.records.replay import replay
from lnsim_gym.records.trace import TraceWriter, read_trace
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.traffic.kernels import TABLE_CELLS

TWO_LINES = [
    {
        "nodes": ["a", "b", "c"],
        "channels": [
            {"initiator": left, "peer": right, "capacity_sat": 1_000_000, "initiator_balance_sat": 500_000}
            for left, right in pairs
        ],
    }
    for pairs in (("ab", "bc"), ("ac", "cb"))
]


def problem(**settings) -> Problem:
    return Problem.of(EnvironmentConfig.of(settings))


def test_variants_draw_policies_and_demand_within_their_ranges():
    many = problem(
        variants={
            "count": 200,
            "fee_base_msat": [100, 900],
            "fee_rate_ppm": [5, 7],
            "traffic": {"median_amount_sat": [10_000, 40_000], "redraw_every_steps": [10, 12]},
        }
    ).variants
    assert len(many) == 200
    bases = np.array([variant.topology.arrays.fee_base_msat for variant in many])
    assert bases.min() >= 100
    assert bases.max() <= 900
    assert all(len(set(row)) == 14 for row in bases.tolist())
    assert set(np.unique([variant.topology.arrays.fee_rate_ppm for variant in many])) == {5, 6, 7}
    medians = [variant.traffic.amount_table[TABLE_CELLS // 2] for variant in many]
    assert 10_000 <= min(medians) < 12_000
    assert 38_000 < max(medians) <= 40_000
    assert {variant.traffic.redraw_every_steps for variant in many} == {10, 11, 12}


def test_a_seed_of_the_variants_fixes_them():
    same = [problem(variants={"count": 3, "seed": seed, "fee_base_msat": [0, 999]}) for seed in (1, 1, 2)]
    bases = [[variant.topology.arrays.fee_base_msat.tolist() for variant in one.variants] for one in same]
    assert bases[0] == bases[1] != bases[2]


def test_environments_of_a_vector_are_on_the_variants_of_their_single_twins():
    settings = {"max_episode_steps": 4}
    native = gym.make_vec("LightningNetRandom-v0", num_envs=6, **settings)
    twins = gym.make_vec("LightningNetRandom-v0", num_envs=6, vectorization_mode="sync", **settings)
    np.testing.assert_array_equal(native.reset(seed=5)[0], twins.reset(seed=5)[0])
    native.action_space.seed(0)
    met = set()
    for _ in range(40):
        actions = native.action_space.sample()
        for left, right in zip(native.step(actions)[:4], twins.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(left, right)
        met |= set(native.unwrapped._episodes.variants.tolist())
    assert len(met) > 10


def test_a_list_of_topologies_mixes_them():
    env = gym.make("LightningNet-v0", topology=TWO_LINES, start_balances="topology")
    met = set()
    for seed in range(20):
        env.reset(seed=seed)
        met.add(tuple(channel.initiator + channel.peer for channel in env.unwrapped.topology.channels))
        env.step(0)
        hops = env.unwrapped.last_outcomes().hops
        batch = env.unwrapped.last_batch()
        centre = {"ab": 1, "ac": 2}[
            env.unwrapped.topology.channels[0].initiator + env.unwrapped.topology.channels[0].peer
        ]
        settled = env.unwrapped.last_outcomes().succeeded
        direct = (batch.source == centre) | (batch.destination == centre)
        assert (hops[settled & direct] == 1).all()
        assert (hops[settled & ~direct] == 2).all()
    assert met == {("ab", "bc"), ("ac", "cb")}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"variants": {"traffic": {"median_sat": [1, 2]}}}, "Did you mean 'median_amount_sat'"),
        ({"variants": {"fee_base_msat": [5, 4]}}, "low <= high"),
        ({"variants": {"fee_base_msat": [0, 5]}}, "at least 14 values"),
        ({"variants": {"count": 0}}, "variants.count"),
        ({"topology": ["default", TWO_LINES[0]]}, "one shape: nodes"),
        ({"variants": {"fee_base_msat": [0, 999]}, "backend": "lnd"}, "leave out variants"),
    ],
)
def test_impossible_variants_are_refused(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        gym.make("LightningNet-v0", **settings)


def test_variants_of_other_capacities_are_refused():
    smaller = {**TWO_LINES[0], "channels": [{**TWO_LINES[0]["channels"][0], "capacity_sat": 900_000}]}
    smaller["channels"].append(TWO_LINES[0]["channels"][1])
    with pytest.raises(ConfigError, match="equal capacities"):
        problem(topology=[TWO_LINES[0], smaller])


@pytest.mark.parametrize("wrapper", [lambda env: RecordEpisodes(env, []), lambda env: StreamEpisodes(env, port=0)])
def test_recorders_and_streams_need_channels_that_stay_the_same(wrapper):
    env = gym.make("LightningNet-v0", topology=TWO_LINES)
    with pytest.raises(ConfigError, match="channels that stay the same"):
        wrapper(env)
    env.close()


def test_a_trace_of_varying_policies_is_done_again_without_a_difference(tmp_path):
    env = gym.make("LightningNetRandom-v0", max_episode_steps=4)
    network = env.unwrapped
    header = network.problem.topology
    with TraceWriter(tmp_path / "t", header, network.config.payment, backend="simulator") as writer:
        recorded = RecordEpisodes(env, [writer])
        recorded.action_space.seed(2)
        begun_with = []
        for episode in range(3):
            recorded.reset(seed=1 if episode == 0 else None)
            begun_with.append(network.topology.arrays.fee_base_msat.tolist())
            for _ in range(4):
                recorded.step(recorded.action_space.sample())
        recorded.close()
    trace = read_trace(tmp_path / "t")
    told = [trace.topology_of(episode).arrays.fee_base_msat.tolist() for episode in trace.episodes]
    assert told == begun_with
    assert header.arrays.fee_base_msat.tolist() not in begun_with
    payment_ms = network.problem.traffic.payment_ms
    assert replay(trace, SimulatorBackend(trace.topology, trace.header.payment, payment_ms=payment_ms)) == []


class Kept:
    """Keeps the events of an episode."""

    def __init__(self):
        self.events = []

    def episode_started(self, event):
        self.events.append(event)

    def stepped(self, event):
        self.events.append(event)

    def episode_ended(self, event):
        """Nothing more comes."""

    def close(self):
        """There is nothing to close."""


def test_a_trace_refuses_a_step_on_another_network_than_its_own(tmp_path):
    kept = Kept()
    env = gym.make("LightningNetRandom-v0", max_episode_steps=1)
    recorded = RecordEpisodes(env, [kept])
    for seed in (1, 2):
        recorded.reset(seed=seed)
        recorded.step(0)
    begin, _, _, step = kept.events
    network = env.unwrapped
    with TraceWriter(tmp_path / "t", network.problem.topology, network.config.payment, backend="simulator") as writer:
        writer.episode_started(begin)
        with pytest.raises(RecordError, match="made on another"):
            writer.stepped(step)
    recorded.close()
