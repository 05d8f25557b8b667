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
