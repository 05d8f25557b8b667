"""What is expected of a demand, and how it is estimated: by hand where that can be, against the truth elsewhere."""

import numpy as np
import pytest

from lnsim_gym.agents.planner.demand import ExpectedLoad, drawn_demand, log_weights, of_log_weights
from lnsim_gym.agents.planner.estimator import DemandEstimator
from lnsim_gym.agents.planner.forecast import TowardLoad
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.network import Topology
from lnsim_gym.tasks.config import EnvironmentConfig

FLOWS = Problem.of(EnvironmentConfig.of({"start_balances": {}, "observation": "flows", "observation_history": 1}))


def network(*pairs):
    nodes = sorted({name for pair in pairs for name in pair})
    channels = [{"initiator": first, "peer": second, "capacity_sat": 1_000_000} for first, second in pairs]
    return {"nodes": nodes, "channels": channels}


def test_weights_survive_the_way_to_logarithms_and_back():
    drawn = np.stack([drawn_demand(FLOWS.traffic, seed, 0, 0) for seed in range(5)])
    logs = log_weights(drawn)
    assert logs.mean(axis=-1) == pytest.approx(np.zeros((5, 2)))
    again = of_log_weights(logs)
    shares = drawn / drawn[:, :, -1:]
    assert again / again[:, :, -1:] == pytest.approx(shares)


def test_equal_weights_load_a_line_by_hand():
    """a-b-c: of six pairs, a to b and a to c go over a-b; b to c and a to c over b-c."""
    load = ExpectedLoad(Topology.from_dict(network("ab", "bc")))
    assert load(of_log_weights(np.zeros((1, 2, 3)))) == pytest.approx(np.array([[2, 2, 2, 2]]) / 6)


def test_ways_of_equal_length_share_the_load():
    """A square: a to c goes half over b and half over d, so each channel carries 1 + 2 * 1/2 of twelve pairs."""
    load = ExpectedLoad(Topology.from_dict(network("ab", "bc", "cd", "da")))
    assert load(of_log_weights(np.zeros((2, 4)))) == pytest.approx(np.full(8, 2 / 12))


def test_a_node_that_sends_nine_times_as_often_loads_its_own_channels():
    """a-b: b sends with weight 9, a with 1; each only to the other."""
    load = ExpectedLoad(Topology.from_dict(network("ab")))
    assert load(of_log_weights(np.log([[1.0, 9.0], [1.0, 1.0]]))) == pytest.approx(np.array([0.1, 0.9]))


def test_the_load_is_what_payments_of_full_channels_do():
    """Small payments over fresh halves: hops per payment as the simulator made them."""
    config = {
        "traffic": {"median_amount_sat": 100},
        "payments_per_step": 5_000,
        "start_balances": {"low": 0.5, "high": 0.5},
    }
    problem = Problem.of(EnvironmentConfig.of(config))
    episodes = SimulatedEpisodes(problem, 1)
    episodes.seed(0, 11)
    episodes.begin(np.ones(1, np.bool_))
    episodes.step_one(np.array([-1, 0]).data)
    routes = episodes.columns.part_route
    made = np.bincount(routes[routes >= 0], minlength=problem.task.observations.directions) / 5_000
    expected = ExpectedLoad(problem.topology)(drawn_demand(problem.traffic, 11, 0, 0))
    assert made.sum() == pytest.approx(expected.sum(), abs=0.03)
    assert np.corrcoef(made, expected)[0, 1] > 0.7  # fees decide between ways of equal length


def test_liquidity_moves_to_where_payments_will_come_from():
    """Nine of ten payments come from b, so a's end is to hold a tenth and b's nine."""
    problem = Problem.of(EnvironmentConfig.of({"topology": network("ab")}))
    rule = TowardLoad(problem, evenness=0.0)
    rule.targets = rule.targets_for(np.array([[0.1, 0.9]] * 3))
    urgency, amount = rule.wishes(np.array([[0.5, 0.5], [0.1, 0.9], [0.0, 1.0]]), {}, np.random.default_rng(0))
    assert amount[:, 0] == pytest.approx([0.4, 0.0, -0.1])
    assert np.isfinite(urgency).tolist() == [[True, False], [False, False], [False, True]]
    rule.evenness = 1e9
    rule.targets = rule.targets_for(np.array([[0.1, 0.9]] * 3))
    assert rule.wishes(np.array([[0.5, 0.5]] * 3), {}, np.random.default_rng(0))[1] == pytest.approx(0, abs=1e-6)


def played(networks, steps):
    """Observations of networks without rebalances, one of each step, and the true logarithms of weights."""
    episodes = SimulatedEpisodes(FLOWS, networks)
    for index in range(networks):
        episodes.seed(index, 7_000 + index)
    everyone = np.ones(networks, np.bool_)
    episodes.begin(everyone)
    shown = [episodes.columns.observation.copy()]
    for _ in range(steps):
        episodes.step(everyone, np.tile([-1, 0], (networks, 1)))
        shown.append(episodes.columns.observation.copy())
    truth = log_weights(np.stack([drawn_demand(FLOWS.traffic, 7_000 + index, 0, 0) for index in range(networks)]))
    return shown, truth


def test_the_estimate_gets_better_with_every_payment_and_knows_how_good_it_is():
    shown, truth = played(200, 24)
    estimator = DemandEstimator(FLOWS)
    rng = np.random.default_rng(0)
    unexplained = {}
    within = {}
    for step, observation in enumerate(shown):
        estimator.observe(observation, np.full(200, step))
        if step in (0, 1, 5, 24):
            logs = log_weights(estimator.demands(400, rng))
            unexplained[step] = ((logs.mean(axis=1) - truth) ** 2).mean() / truth.var()
            low, high = np.quantile(logs, [0.1, 0.9], axis=1)
            within[step] = ((truth > low) & (truth < high)).mean()
    assert unexplained[0] > 0.95
    assert unexplained[1] < 0.7
    assert unexplained[24] < unexplained[5] < unexplained[1]
    assert unexplained[24] < 0.35
    assert all(0.7 < share < 0.9 for share in within.values())


def test_a_redraw_makes_the_estimator_forget():
    shown, _ = played(3, 4)
    used = DemandEstimator(FLOWS)
    fresh = DemandEstimator(FLOWS)
    for step, observation in enumerate(shown):
        used.observe(observation, np.full(3, step))
    before = used.load(8, np.random.default_rng(1))
    for estimator in (used, fresh):
        estimator.observe(shown[-1], np.full(3, 25))
    loads = [estimator.load(8, np.random.default_rng(1)) for estimator in (used, fresh)]
    assert np.array_equal(*loads)
    assert not np.allclose(before, loads[0])


def test_a_dict_of_features_tells_the_same_as_a_row():
    shown, _ = played(4, 3)
    by_dict = Problem.of(EnvironmentConfig.of({"start_balances": {}, "observation": "dict", "observation_history": 1}))
    estimators = DemandEstimator(FLOWS), DemandEstimator(by_dict)
    for step, row in enumerate(shown):
        for estimator, observation in zip(estimators, (row, by_dict.task.observations.present(row)), strict=True):
            estimator.observe(observation, np.full(4, step))
    assert np.array_equal(*(estimator.load(8, np.random.default_rng(1)) for estimator in estimators))
