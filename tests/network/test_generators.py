"""Generated networks: their shape, their statistics, and that a seed fixes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.generators import (
    CAPACITY_QUANTILES_SAT,
    FEE_RATE_QUANTILES_PPM,
    GENERATORS,
    complete,
    public,
    ring,
    scale_free,
    star,
)


def degrees(topology):
    arrays = topology.arrays
    return np.bincount(arrays.source, minlength=len(topology.nodes))


def test_a_ring_gives_every_node_two_channels():
    assert degrees(ring(7)).tolist() == [2] * 7


def test_a_complete_network_joins_every_pair_once():
    topology = complete(6)
    assert len({frozenset((c.initiator, c.peer)) for c in topology.channels}) == 15


def test_a_star_joins_every_leaf_to_the_hub_only():
    assert degrees(star(6)).tolist() == [5, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("name", ["ring", "complete", "star"])
def test_uniform_networks_have_channels_of_the_capacity_asked_for(name):
    topology = GENERATORS[name](5, capacity_sat=123_456)
    assert set(topology.arrays.capacity_sat.tolist()) == {123_456}


@given(nodes=st.integers(2, 40), density=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_a_scale_free_network_is_connected_and_of_the_size_asked_for(nodes, density, seed):
    most = nodes * (nodes - 1) // 2
    channels = nodes - 1 + round(density * (most - nodes + 1))
    topology = scale_free(nodes, channels, seed)
    assert (len(topology.nodes), len(topology.channels)) == (nodes, channels)
    assert topology.is_connected


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    assert scale_free(50, 200, 3, initiator_share=(0.2, 0.8)) == scale_free(50, 200, 3, initiator_share=(0.2, 0.8))
    assert scale_free(50, 200, 3) != scale_free(50, 200, 4)


def test_a_scale_free_network_has_hubs():
    degree = np.sort(degrees(scale_free(2000, 8000, 1)))
    assert degree[-1] > 15 * np.median(degree)


def test_capacities_and_fee_rates_follow_the_public_network():
    arrays = scale_free(4000, 40_000, 5).arrays
    for drawn, quantiles in (
        (arrays.capacity_sat, CAPACITY_QUANTILES_SAT),
        (arrays.fee_rate_ppm, FEE_RATE_QUANTILES_PPM),
    ):
        for share, value in quantiles.items():
            if 0 < share < 1:
                assert np.quantile(drawn, share) == pytest.approx(value, rel=0.12)


def test_either_end_of_a_channel_may_be_its_initiator():
    older_first = [int(c.initiator[1:]) < int(c.peer[1:]) for c in scale_free(100, 400, 2).channels]
    assert 0.4 < np.mean(older_first) < 0.6


def test_a_fresh_channel_belongs_to_its_initiator():
    topology = scale_free(20, 40, 1)
    assert (topology.start_balances_msat()[:, 1] == 0).all()


def test_start_balances_lie_within_the_share_asked_for():
    topology = complete(30, initiator_share=(0.2, 0.8))
    share = topology.start_balances_msat()[:, 0] / topology.owned_total_msat
    assert 0.199 < share.min() < 0.25
    assert 0.75 < share.max() < 0.801


def test_without_wumbo_no_channel_exceeds_the_usual_limit():
    topology = scale_free(500, 5000, 1, wumbo=False)
    assert topology.arrays.capacity_sat.max() == 16_777_215
    assert not topology.wumbo


def test_no_two_directions_share_a_base_fee_while_there_are_enough():
    assert len(set(scale_free(100, 400, 7).arrays.fee_base_msat.tolist())) == 800


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ring(2), "a ring needs at least 3 nodes, got 2"),
        (lambda: star(1), "a star needs at least 2 nodes, got 1"),
        (lambda: scale_free(10, 8), "a connected network of 10 nodes has 9..45 channels, got 8"),
        (lambda: scale_free(10, 46), "got 46"),
        (lambda: ring(3, initiator_share=(0.8, 0.2)), "0 <= low <= high <= 1"),
        (lambda: ring(3, seed=-1), "a seed of at least 0, got -1"),
        (lambda: ring(3, capacity_sat=5), r"capacity_sat must lie in 20,000"),
    ],
)
def test_impossible_networks_are_refused_with_the_reason(make, message):
    with pytest.raises(TopologyError, match=message):
        make()


def policies_of(topology):
    return [policy for both in topology.policies for policy in (both.initiator, both.peer)]


def test_a_public_network_has_the_public_networks_figures():
    topology = public(12_041, 46_978, seed=5)
    arrays = topology.arrays
    degree = degrees(topology)
    assert topology.is_connected
    assert (len(topology.nodes), len(topology.channels)) == (12_041, 46_978)
    assert np.percentile(degree, [50, 75, 90, 95, 99]) == pytest.approx([2, 4, 12, 26, 97], rel=0.35)
    carrying = [(arrays.capacity_sat >= size).mean() for size in (10**5, 10**6, 10**7, 10**8)]
    assert carrying == pytest.approx([0.904, 0.636, 0.151, 0.0153], rel=0.05)
    assert arrays.capacity_sat.sum() / 1e8 == pytest.approx(5_266, rel=0.1)
    capacity_sat = np.bincount(arrays.source, np.repeat(arrays.capacity_sat, 2), minlength=12_041)
    known_sat = np.array([0.24, 1.1, 8.6, 44.5, 130, 1_090]) * 1e6
    assert np.percentile(capacity_sat, [25, 50, 75, 90, 95, 99]) == pytest.approx(known_sat, rel=0.5)
    operator = (degree >= 10) & (degree <= 60)
    assert np.percentile(degree[operator], [25, 50, 75]) == pytest.approx([13, 18, 28], rel=0.1)
    operated_sat = np.array([28.6, 66.7, 140]) * 1e6
    assert np.percentile(capacity_sat[operator], [25, 50, 75]) == pytest.approx(operated_sat, rel=0.5)
    mean_sat = (capacity_sat / np.maximum(degree, 1))[operator]
    assert np.percentile(mean_sat, [25, 50, 75]) == pytest.approx(np.array([1.8, 3.6, 6.0]) * 1e6, rel=0.5)


def test_a_public_network_has_the_public_networks_policies():
    topology = public(3_000, seed=2)
    policies = policies_of(topology)
    rates = np.array([policy.fee_rate_ppm for policy in policies])
    bases = np.array([policy.fee_base_msat for policy in policies])
    assert np.percentile(rates, [25, 50, 75, 95]) == pytest.approx([1, 150, 633, 2_863], rel=0.05)
    assert (rates == 0).mean() == pytest.approx(0.10, abs=0.01)
    assert (bases == 0).mean() == pytest.approx(0.40, abs=0.08)  # a node has one base fee for all its channels
    assert np.mean([policy.disabled for policy in policies]) == pytest.approx(0.035, abs=0.005)
    assert np.mean([policy.inbound_fee_rate_ppm < 0 for policy in policies]) == pytest.approx(0.02, abs=0.005)
    _, counts = np.unique(np.sort(topology.arrays.source.reshape(-1, 2)), axis=0, return_counts=True)
    assert counts[counts > 1].sum() / len(topology.channels) == pytest.approx(0.189, abs=0.01)
    assert (counts > 1).mean() == pytest.approx(0.089, abs=0.01)


def test_rates_of_a_public_node_lie_around_a_level_of_its_own():
    topology = public(2_000, seed=1)
    source = topology.arrays.source
    rates = np.log1p([policy.fee_rate_ppm for policy in policies_of(topology)])
    hubs = np.argsort(degrees(topology))[-20:]
    within = np.mean([rates[source == hub].std() for hub in hubs])
    assert within < 0.85 * rates.std()


def test_an_own_node_has_its_channels_and_moves_without_changing_the_rest():
    here, there = (public(300, seed=4, own_channels=18, own_seed=place) for place in (0, 1))
    bare = public(300, seed=4)
    for topology in (here, there):
        own = [channel for channel in topology.channels if "own" in (channel.initiator, channel.peer)]
        assert topology.nodes[-1] == "own"
        assert len(own) == 18
        assert len({frozenset((channel.initiator, channel.peer)) for channel in own}) == 18
        assert sum(channel.capacity_sat for channel in own) == 67_000_000
        assert topology.channels[: len(bare.channels)] == bare.channels
    assert here.channels != there.channels


@given(
    nodes=st.integers(4, 40),
    density=st.floats(0, 1),
    seed=st.integers(0, 2**32),
    parallel=st.sampled_from([0.0, 0.189, 1.0]),
)
def test_a_public_network_of_any_size_is_connected_and_of_the_size_asked_for(nodes, density, seed, parallel):
    most = nodes * (nodes - 1) // 2
    channels = nodes - 1 + round(density * (most - nodes + 1))
    topology = public(nodes, channels, seed, parallel_share=parallel)
    assert (len(topology.nodes), len(topology.channels)) == (nodes, channels)
    assert topology.is_connected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"nodes": 3}, "at least 4 nodes"),
        ({"nodes": 10, "channels": 8}, "at least 9 channels"),
        ({"nodes": 10, "channels": 100, "parallel_share": 0.0}, "at most 45 pairs"),
        ({"disabled_share": 1.5}, "disabled_share must lie in 0..1"),
        ({"nodes": 10, "own_channels": 11}, "own_channels must lie in 0..10"),
        ({"own_channels": 18, "own_capacity_sat": 1_000}, "must lie in 360,000.."),
        ({"own_channels": 18, "own_seed": -1}, "a seed of at least 0"),
    ],
)
def test_an_impossible_public_network_is_refused(arguments, said):
    with pytest.raises(TopologyError, match=said):
        public(**arguments)
