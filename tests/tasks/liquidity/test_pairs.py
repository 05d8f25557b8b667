"""Circular rebalances between two channels of a node, over a route that is found when they are taken."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network.generators import scale_free
from lnsim_gym.network.presets import preset
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.tasks.liquidity.actions import ExactRebalance
from lnsim_gym.tasks.liquidity.pairs import SCHEMES, make_pair_actions
from lnsim_gym.tasks.liquidity.routes import NO_OP, ChannelPairs

SIZES = (0.05, 0.1, 0.2)
TOPOLOGY = preset("default")


def every_pair(pairs: ChannelPairs, topology=TOPOLOGY):
    source = topology.arrays.source
    return [
        int(pairs.row(leave, back))
        for leave in pairs.ends.tolist()
        for back in pairs.ends.tolist()
        if source[leave] == source[back] and leave >> 1 != back >> 1
    ]


def environment(topology=TOPOLOGY, **settings):
    settings = {"operation": "circular", "circular_routes": "found", "action": "dict", **settings}
    return gym.make("LightningNet-v0", backend="simulator", topology=topology.to_dict(), **settings)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("own_node", [None, 1])
@given(data=st.data())
def test_a_pair_survives_encoding_and_decoding(name, own_node, data):
    pairs = ChannelPairs(TOPOLOGY, own_node)
    actions = make_pair_actions(name, pairs, SIZES)
    rows = st.sampled_from([NO_OP, *every_pair(pairs)])
    row = np.array(data.draw(st.lists(rows, min_size=1, max_size=10)))
    size = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(row), max_size=len(row))))
    encoded = actions.encode(row, size)
    assert all(action in actions.space for action in encoded)
    decoded_row, amount_msat = actions.decode(encoded).T
    np.testing.assert_array_equal(decoded_row, row)
    unit_sat = np.where(row == NO_OP, 0, pairs.unit_sat(np.maximum(row, 0)))
    np.testing.assert_allclose(amount_msat, 1000 * unit_sat * np.array(SIZES)[size], rtol=2e-6, atol=1000)


@pytest.mark.parametrize("name", SCHEMES)
def test_masks_have_the_length_that_the_space_asks_for(name):
    pairs = ChannelPairs(TOPOLOGY)
    actions = make_pair_actions(name, pairs, SIZES)
    allowed = np.zeros((2, 1 + actions.amounts_msat.size), np.int8)
    allowed[:, 0] = 1
    allowed[1] = 1
    none, every = actions.mask(allowed)
    length = {"discrete": 1 + 3 * len(every_pair(pairs)), "multidiscrete": 14 + pairs.width + 4, "box": 14, "dict": 14}
    assert len(none) == len(every) == length[name]
    assert every.all()
    assert not none.all()


@pytest.mark.slow
def test_rows_are_pairs_of_channels_of_one_node_that_counts():
    pairs = ChannelPairs(TOPOLOGY, own_node=0)
    known = set(every_pair(pairs))
    assert known == {row for row in range(pairs.directions**2) if pairs.has(row)}
    assert known < set(every_pair(ChannelPairs(TOPOLOGY)))
    env = environment(own_node=TOPOLOGY.nodes[0])
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match="expected leaving direction"):
        env.step(ExactRebalance(row=0, amount_msat=1000))


def test_a_large_network_has_pairs_without_listing_them_and_no_discrete_space():
    large = scale_free(400, 2_000, seed=1)
    pairs = ChannelPairs(large)
    assert make_pair_actions("dict", pairs, SIZES).space["leave"].n == 4_000
    assert make_pair_actions("box", pairs, SIZES).space.shape == (4_000,)
    with pytest.raises(ConfigError, match="use action 'box', 'dict' or 'multidiscrete'"):
        make_pair_actions("discrete", ChannelPairs(scale_free(4_000, 16_000)), SIZES)


@pytest.mark.parametrize("memory", ["per_payment", "per_episode"])
@pytest.mark.slow
def test_a_found_route_leaves_and_comes_back_as_asked_and_moves_what_its_hops_say(memory):
    topology = scale_free(40, 90, seed=3, initiator_share=(0.2, 0.8))
    env = environment(
        topology, payments_per_step=1, rebalance_fee_limit_ppm=1_000_000, payment={"mission_control": memory}
    )
    inner = env.unwrapped
    env.reset(seed=5)
    rng = np.random.default_rng(0)
    pairs = inner.problem.task.pairs
    reasons = set()
    lengths = set()
    for row in rng.choice(every_pair(pairs, topology), 150):
        before_msat = inner.balances_msat()
        amount_msat = int(rng.choice([1, 30, 100])) * pairs.unit_sat(row) * 5
        env.step(ExactRebalance(int(row), int(amount_msat)))
        (done,) = inner.interventions()
        reasons.add(done.result.reason.name)
        leave, back = pairs.legs(int(row))
        assert (done.route[0], done.route[-1]) == (leave, back)
        if done.result.applied_msat:
            nodes = topology.nodes_of(done.route)
            assert topology.arrays.source[list(done.route)].tolist() == nodes[:-1]
            assert nodes[0] == nodes[-1]
            assert len(set(nodes[1:])) == len(done.route)
            sent = hop_amounts_msat(topology, done.route, done.amount_msat)
            assert sent[0] - done.amount_msat == done.result.fee_msat
            assert (before_msat.ravel()[list(done.route)] >= sent).all()
            lengths.add(len(done.route))
        total = inner.balances_msat().sum(axis=1)
        np.testing.assert_array_equal(total, topology.owned_total_msat)
    assert {"NONE", "INSUFFICIENT_LOCAL_BALANCE"} < reasons
    assert len(lengths) > 1


def test_only_the_simulator_finds_routes_and_only_for_circular_rebalances():
    with pytest.raises(ConfigError, match="backend 'simulator' only"):
        gym.make("LightningNet-v0", backend="lnd", operation="circular", circular_routes="found")
    with pytest.raises(ConfigError, match="about operation 'circular'"):
        gym.make("LightningNet-v0", backend="simulator", own_node="alice")
    with pytest.raises(ConfigError, match="own_node names an unknown node 'zoe'"):
        environment(own_node="zoe")
