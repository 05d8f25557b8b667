"""Every action space offers the same rebalances; what it encodes it decodes."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network import Topology
from lnsim_gym.network.presets import preset
from lnsim_gym.tasks.liquidity.actions import SCHEMES, ExactRebalance, make_actions
from lnsim_gym.tasks.liquidity.routes import NO_OP, rebalance_routes

SIZES = (0.05, 0.1, 0.2)
TOPOLOGY = preset("default")


def scheme(name: str, operation: str = "push"):
    return make_actions(name, rebalance_routes(operation, TOPOLOGY, 4), SIZES)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("operation", ["push", "circular"])
@given(data=st.data())
def test_a_rebalance_survives_encoding_and_decoding(name, operation, data):
    actions = scheme(name, operation)
    rows = st.integers(NO_OP, len(actions.routes.hops) - 1)
    row = np.array(data.draw(st.lists(rows, min_size=1, max_size=20)))
    size = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(row), max_size=len(row))))
    encoded = actions.encode(row, size)
    assert all(action in actions.space for action in encoded)
    decoded_row, amount_msat = actions.decode(encoded).T
    np.testing.assert_array_equal(decoded_row, row)
    exact = np.where(row == NO_OP, 0, actions.amounts_msat[row, size])
    # A Box keeps shares as float32, so its amounts are those of the size to within a sat per million.
    np.testing.assert_allclose(amount_msat, exact, rtol=2e-6, atol=1000)
    assert (amount_msat % 1000 == 0).all()


def test_push_routes_are_the_channels_in_order_initiator_first():
    routes = rebalance_routes("push", TOPOLOGY)
    assert [routes.route(row) for row in range(4)] == [(0,), (1,), (2,), (3,)]
    assert routes.route(NO_OP) == ()


@pytest.mark.parametrize("max_hops", [3, 4, 5])
def test_circular_routes_are_simple_cycles_back_to_the_paying_node(max_hops):
    routes = rebalance_routes("circular", TOPOLOGY, max_hops)
    arrays = TOPOLOGY.arrays
    seen = set()
    for row in range(len(routes.hops)):
        route = routes.route(row)
        sources = [arrays.source[d] for d in route]
        assert [arrays.destination[d] for d in route] == [*sources[1:], sources[0]]
        assert len(set(sources)) == len(route) <= max_hops
        seen.add(route)
        assert tuple(d ^ 1 for d in reversed(route)) == routes.route(row ^ 1)
    assert len(seen) == len(routes.hops)


def test_the_default_network_has_two_triangles_from_each_of_their_nodes():
    # alice-bob-carol, alice-bob-eve, carol-dave-eve is none: carol-eve has no channel.
    assert len(rebalance_routes("circular", TOPOLOGY, 3).hops) == 2 * 3 * 2


def test_sizes_are_shares_of_the_smallest_channel_on_the_route():
    sizes_sat = {"ab": 100_000, "bc": 300_000, "ca": 500_000}
    triangle = Topology.from_dict(
        {
            "nodes": list("abc"),
            "channels": [{"initiator": p[0], "peer": p[1], "capacity_sat": c} for p, c in sizes_sat.items()],
        }
    )
    cycle = make_actions("discrete", rebalance_routes("circular", triangle), (0.333,))
    assert set(cycle.amounts_msat.ravel().tolist()) == {33_300_000}


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("discrete", [43]),
        ("discrete", [-1]),
        ("discrete", [0.5]),
        ("multidiscrete", [[7, 0, 0]]),
        ("multidiscrete", [[0, 0]]),
        ("box", [[0.0] * 6]),
        ("box", [[2.0] * 7]),
        ("box", [[float("nan")] * 7]),
    ],
)
def test_an_action_outside_the_space_is_refused(name, action):
    with pytest.raises(InvalidAction, match="expected"):
        scheme(name).decode(np.array(action))


@pytest.mark.parametrize("action", [43, -1, 0.5, np.float32(1), np.array([3]), [3], None, "3"])
def test_one_action_outside_a_discrete_space_is_refused(action):
    with pytest.raises(InvalidAction, match=r"expected an integer in 0\.\.42"):
        scheme("discrete").decode_one(action)


@pytest.mark.parametrize("action", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_one_action_of_a_discrete_space_may_be_any_kind_of_integer(action):
    assert scheme("discrete").decode_one(action).tolist() == scheme("discrete").decode_one(3).tolist()


def test_a_box_below_its_dead_zone_does_nothing():
    row, amount_msat = scheme("box").decode(np.array([[0.04, -0.049, 0, 0, 0, 0, 0], [0.04, -0.5, 0, 0, 0, 0, 0]])).T
    assert row.tolist() == [NO_OP, 3]
    assert amount_msat.tolist() == [0, 100_000_000]


@pytest.mark.parametrize("name", SCHEMES)
def test_masks_follow_what_is_allowed(name):
    actions = scheme(name)
    allowed = np.zeros((2, 1 + 14 * 3), np.int8)
    allowed[:, 0] = 1
    allowed[1, 1 + 3 * 3 + 0] = 1  # row 3 (channel 1 reversed), the smallest size
    none, one = actions.mask(allowed)
    if name == "discrete":
        assert np.flatnonzero(none).tolist() == [0]
        assert np.flatnonzero(one).tolist() == [0, 10]
    elif name == "multidiscrete":
        assert len(none) == 7 + 2 + 4
        assert none.tolist() == [1] * 9 + [1, 0, 0, 0]
        assert one.tolist() == [1] * 9 + [1, 1, 0, 0]
    else:
        assert none.tolist() == [0] * 7
        assert one.tolist() == [0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("sizes", [(), (0.0,), (1.5,), (0.2, 0.1), (0.1, 0.1)])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ConfigError, match="action_sizes"):
        make_actions("discrete", rebalance_routes("push", TOPOLOGY), sizes)


def test_a_network_without_cycles_has_no_circular_operation():
    line = Topology.from_dict(
        {"nodes": ["a", "b"], "channels": [{"initiator": "a", "peer": "b", "capacity_sat": 100_000}]}
    )
    with pytest.raises(ConfigError, match="finds no route"):
        rebalance_routes("circular", line)


def test_a_step_takes_an_exact_rebalance_in_place_of_an_action():
    env = gym.make("LightningNet-v0", backend="simulator")
    env.reset(seed=4)
    before_msat = env.unwrapped.balances_msat()
    *_, info = env.step(ExactRebalance(row=0, amount_msat=12_345_000))
    assert before_msat[0, 0] > 200_000_000
    assert info["rebalance"] == {
        "requested_sat": 12_345,
        "applied_sat": 12_345,
        "fee_msat": 0,
        "refused": False,
        "reason": "NONE",
    }


@pytest.mark.parametrize(("row", "amount_msat"), [(-1, 1), (14, 1), (0, 0), (0, 1_000_000_001)])
def test_an_exact_rebalance_that_no_action_could_mean_is_an_invalid_action(row, amount_msat):
    env = gym.make("LightningNet-v0", backend="simulator")
    env.reset(seed=4)
    with pytest.raises(InvalidAction, match="expected"):
        env.step(ExactRebalance(row, amount_msat))


@pytest.mark.parametrize("name", ["discrete", "multidiscrete", "box"])
@pytest.mark.parametrize(("row", "amount_msat"), [(0.5, 1000), ("a", 1000), (None, None), (True, 1000), (0, 1000.7)])
def test_an_exact_rebalance_takes_integers_only(name, row, amount_msat):
    with pytest.raises(InvalidAction, match="expected an integer as"):
        scheme(name).decode_one(ExactRebalance(row, amount_msat))


@pytest.mark.parametrize("name", ["discrete", "multidiscrete", "box"])
@pytest.mark.parametrize("actions", [None, 5, "abc", [0, 0], [0] * 5, {}, [[0], [0, 1]]])
def test_a_vector_of_actions_has_one_for_each_network(name, actions):
    with pytest.raises(InvalidAction, match="expected"):
        scheme(name).decode_batch(actions, 3)


def test_a_box_takes_numbers_only():
    with pytest.raises(InvalidAction, match=r"numbers in -1\.\.1"):
        scheme("box").decode_one("a")
